"""Relevance can itself be differentiated: by inputs, weights and the numbers in rules, twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.derivatives import check_derivative, jacobian_by_differences
from composition.nets import IMAGES, linen_residual, nnx_residual
from flax import nnx
from support.networks import B1, W1, W2, close, conv, normal

from lrpjax import Composite, lrp, lrp_vjp, rules, value_and_lrp

X = normal(4, seed=31)
WEIGHTS = {"w": W1, "b": B1, "head": W2}


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Finite differences need the digits."""


COMPOSITES = {
    "epsilon": rules.Epsilon(0.1),
    "gamma": rules.Gamma(0.25, epsilon=0.1),
    "zplus": rules.ZPlus(0.1),
    "alpha2_beta1": rules.AlphaBeta(2.0, 1.0, epsilon=0.1),
    "wsquare": rules.WSquare(0.1),
    "zbox": Composite(dense=rules.Epsilon(0.1), first=rules.ZBox(-3.0, 3.0, epsilon=0.1)),
    "share": Composite(dense=rules.Epsilon(0.1), elementwise=rules.Pass("share")),
}


def smooth(x, p):
    """No kink near any value, so that finite differences converge; f(0) ≠ 0 in one activation."""
    return jax.nn.sigmoid(jnp.tanh(x @ p["w"] + p["b"])) @ p["head"]


def gamma_relevance(x):
    """[4] -> [4]"""
    return lrp(smooth, rules.Gamma(0.25, epsilon=0.1))(x, WEIGHTS, target=1)


# ---------------------------------------------------------------- small functions


@pytest.mark.parametrize("name", COMPOSITES)
def test_derivatives_of_relevance_are_those_of_finite_differences(name):
    explain = lrp(smooth, COMPOSITES[name])
    check_derivative(lambda x, p: explain(x, p, target=1), (X, WEIGHTS))


def test_the_numbers_of_a_rule_can_be_learned():
    def f(gamma, epsilon):
        return lrp(smooth, rules.Gamma(gamma, epsilon=epsilon))(X, WEIGHTS, target=1)

    check_derivative(f, (0.3, 0.1))


def test_a_convolution_too():
    kernel = normal(3, 3, 2, 3, seed=35)
    x = normal(1, 4, 4, 2, seed=36)
    f = lambda x, k: jnp.tanh(conv(x, k)).sum((1, 2))
    explain = lambda x, k: lrp(f, rules.Gamma(0.25, epsilon=0.5))(x, k, target=0)
    check_derivative(explain, (x, kernel))


def test_relevance_of_a_linear_function_is_differentiated_by_hand():
    """Without ε and bias R = x ⊙ w, so its Jacobian is diag(w)."""
    w = normal(4, 1, seed=34)
    jacobian = jax.jacrev(lrp(lambda x: x @ w, rules.Zero()))(X)
    close(jacobian + 1.0, np.diag(w[:, 0]) + 1.0)


# ---------------------------------------------------------------- every way to differentiate


@pytest.mark.smoke
def test_all_jacobians_are_the_matrix_of_differences():
    f, unit = gamma_relevance, np.eye(4)

    @jax.jit
    def jacobians(x):
        return {
            "jacrev": jax.jacrev(f)(x),
            "jacfwd": jax.jacfwd(f)(x),
            "jvp": jax.vmap(lambda t: jax.jvp(f, (x,), (t,))[1], 0, 1)(unit),
            "vjp": jax.vmap(lambda t: jax.vjp(f, x)[1](t)[0])(unit),
            "linearize": jax.vmap(jax.linearize(f, x)[1], 0, 1)(unit),
        }

    ways = jacobians(X)
    close(ways, dict.fromkeys(ways, jacobian_by_differences(f, X)), rtol=1e-6)
    close(ways, dict.fromkeys(ways, ways["jacfwd"]))


def test_all_second_derivatives_are_the_matrix_of_differences_of_the_gradient():
    loss = lambda x: jnp.sum(gamma_relevance(x) ** 2)

    @jax.jit
    def hessians(x):
        return {
            "hessian": jax.hessian(loss)(x),
            "reverse over reverse": jax.jacrev(jax.grad(loss))(x),
            "forward over forward": jax.jacfwd(jax.jacfwd(loss))(x),
        }

    ways = hessians(X)
    differences = jacobian_by_differences(jax.grad(loss), X)
    close(ways, dict.fromkeys(ways, differences), rtol=1e-6)
    close(ways, dict.fromkeys(ways, ways["hessian"].T))


def test_gradients_may_be_mapped_over():
    xs = normal(3, 4, seed=37)
    loss = lambda x: jnp.sum(gamma_relevance(x) ** 2)
    loop = np.stack([jacobian_by_differences(loss, x) for x in xs])
    of_the_sum = jax.grad(lambda xs: jax.vmap(loss)(xs).sum())
    ways = jax.jit(lambda xs: [jax.vmap(jax.grad(loss))(xs), of_the_sum(xs)])(xs)
    close(ways, [loop, loop], rtol=1e-6)


def test_lrp_vjp_and_value_and_lrp_are_differentiated_as_lrp_is():
    def both(x):
        out, relevance_of = lrp_vjp(smooth, COMPOSITES["gamma"], x, WEIGHTS)
        mapped = jax.vmap(relevance_of)(jnp.arange(3))
        value, relevance = value_and_lrp(smooth, COMPOSITES["gamma"])(x, WEIGHTS, target=1)
        return jnp.concatenate([out, mapped.ravel(), value, relevance])

    jacobian = jax.jit(jax.jacrev(both))(X)
    close(jacobian, jacobian_by_differences(both, X), rtol=1e-6)
    close(jacobian[3 + 4 : 3 + 8], jacobian[-4:])


# ---------------------------------------------------------------- networks


def test_a_linen_network_by_its_inputs_weights_statistics_and_rules():
    module, variables = linen_residual()
    numbers = jax.tree.map(jnp.asarray, rules.Gamma(0.25, epsilon=0.1))
    explain = lambda x, v, rule: lrp(module, rule)(v, x, target=4)
    check_derivative(explain, (IMAGES[:2], variables, numbers), reverse=False)


def test_nnx_grad_of_a_loss_on_relevance():
    """By differences along a random direction of all parameters."""
    model, mask = nnx_residual(), normal(*IMAGES.shape, seed=38)
    composite = Composite(
        conv=rules.ZPlus(0.1),
        dense=rules.Epsilon(0.1),
        first=rules.ZBox(-3.0, 3.0, epsilon=0.1),
    )

    @nnx.jit
    def loss(model):
        return jnp.sum(lrp(model, composite)(IMAGES, target=4) * mask)

    gradient = nnx.jit(nnx.grad(loss))(model)
    weights = jax.tree.map(np.asarray, nnx.state(model, nnx.Param))
    direction = jax.tree.map(lambda w: normal(*w.shape, seed=39), weights)
    ends = []
    for h in (1e-6, -1e-6):
        moved = jax.tree.map(lambda w, d, h=h: jnp.asarray(w + h * d), weights, direction)
        nnx.update(model, moved)
        ends.append(loss(model))
    products = jax.tree.map(np.vdot, gradient, direction)
    close(sum(jax.tree.leaves(products)), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
