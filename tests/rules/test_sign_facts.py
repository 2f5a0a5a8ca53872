"""What is known of a value's sign may save work, and must never change a number."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from rule_cases import RULES, agree, random_like, start

from lrpjax import lrp, rules

SHAPE = (2, 6)
X, RELEVANCE = random_like(SHAPE, 1), random_like((2, 3), 2)
WEIGHTS, BIAS = random_like((6, 3), 3), random_like((3,), 4)

ELEMENTWISE = {
    "negated relu": lambda x: -jax.nn.relu(x),
    "lowered relu": lambda x: jax.nn.relu(x) - 0.4,
    "leaky relu": jax.nn.leaky_relu,
    "gelu": jax.nn.gelu,
    "exp": jnp.exp,
    "square": lambda x: x * x,
    "absolute value": jnp.abs,
    "relu6": lambda x: jax.nn.relu6(2.0 * x),
    "clipped below zero": lambda x: jnp.clip(x, -0.3, 1.0),
    "log1p of exp": jax.nn.softplus,
    "relu to a negative floor": lambda x: jnp.maximum(x, -0.2),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_dense_layer_behind_an_elementwise_region(name):
    f = ELEMENTWISE[name]
    even = list(ELEMENTWISE).index(name) % 2 == 0
    value, formula = RULES["alpha2_beta1" if even else "gamma"]
    layer = oracle.affine(lambda x: x @ WEIGHTS + BIAS, SHAPE)
    inner = np.asarray(f(X))
    arriving = formula(layer, inner.ravel(), RELEVANCE.ravel()).reshape(SHAPE)
    expected = oracle.pass_share(inner, np.asarray(f(np.zeros(SHAPE))), arriving)
    explained = lrp(lambda x: f(x) @ WEIGHTS + BIAS, value)
    agree(explained(X, target=start(RELEVANCE)), expected)


def mixed(x):
    """Half of it is known not to be negative, the other half is not."""
    return jnp.concatenate([jax.nn.relu(x[:, :3]), x[:, 3:]], axis=1)


def chosen(x):
    """A constant mask chooses between a rectified and a raw value."""
    return jnp.where(np.arange(6) % 2 == 0, jax.nn.relu(x), x)


def padded_below_zero(x):
    """Padding with a negative constant ends what a relu has made sure of."""
    return jnp.pad(jax.nn.relu(x[:, :4]), ((0, 0), (1, 1)), constant_values=-1.0)


@pytest.mark.parametrize("f", [mixed, chosen, padded_below_zero])
def test_routes_keep_only_what_holds_for_all_their_parts(f):
    layer = oracle.affine(lambda x: x @ WEIGHTS + BIAS, SHAPE)
    inner = np.asarray(f(X))
    arriving = oracle.zplus(layer, inner.ravel(), RELEVANCE.ravel()).reshape(SHAPE)
    route, _ = oracle.dense_matrix(lambda x: f(x + 10.0), SHAPE)
    expected = (route.T @ arriving.ravel()).reshape(SHAPE)
    explained = lrp(lambda x: f(x) @ WEIGHTS + BIAS, rules.ZPlus())
    agree(explained(X, target=start(RELEVANCE)), expected)


def test_a_max_pool_of_rectified_values_is_not_negative():
    x, relevance = random_like((2, 4, 4, 1), 1), random_like((2, 3), 2)
    weights = random_like((4, 3), 5)
    layer = oracle.affine(lambda x: x @ weights, (2, 4))
    rectified = np.maximum(x, 0.0).reshape(2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(2, 4, 4)
    inner = rectified.max(-1)
    arriving = oracle.zplus(layer, inner.ravel(), relevance.ravel()).reshape(2, 4, 1)
    first = np.arange(4) == rectified.argmax(-1)[..., None]
    blocks = (first * arriving).reshape(2, 2, 2, 2, 2)
    expected = blocks.transpose(0, 1, 3, 2, 4).reshape(2, 4, 4, 1)

    def f(x):
        return nn.max_pool(jax.nn.relu(x), (2, 2), (2, 2)).reshape(2, 4) @ weights

    agree(lrp(f, rules.ZPlus())(x, target=start(relevance)), expected)
