"""Zeros in inputs, weights and activations never make NaN or infinity, in any precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rule_cases import random_like
from rule_layers import randomise

from lrpjax import Composite, lrp, rules, targets

RULES = {
    "zero": rules.Zero(),
    "epsilon": rules.Epsilon(),
    "gamma": rules.Gamma(0.25),
    "zplus": rules.ZPlus(),
    "alpha2_beta1": rules.AlphaBeta(2.0, 1.0),
    "flat": rules.Flat(),
    "wsquare": rules.WSquare(),
    "zbox": rules.ZBox(-4.0, 4.0),
}
DTYPES = ("float16", "bfloat16", "float32", "float64")
SHAPE = (2, 6, 6, 2)


class LinenNet(nn.Module):
    """Convolution, norm, both kinds of pooling and two dense layers."""

    dtype: str

    @nn.compact
    def __call__(self, x):
        options = {"dtype": self.dtype, "param_dtype": self.dtype}
        x = nn.relu(nn.Conv(3, (3, 3), **options)(x))
        x = nn.Conv(4, (3, 3), strides=2, **options)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, **options)(x))
        x = nn.avg_pool(nn.max_pool(x, (2, 2)), (2, 2))
        x = nn.Dense(5, **options)(x.reshape(x.shape[0], -1))
        return nn.Dense(3, **options)(jax.nn.silu(x))


class NnxNet(nnx.Module):
    """A convolution, a residual block of dense layers and a head."""

    def __init__(self, dtype, rngs):
        options = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        self.conv = nnx.Conv(2, 4, (3, 3), **options)
        self.inner = nnx.Linear(4, 4, **options)
        self.outer = nnx.Linear(4, 4, **options)
        self.head = nnx.Linear(4, 3, **options)

    def __call__(self, x):
        x = nnx.relu(self.conv(x)).mean((1, 2))
        return self.head(nnx.relu(x + self.outer(nnx.relu(self.inner(x)))))


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: np.asarray(leaf, jnp.dtype(dtype)), tree)


def build(style, dtype):
    """(apply(composite) -> relevance function of (parameters, x, target), parameters)."""
    if style == "linen":
        module = LinenNet(dtype)
        variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(SHAPE, dtype))

        def explain(composite):
            return lrp(module, composite)

        return explain, cast(randomise(variables), dtype)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: NnxNet(jnp.dtype(dtype), nnx.Rngs(0))))

    def explain(composite):
        def relevance(parameters, x, target):
            return lrp(nnx.merge(graphdef, parameters), composite)(x, target=target)

        return relevance

    return explain, cast(randomise(state), dtype)


def without(tree, word):
    """The same tree, with zeros for every leaf whose path has this word in it."""

    def clear(path, leaf):
        return np.zeros_like(leaf) if word in jax.tree_util.keystr(path).lower() else leaf

    return jax.tree_util.tree_map_with_path(clear, tree)


def lowered(tree):
    """The same tree with no positive weight or bias, so that no relu lets anything through."""

    def lower(path, leaf):
        words = jax.tree_util.keystr(path)
        return leaf if "scale" in words or "var" in words else -np.abs(leaf)

    return jax.tree_util.tree_map_with_path(lower, tree)


def situations(parameters, dtype):
    """Name -> (parameters, x) for everything that can be zero."""
    x = np.asarray(random_like(SHAPE, 1), jnp.dtype(dtype))
    half = np.concatenate([np.zeros_like(x[:, :3]), x[:, 3:]], 1)
    dead = lowered(parameters)
    nothing = jax.tree.map(np.zeros_like, parameters)
    return {
        "input": (parameters, np.zeros_like(x)),
        "input and biases": (without(parameters, "bias"), np.zeros_like(x)),
        "half of the input": (parameters, half),
        "all weights": (nothing, x),
        "everything": (nothing, np.zeros_like(x)),
        "kernels": (without(parameters, "kernel"), x),
        "biases": (without(parameters, "bias"), x),
        "activations of dead layers": (dead, np.abs(x)),
    }


def ones(outputs):
    return jnp.ones_like(outputs)


def covering():
    """Every rule in both half precisions; the wider types, where less can go wrong, in rotation."""
    cases = []
    for i, rule in enumerate(RULES):
        for dtype in (*DTYPES[:2], DTYPES[2 + i % 2]):
            style = ("linen", "nnx")[(i + DTYPES.index(dtype)) % 2]
            mark = [pytest.mark.smoke] if (rule, dtype) == ("epsilon", "float16") else []
            cases.append(pytest.param(rule, dtype, style, marks=mark))
    return cases


@pytest.mark.parametrize(("rule", "dtype", "style"), covering())
def test_zeros_make_neither_nan_nor_infinity(rule, dtype, style):
    explain, parameters = build(style, dtype)
    value = RULES[rule]
    explained = explain(Composite(conv=value, dense=value))
    for target in (None, ones) if dtype == "float16" else (ones,):
        for name, (changed, x) in situations(parameters, dtype).items():
            relevance = explained(changed, x, target=target)
            assert relevance.dtype == jnp.dtype(dtype)
            assert np.isfinite(np.asarray(relevance, np.float64)).all(), (name, target)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("rule", ["zero", "epsilon", "gamma", "zplus", "alpha2_beta1"])
def test_where_the_input_is_zero_its_relevance_is(rule, dtype):
    weights = jnp.asarray(random_like((5, 4), 3), dtype)
    x = jnp.asarray(random_like((3, 5), 1), dtype).at[:2].set(0).at[2, 1].set(0)
    relevance = lrp(lambda x: x @ weights, RULES[rule])(x, target=ones)
    np.testing.assert_array_equal(np.asarray(relevance == 0), np.asarray(x == 0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_differs_by_its_own_rounding_only(dtype):
    weights, x = random_like((64, 8), 3), np.abs(random_like((3, 64), 1))
    weights, x = (np.asarray(jnp.asarray(value, dtype), np.float64) for value in (weights, x))
    exact = lrp(lambda x: x @ weights, rules.ZPlus())(x, target=ones)
    halved = jnp.asarray(weights, dtype)
    relevance = lrp(lambda x: x @ halved, rules.ZPlus())(jnp.asarray(x, dtype), target=ones)
    rounding = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(relevance, np.float64), exact, rtol=8 * rounding)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_zero_output_that_relevance_starts_at_overflows_into_no_nan(dtype, layers):
    """One over a stabiliser of 10⁻⁶ is more than float16 holds: 65504."""
    cancel = jnp.array([[1, -1], [-1, 1]], dtype)
    mix = jnp.array([[1, 2], [2, 1]], dtype)

    def model(x):
        x = jax.nn.relu(x @ mix) if layers == 2 else x
        return x @ cancel

    start = targets.one_hot(0)
    relevance = lrp(model, rules.Epsilon())(jnp.ones((1, 2), dtype), target=start)
    assert relevance.dtype == dtype
    assert jnp.isfinite(relevance).all()
    assert (relevance[0, 0] * relevance[0, 1]) < 0
