"""Elementwise regions: one unit for everything that is a function of one element."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.networks import normal
from support.planning import folded, kinds, units

from lrpjax import lrp, plan

X = normal(2, 4, seed=110).astype(np.float32)
W = normal(4, 4, seed=111).astype(np.float32)
ARRAY = normal(4, seed=112).astype(np.float32)

#: name -> (function, its value at zero)
REGIONS = {
    "relu": (jax.nn.relu, 0.0),
    "relu6": (jax.nn.relu6, 0.0),
    "hard sigmoid": (lambda z: jax.nn.relu6(z + 3) / 6, 0.5),
    "hard swish": (jax.nn.hard_swish, 0.0),
    "gelu": (jax.nn.gelu, 0.0),
    "exact gelu": (lambda z: jax.nn.gelu(z, approximate=False), 0.0),
    "silu": (jax.nn.silu, 0.0),
    "mish": (jax.nn.mish, 0.0),
    "elu": (jax.nn.elu, 0.0),
    "selu": (jax.nn.selu, 0.0),
    "celu": (jax.nn.celu, 0.0),
    "leaky relu": (jax.nn.leaky_relu, 0.0),
    "softplus": (jax.nn.softplus, np.log(2.0)),
    "soft sign": (jax.nn.soft_sign, 0.0),
    "log sigmoid": (jax.nn.log_sigmoid, -np.log(2.0)),
    "sigmoid": (jax.nn.sigmoid, 0.5),
    "sigmoid by hand": (lambda z: 1 / (1 + jnp.exp(-z)), 0.5),
    "hard tanh": (jax.nn.hard_tanh, 0.0),
    "square plus": (lambda z: 0.5 * (z + jnp.sqrt(z * z + 4.0)), 1.0),
    "square": (jnp.square, 0.0),
    "power": (lambda z: jnp.abs(z) ** 1.5, 0.0),
    "where": (lambda z: jnp.where(z > 0, z, jnp.exp(z) - 1), 0.0),
    "clip": (lambda z: jnp.clip(z, 0.25, 1.0), 0.25),
    "sin": (jnp.sin, 0.0),
    "cos": (jnp.cos, 1.0),
    "several steps": (lambda z: jnp.tanh(2.0 * jax.nn.relu(z) - 1.0) + 0.5, 0.5 - np.tanh(1.0)),
    "two of the same": (lambda z: jnp.tanh(z) * jax.nn.sigmoid(z) + z, 0.0),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", REGIONS)
def test_one_region(name):
    """On the input and behind a layer alike; scalars in it are no bias of the layer."""
    f, at_zero = REGIONS[name]
    assert kinds(f, X) == ["elementwise"]
    dense, region = units(lambda x: f(x @ W), X)
    assert (dense.kind, region.kind) == ("dense", "elementwise") and not dense.folded
    assert region.spec.at_zero == pytest.approx([at_zero], abs=1e-6)


def test_scalars_in_front_stay_in_the_region_and_arrays_fold():
    dense, region = units(lambda x: jax.nn.sigmoid((x @ W + ARRAY) * 2.0), X)
    assert (dense.kind, region.kind) == ("dense", "elementwise")
    assert "shift" in folded(dense) and "scale" not in folded(dense)


def test_an_array_before_a_nonlinearity_with_no_layer_in_front_is_a_shift():
    assert kinds(lambda x: jax.nn.relu(x + ARRAY), X) == ["shift", "elementwise"]


def test_scalars_that_feed_no_nonlinearity_fold_into_the_layer():
    dense, add = units(lambda x: (x @ W) * 0.5 + x, X)
    assert (dense.kind, add.kind) == ("dense", "add") and "scale" in folded(dense)


def test_a_swish_with_a_parameter_is_one_region():
    found = units(lambda x, beta: x * jax.nn.sigmoid(beta * x), X, ARRAY)
    assert [u.kind for u in found] == ["elementwise"]
    found = units(lambda x, beta: (lambda z: z * jax.nn.sigmoid(beta * z))(x @ W), X, ARRAY)
    assert [u.kind for u in found] == ["dense", "elementwise"]


@pytest.mark.parametrize("style", ["linen", "nnx", "by hand"])
def test_prelu_is_one_region(style):
    if style == "linen":
        module = nn.PReLU()
        variables = jax.eval_shape(module.init, jax.random.key(0), X)
        assert kinds(module, variables, X) == ["elementwise"]
    elif style == "nnx":
        assert kinds(nnx.PReLU(), X) == ["elementwise"]
    else:
        f = lambda x, a: jnp.where(x >= 0, x, a * x)
        assert kinds(f, X, ARRAY) == ["elementwise"]
        assert kinds(lambda x, a: f(x @ W, a), X, ARRAY) == ["dense", "elementwise"]


def test_two_activations_of_one_value_are_two_units():
    f = lambda x: (lambda z: jax.nn.relu(z) @ W + jnp.tanh(z) @ W)(x @ W)
    assert sorted(kinds(f, X)) == ["add"] + ["dense"] * 3 + ["elementwise"] * 2


def test_a_region_may_have_several_results():
    def f(x):
        hidden = jnp.exp(x)
        return hidden @ W + (hidden + 1.0).sum()

    found = units(f, X)
    assert [u.kind for u in found].count("dense") == 1
    assert all(u.kind in ("elementwise", "dense", "pool", "add", "shift") for u in found)


def test_a_sum_of_two_values_is_no_region():
    assert kinds(lambda x: x + jnp.tanh(x[:, ::-1]), X) == ["elementwise", "add"]


def test_a_residual_around_a_nonlinearity_is_a_function_of_the_element():
    assert kinds(lambda x: x + jnp.tanh(x), X) == ["elementwise"]


def test_recognition_is_by_what_is_computed_not_by_a_name():
    @jax.jit
    def relu(x):
        return x @ W

    assert kinds(relu, X) == ["dense"]

    @jax.jit
    def dense(x):
        return jnp.maximum(x, 0.0)

    assert kinds(dense, X) == ["elementwise"]


def test_a_rounding_or_a_step_is_elementwise_too():
    assert kinds(lambda x: jnp.round(x) + jnp.floor(x), X) == ["elementwise"]
    assert kinds(lambda x: jnp.where(x > 0, 1.0, 0.0) * x, X) == ["elementwise"]


@pytest.mark.parametrize(
    ("function", "steep"),
    [
        (lambda x: 1.0 + jnp.sqrt(jnp.abs(x)), True),
        (lambda x: jnp.sqrt(jnp.abs(x)), True),
        (lambda x: x + (x > 0), True),
        (jax.nn.softplus, False),
        (lambda x: 1e5 + x**2, False),
    ],
    ids=["offset and root", "root", "step", "softplus", "large offset"],
)
def test_what_is_steep_at_zero_is_called_unbounded(function, steep):
    """Whatever f(0) is: relevance of x is (f(x) − f(0))/f(x), times R′."""
    (unit,) = plan(function, None, jnp.ones(2)).units
    assert ("unbounded" in unit.reason) == steep


def test_a_swish_with_a_slope_for_each_channel_may_be_mapped_along_any_axis():
    """``vmap`` transposes x once for each of its two uses; they stay one value."""
    slopes = np.array([0.5, 2.0], np.float32)
    swish = lambda x: x * jax.nn.sigmoid(slopes * x)
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    everything = lambda out: out
    mapped = lrp(jax.vmap(swish, in_axes=1, out_axes=1))(x, target=everything)
    np.testing.assert_allclose(mapped, lrp(swish)(x, target=everything), rtol=1e-6)
