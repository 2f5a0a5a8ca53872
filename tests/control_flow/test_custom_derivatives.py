"""Functions with derivatives of their own stay what they are inside loops and branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_flow.programs import EXACT, D, U, W, X, both, unrolled
from jax import lax
from support.networks import close

from lrpjax import lrp, plan, value_and_lrp


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


@jax.custom_jvp
def squash(x):
    """tanh, with seven times the unit derivative."""
    return jnp.tanh(x) * 1.0


squash.defjvp(lambda primals, tangents: (squash(*primals), 7.0 * tangents[0]))


@jax.custom_vjp
def layer(x):
    """A dense layer, with a gradient of ones."""
    return jnp.tanh(x @ W)


layer.defvjp(lambda x: (layer(x), x), lambda x, g: (jnp.ones_like(x) * g.sum(),))


@jax.custom_vjp
def recurrent(x):
    """A whole loop, with a gradient of twos."""
    return lax.scan(lambda c, a: (jnp.tanh(c @ W + a), None), x[0], x)[0]


recurrent.defvjp(lambda x: (recurrent(x), x), lambda x, g: (jnp.full_like(x, 2.0),))


def loop(f, scan, x):
    return scan(lambda c, a: (f(c @ U + a), None), x[0], x)[0]


def plain_layer(x):
    return jnp.tanh(x @ W)


#: {name: (with custom derivatives, without)}
PROGRAMS = {
    "custom_jvp in scan": (
        lambda x: loop(squash, lax.scan, x),
        lambda x: loop(jnp.tanh, unrolled, x),
    ),
    "custom_vjp in scan": (
        lambda x: loop(layer, lax.scan, x),
        lambda x: loop(plain_layer, unrolled, x),
    ),
    "custom_vjp in cond": (
        lambda x: lax.cond(x.sum() < 99.0, lambda x: layer(x) @ U, jnp.tanh, x),
        lambda x: plain_layer(x) @ U,
    ),
    "scan in custom_vjp": (
        recurrent,
        lambda x: unrolled(lambda c, a: (jnp.tanh(c @ W + a), None), x[0], x)[0],
    ),
    "scan in custom_vjp in scan": (
        lambda x: lax.scan(lambda c, a: (recurrent(jnp.stack([c, a])), None), x[0], x)[0],
        lambda x: unrolled(lambda c, a: (jnp.tanh(jnp.tanh(c @ W + c) @ W + a), None), x[0], x)[0],
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_relevance_is_that_of_what_they_compute(name):
    custom, plain = PROGRAMS[name]
    close(*both(custom, plain, EXACT, X), rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "custom_jvp in scan"])
def test_the_gradient_of_the_value_stays_the_authors(name):
    """Also behind an explanation; but JAX drops custom_jvp rules when it linearises a scan."""
    custom, plain = PROGRAMS[name]
    of_value = jax.grad(lambda x: value_and_lrp(custom)(x)[0].sum())(X)
    authors, true = (jax.grad(lambda x, f=f: f(x).sum())(X) for f in (custom, plain))
    assert np.abs(authors - true).max() > 0.1
    close(of_value, authors)


def test_an_elementwise_function_is_one_unit_in_a_loop():
    kinds = [u.kind for u in plan(PROGRAMS["custom_jvp in scan"][0], None, X).units]
    assert [kind for kind in kinds if kind != "route"] == ["dense", "add", "elementwise"]


# ---------------------------------------------------------------- random numbers

KEY = jax.random.key(7)


def dropout(scan, x):
    """The key goes round, and is split in every round."""

    def body(c, a):
        h, key = c
        key, mine = jax.random.split(key)
        kept = jax.random.bernoulli(mine, 0.5, (D,))
        return (jnp.where(kept, jnp.tanh(h @ W + a) / 0.5, 0.0), key), None

    return scan(body, (x[0], KEY), x)[0][0]


def noise(scan, x):
    """A key for each round."""

    def body(h, key):
        kept = jax.random.bernoulli(key, 0.5, h.shape)
        return jnp.tanh(h @ W) * kept * 2.0 + jax.random.normal(key, h.shape), None

    return scan(body, x, jax.random.split(KEY, 3))[0]


@pytest.mark.parametrize("f", [dropout, noise], ids=lambda f: f.__name__)
def test_random_numbers_in_a_loop_are_constants(f):
    looped, plain = (lambda x: f(lax.scan, x)), (lambda x: f(unrolled, x))
    close(*both(looped, plain, EXACT, X), rtol=1e-9)


def test_keys_may_be_arguments_and_be_mapped_over():
    def f(x, key):
        body = lambda h, k: (jnp.tanh(h @ W) * jax.random.bernoulli(k, 0.5, h.shape), None)
        return lax.scan(body, x, jax.random.split(key, 3))[0]

    keys = jax.random.split(KEY, 3)
    explain = lambda key: lrp(f, EXACT)(X, key, target=0)
    close(jax.vmap(explain)(keys), np.stack([explain(key) for key in keys]), rtol=1e-9)
    assert len({float(jnp.abs(explain(key)).sum()) for key in keys}) > 1
