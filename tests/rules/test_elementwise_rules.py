"""Elementwise regions pass relevance on, or the share that the input has in the value."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx
from rule_cases import agree, random_like, start
from rule_layers import linen, nnx_module

from lrpjax import Composite, lrp, rules

SHAPE = (3, 4)
X, RELEVANCE = random_like(SHAPE, 1), random_like(SHAPE, 2)
WEIGHTS, BETA = random_like((4, 4), 3), random_like((4,), 4)

FUNCTIONS = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "hard swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "exp": jnp.exp,
    "swish with a parameter": lambda x: x * jax.nn.sigmoid(BETA * x),
    "sigmoid by hand": lambda x: 1 / (1 + jnp.exp(-x)),
    "clipped": lambda x: jnp.clip(x, -0.5, 0.8),
    "square": lambda x: x * x + x,
    "sign-dependent": lambda x: jnp.where(x > 0, x, 0.2 * jnp.expm1(x)),
}


def region(f, z, relevance, epsilon=1e-6):
    """The share rule at every element of the region's input."""
    return oracle.pass_share(np.asarray(f(z)), np.asarray(f(np.zeros_like(z))), relevance, epsilon)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_by_default_an_elementwise_region_keeps_the_share_of_its_input(name):
    f = FUNCTIONS[name]
    agree(lrp(f)(X, target=start(RELEVANCE)), region(f, X, RELEVANCE))


@pytest.mark.parametrize("name", ["sigmoid", "exp", "gelu"])
def test_pass_hands_all_of_it_on(name):
    explained = lrp(FUNCTIONS[name], Composite(elementwise=rules.Pass("pass")))
    agree(explained(X, target=start(RELEVANCE)), RELEVANCE)


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_prelu_passes_relevance_whatever_its_slope(style):
    if style == "linen":
        layer = linen(SHAPE, nn.PReLU())
    else:
        layer = nnx_module(SHAPE, lambda rngs: nnx.PReLU())
    agree(layer.explain(None)(X, target=start(RELEVANCE)), RELEVANCE)


def explain_after_dense(f, rule):
    return lrp(lambda x: f(x @ WEIGHTS), rule)(X, target=start(RELEVANCE))


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda z: jax.nn.relu6(z + 3.0) / 6.0, id="hard sigmoid"),
        pytest.param(lambda z: 1 / (1 + jnp.exp(-z)), id="sigmoid"),
        pytest.param(lambda z: jax.nn.relu(0.5 * z + 1.0), id="shifted relu"),
        pytest.param(lambda z: z * jax.nn.relu6(z + 3.0) / 6.0, id="hard swish"),
        pytest.param(lambda z: jax.nn.relu(-z), id="negated relu"),
    ],
)
def test_scalars_that_feed_a_nonlinearity_are_no_bias_of_the_layer_before_it(f):
    layer = oracle.affine(lambda x: x @ WEIGHTS, SHAPE)
    arriving = region(f, (layer.W @ X.ravel()).reshape(SHAPE), RELEVANCE).ravel()
    expected = oracle.zplus(layer, X.ravel(), arriving).reshape(SHAPE)
    agree(explain_after_dense(f, rules.ZPlus()), expected)


@pytest.mark.smoke
def test_parameters_that_feed_a_nonlinearity_do_fold_into_the_layer_before_it():
    layer = oracle.affine(lambda x: x @ WEIGHTS * BETA + BETA, SHAPE)
    z = (layer.W @ X.ravel() + layer.b).reshape(SHAPE)
    arriving = region(jax.nn.sigmoid, z, RELEVANCE).ravel()
    expected = oracle.gamma(layer, X.ravel(), arriving).reshape(SHAPE)
    actual = explain_after_dense(lambda z: jax.nn.sigmoid(z * BETA + BETA), rules.Gamma(0.25))
    agree(actual, expected)


def test_a_users_function_called_relu_is_judged_by_what_it_computes():
    @jax.jit
    def relu(x):
        return jnp.square(jnp.maximum(x, 0.0)) + 0.5

    agree(lrp(relu)(X, target=start(RELEVANCE)), region(relu, X, RELEVANCE))
