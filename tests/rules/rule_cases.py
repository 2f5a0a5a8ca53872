"""The rules side by side with their formulas, and the one comparison the rule tests make."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from lrpjax import rules

RULES = {
    "zero": (rules.Zero(), oracle.zero),
    "epsilon": (rules.Epsilon(0.1), partial(oracle.epsilon, epsilon=0.1)),
    "gamma": (rules.Gamma(0.25), partial(oracle.gamma, gamma=0.25)),
    "gamma_large": (rules.Gamma(3.0, epsilon=0.01), partial(oracle.gamma, gamma=3.0, epsilon=0.01)),
    "zplus": (rules.ZPlus(), oracle.zplus),
    "alpha2_beta1": (rules.AlphaBeta(2.0, 1.0), oracle.alpha_beta),
    "alpha1_beta0": (rules.AlphaBeta(1.0, 0.0), partial(oracle.alpha_beta, alpha=1.0, beta=0.0)),
    "flat": (rules.Flat(), oracle.flat),
    "wsquare": (rules.WSquare(), oracle.wsquare),
    "zbox": (rules.ZBox(-3.0, 2.5), partial(oracle.zbox, low=-3.0, high=2.5)),
}

SIGNS = ("signed", "positive", "relu")


def random_like(shape, seed):
    """Standard normal float64 values."""
    return np.random.default_rng(seed).normal(size=shape)


def start(relevance):
    """A target that starts with this relevance, of both signs, at every output."""
    return lambda outputs: jnp.asarray(relevance, outputs.dtype)


def agree(actual, expected):
    """Compare at rtol 1e-10; the absolute part only allows for sums that cancel."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == np.float64
    assert actual.shape == expected.shape
    largest = np.abs(expected).max()
    assert np.isfinite(largest) and largest > 0, "the expected relevance must say something"
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12 * largest)


def expected_relevance(formula, layer, x, relevance):
    """The formula on the layer's dense matrix, shaped like the input."""
    if layer.front is None:
        return formula(layer.affine(), x.ravel(), relevance.ravel()).reshape(x.shape)
    route, _ = oracle.dense_matrix(layer.front, x.shape)
    routed = route @ x.ravel()
    return (route.T @ formula(layer.affine(), routed, relevance.ravel())).reshape(x.shape)


def check_layer(layer, rule, formula, sign="signed", seed=1, composite=None):
    """Explain one layer with one rule and compare with the formula.

    With sign "relu" the layer sits behind a relu of the input, so that the rule may use the fact
    that its input is not negative; the relu itself passes relevance on.
    """
    x = random_like(layer.shape, seed)
    x = np.abs(x) if sign == "positive" else x
    layer_input = np.maximum(x, 0.0) if sign == "relu" else x
    shape = layer.output(layer_input).shape
    relevance = random_like(shape, seed + 1)
    explain = layer.explain(composite or rule, jax.nn.relu if sign == "relu" else None)
    agree(
        explain(x, target=start(relevance)),
        expected_relevance(formula, layer, layer_input, relevance),
    )
