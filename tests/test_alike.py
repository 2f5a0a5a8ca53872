"""Layers that repeat are traced once, and only layers that do compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import normal
from support.planning import units

from lrpjax import Composite, lrp, rules
from lrpjax.rewrite.alike import Alike
from lrpjax.rules import Epsilon
from lrpjax.rules.base import rule

X = jnp.asarray(normal(2, 6, seed=730), jnp.float32)
WEIGHTS = [jnp.asarray(normal(6, 6, seed=740 + i), jnp.float32) for i in range(5)]
BIASES = [jnp.asarray(normal(6, seed=750 + i), jnp.float32) for i in range(5)]
IMAGES = jnp.asarray(normal(2, 8, 8, 4, seed=760), jnp.float32)
KERNEL = jnp.asarray(normal(3, 3, 4, 4, seed=761), jnp.float32)


def deep(x):
    for w, b in zip(WEIGHTS, BIASES, strict=True):
        x = jax.nn.relu(x @ w + b)
    return x


def conv(x, padding="SAME", strides=(1, 1)):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, KERNEL, strides, padding, dimension_numbers=numbers)


#: two layers one after another -> whether one may stand for the other
PAIRS = {
    "dense, dense": (lambda x: (x @ WEIGHTS[0]) @ WEIGHTS[1], X, True),
    "with biases": (lambda x: (x @ WEIGHTS[0] + BIASES[0]) @ WEIGHTS[1] + BIASES[1], X, True),
    "one bias": (lambda x: (x @ WEIGHTS[0] + BIASES[0]) @ WEIGHTS[1], X, False),
    "added and subtracted": (
        lambda x: (x @ WEIGHTS[0] + BIASES[0]) @ WEIGHTS[1] - BIASES[1],
        X,
        False,
    ),
    "transposed weights": (lambda x: (x @ WEIGHTS[0]) @ WEIGHTS[1].T, X, True),  # made before
    "weights in front": (lambda x: WEIGHTS[1][:, :2] @ (x @ WEIGHTS[0]), X, False),
    "other scales": (lambda x: ((x @ WEIGHTS[0]) * 2.0) @ WEIGHTS[1] * 3.0, X, False),
    "the same scales": (lambda x: ((x @ WEIGHTS[0]) * 2.0) @ WEIGHTS[1] * 2.0, X, True),
    "convolutions": (lambda x: conv(conv(x)), IMAGES, True),
    "other padding": (lambda x: conv(conv(x), "VALID"), IMAGES, False),
    "other strides": (lambda x: conv(conv(x), strides=(2, 2)), IMAGES, False),
    "signs known of one": (lambda x: conv(jax.nn.relu(conv(x))), IMAGES, False),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", PAIRS)
def test_which_units_are_alike(name):
    """What differs in nothing but its arrays."""
    function, x, alike = PAIRS[name]
    first, second = (unit for unit in units(function, x) if unit.kind in ("dense", "conv"))
    assert (Alike(first) == Alike(second)) is alike
    if alike:
        assert hash(Alike(first)) == hash(Alike(second))


def test_the_order_of_operands():
    """A value that is read twice isn't two values."""
    once, twice = units(lambda x: (x[0] - x[1]) * (x[0] * x[0]), X, composite=Composite())[-2:]
    assert Alike(once) != Alike(twice)


@rule
class Counting(Epsilon):
    """The ε-rule, and how often it was asked."""

    def affine(self, layer, relevance):
        ASKED.append(layer.z.shape)
        return super().affine(layer, relevance)


ASKED = []


def test_a_repeated_layer_is_traced_once():
    """Five layers are two: the first sees inputs of either sign. The numbers are everyone's own."""
    jax.clear_caches()
    ASKED.clear()
    found = lrp(deep, Counting())(X, target=1)
    assert len(ASKED) == 2
    expected = by_hand(X, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def by_hand(x, target):
    x = np.asarray(x, np.float64)
    seen, made = [], []
    for w, b in zip(WEIGHTS, BIASES, strict=True):
        seen.append(x)
        made.append(x @ np.asarray(w, np.float64) + np.asarray(b, np.float64))
        x = np.maximum(made[-1], 0)
    relevance = np.zeros_like(x)
    relevance[:, target] = x[:, target]
    for w, x, z in zip(WEIGHTS[::-1], seen[::-1], made[::-1], strict=True):
        c = relevance / (z + np.where(z >= 0, 1e-6, -1e-6))
        relevance = x * (c @ np.asarray(w, np.float64).T)
    return relevance


def test_numbers_in_rules_are_not_shared():
    """Two layers that are alike, with rules of other ε."""
    function = PAIRS["dense, dense"][0]

    def explained(first, last):
        return lrp(function, Composite(dense=Epsilon(), first=first, last=last))(X, target=0)

    loose, tight = Epsilon(10.0), Epsilon(1e-6)
    results = [explained(a, b) for a in (loose, tight) for b in (loose, tight)]
    for i, a in enumerate(results):
        for b in results[i + 1 :]:
            assert not np.allclose(a, b, rtol=1e-3)
    assert rules.Epsilon(10.0) == loose
