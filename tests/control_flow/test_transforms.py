"""Explanations of programs with loops and branches under jit, vmap, grad, jvp and in loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.derivatives import check_derivative, jacobian_by_differences
from control_flow.programs import B, D, T, U, W, X, started
from jax import lax
from support.networks import close

from lrpjax import Composite, lrp, lrp_vjp, rules, value_and_lrp

XS = np.stack([X, -X, 0.5 * X + 1.0])
SMOOTH = Composite(dense=rules.Epsilon(0.5), add=rules.Epsilon(0.5))


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def network(x):
    """A branch in a loop: [time, D] -> [D]."""

    def body(c, a):
        forth = lambda c: jnp.tanh(c @ W + a)
        back = lambda c: jax.nn.silu(c @ U - a + B) + c
        return lax.cond(a[0] > 0, forth, back, c), None

    return lax.scan(body, x[0], x)[0]


@functools.cache
def one_by_one():
    """The relevance of each of XS, explained alone."""
    return np.stack([lrp(network, SMOOTH)(x) for x in XS])


def test_jit_and_vmap_of_the_model_and_of_the_explanation():
    explain = lrp(network, SMOOTH)

    @jax.jit
    def ways(xs):
        of_the_model = lrp(jax.jit(jax.vmap(network)), SMOOTH)(xs)
        return explain(xs[0]), jax.vmap(explain)(xs), of_the_model

    close(ways(XS), (one_by_one()[0], one_by_one(), one_by_one()))


def test_explanations_in_a_loop_and_a_branch():
    explain = lrp(network, SMOOTH)

    @jax.jit
    def ways(xs):
        added = lax.scan(lambda c, x: (c + explain(x), None), jnp.zeros_like(xs[0]), xs)[0]
        taken = lax.cond(xs[0, 0, 0] < 99.0, explain, jnp.zeros_like, xs[0])
        body = lambda c: (c[0] + 1, explain(xs[c[0]]))
        return (
            added,
            lax.map(explain, xs),
            taken,
            lax.while_loop(lambda c: c[0] < 3, body, (0, X))[1],
        )

    close(ways(XS), (one_by_one().sum(0), one_by_one(), one_by_one()[0], one_by_one()[2]))


def test_derivatives_of_relevance():
    weights = {"w": W, "u": U}

    def recurrent(x, p):
        body = lambda c, a: (jax.nn.sigmoid(c @ p["w"]) * jnp.tanh(c @ p["u"] + a), None)
        return lax.scan(body, x[0], x)[0]

    explain = lambda x, p: lrp(recurrent, SMOOTH)(x, p, target=1)
    check_derivative(explain, (X, weights))


def test_derivatives_through_branches():
    loss = lambda x: jnp.sum(lrp(network, SMOOTH)(x.reshape(T, D), target=1) ** 2)
    flat = jnp.asarray(X.ravel())
    close(jax.jit(jax.grad(loss))(flat), jacobian_by_differences(loss, flat), rtol=1e-5)


def test_many_starts_share_one_forward_pass():
    out, relevance_of = lrp_vjp(network, SMOOTH, X)
    close(out, network(X))
    each = np.stack([lrp(network, SMOOTH)(X, target=i) for i in range(D)])
    close(jax.vmap(relevance_of)(jnp.arange(D)), each)
    close(lax.map(relevance_of, jnp.arange(D)), each)


def test_the_value_and_its_gradient_are_the_networks_own():
    value, relevance = value_and_lrp(network, SMOOTH)(X)
    close(value, network(X))
    close(relevance, one_by_one()[0])
    of_value = jax.grad(lambda x: value_and_lrp(network, SMOOTH)(x)[0].sum())(X)
    close(of_value, jax.grad(lambda x: network(x).sum())(X))


def test_the_numbers_of_a_rule_are_traced_in_a_loop():
    """ε as an argument: one program for all of them, and its derivative."""

    @jax.jit
    def explain(epsilon):
        rule = rules.Epsilon(epsilon)
        return lrp(network, Composite(dense=rule, add=rule))(X, target=started(740))

    for epsilon in (0.5, 0.01):
        rule = rules.Epsilon(epsilon)
        composite = Composite(dense=rule, add=rule)
        close(explain(epsilon), lrp(network, composite)(X, target=started(740)))
    step = 1e-6
    difference = (explain(0.3 + step) - explain(0.3 - step)) / (2 * step)
    close(jax.jacfwd(explain)(0.3), difference, rtol=1e-5)
