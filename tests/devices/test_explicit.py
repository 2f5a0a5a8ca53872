"""Explicit sharding, where the devices of every array stand in its type."""

import functools

import jax
import jax.numpy as jnp
import pytest
from devices import networks as n
from devices.comparing import AFFINE, SOME, check_equal, relevances
from devices.meshes import mesh, put
from jax import P
from jax.sharding import AxisType, reshard


def _columns_then_rows(x, w1, b1, w2, b2):
    hidden = jax.nn.relu(x @ w1 + b1)
    return jnp.einsum("bh,ho->bo", hidden, w2, out_sharding=P("data")) + b2


def _gathered(x, w1, b1, w2, b2):
    hidden = reshard(jax.nn.relu(x @ w1 + b1), P("data"))
    return hidden @ reshard(w2, P()) + b2


PROGRAMS = {"columns, then rows": _columns_then_rows, "resharded": _gathered}


@functools.cache
def on_one_device():
    return relevances(n.mlp, n.X, AFFINE)


def some_on_one_device():
    return {name: on_one_device()[name] for name in SOME}


@pytest.mark.parametrize("name", PROGRAMS)
def test_weights_split_over_devices_give_the_relevance_of_one(name):
    grid = mesh(AxisType.Explicit)
    with jax.set_mesh(grid):
        on = functools.partial(put, on=grid)
        columns, rows = on(n.W1, None, "model"), on(n.W2, "model")
        weights = columns, on(n.B1, "model"), rows, on(n.B2)
        explained = lambda x: PROGRAMS[name](x, *weights)
        check_equal(relevances(explained, on(n.X, "data"), AFFINE), on_one_device())


def _constrained(x, w1, b1, w2, b2):
    split = jax.lax.with_sharding_constraint(x @ w1 + b1, P("data", "model"))
    return jax.nn.relu(split) @ w2 + b2


def _nested_jit(x, w1, b1, w2, b2):
    """Nothing is said of the weights but by a jit inside."""
    layer = jax.jit(lambda x, w, b: jax.nn.relu(x @ w + b), out_shardings=P("data", "model"))
    return layer(x, w1, b1) @ w2 + b2


AUTOMATIC = {
    "nothing said": lambda x, w1, b1, w2, b2: jax.nn.relu(x @ w1 + b1) @ w2 + b2,
    "with_sharding_constraint": _constrained,
    "a jit with shardings": _nested_jit,
}


@pytest.mark.parametrize("name", AUTOMATIC)
def test_so_do_weights_that_xla_splits(name):
    with jax.set_mesh(mesh()):
        weights = put(n.W1, None, "model"), put(n.B1, "model"), put(n.W2, "model"), put(n.B2)
        explained = lambda x: AUTOMATIC[name](x, *weights)
        check_equal(relevances(explained, put(n.X, "data"), SOME), some_on_one_device())
