"""Scales and shifts that no linear core can take in follow their own rules."""

import flax.linen as nn
import jax
import numpy as np
import oracle
import pytest
from flax import nnx
from rule_cases import agree, random_like, start
from rule_layers import linen, nnx_module

from lrpjax import Composite, lrp, rules

X, RELEVANCE = random_like((2, 3, 4), 1), random_like((2, 3, 4), 2)
SCALE, OFFSET = random_like((4,), 3), random_like((3, 4), 4)
BEHIND_RELU = np.maximum(X, 0.0)


def explain(f, composite=None):
    return lrp(f, composite)(X, target=start(RELEVANCE))


@pytest.mark.parametrize("composite", [None, Composite(shift=rules.Epsilon(0.3))])
def test_a_shift_takes_its_share_by_the_epsilon_rule(composite):
    epsilon = 1e-6 if composite is None else 0.3
    expected = oracle.shift(1.0, OFFSET, BEHIND_RELU, RELEVANCE, epsilon)
    agree(explain(lambda x: jax.nn.relu(x) + OFFSET, composite), expected)


def test_a_scale_with_its_shift_is_one_unit():
    expected = oracle.shift(SCALE, -OFFSET, BEHIND_RELU, RELEVANCE, 0.3)
    composite = Composite(shift=rules.Epsilon(0.3))
    agree(explain(lambda x: jax.nn.relu(x) * SCALE - OFFSET, composite), expected)


def test_a_constant_minus_the_signal_is_a_shift_with_a_negative_scale():
    expected = oracle.shift(-1.0, OFFSET, BEHIND_RELU, RELEVANCE, 0.3)
    composite = Composite(shift=rules.Epsilon(0.3))
    agree(explain(lambda x: OFFSET - jax.nn.relu(x), composite), expected)


def test_a_shift_of_the_explained_input_itself_passes_relevance_on():
    agree(explain(lambda x: x + OFFSET), RELEVANCE)


def test_a_shift_may_be_told_to_pass():
    f = lambda x: jax.nn.relu(x) + OFFSET
    agree(explain(f, Composite(shift=rules.Pass())), RELEVANCE)


def test_a_shift_of_the_explained_input_may_be_told_to_take_its_share():
    expected = oracle.shift(1.0, OFFSET, X, RELEVANCE, 0.3)
    agree(explain(lambda x: x + OFFSET, Composite(shift=rules.Epsilon(0.3))), expected)


def test_a_scale_passes_relevance_on():
    agree(explain(lambda x: jax.nn.relu(x) * SCALE), RELEVANCE)


def test_a_scale_may_follow_the_epsilon_rule():
    expected = oracle.shift(SCALE, 0.0, X, RELEVANCE, 0.3)
    agree(explain(lambda x: x * SCALE, Composite(scale=rules.Epsilon(0.3))), expected)


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_a_norm_without_a_core_in_front_is_a_shift(style):
    """The map of a BatchNorm at inference is s⊙x + b, whatever operations spell it."""
    if style == "linen":
        layer = linen((2, 3, 4), nn.BatchNorm(use_running_average=True))
    else:
        layer = nnx_module(
            (2, 3, 4), lambda rngs: nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        )
    affine = layer.affine()
    scale, offset = np.diag(affine.W).reshape(X.shape), affine.b.reshape(X.shape)
    expected = oracle.shift(scale, offset, BEHIND_RELU, RELEVANCE, 0.3)
    explained = layer.explain(Composite(shift=rules.Epsilon(0.3)), jax.nn.relu)
    agree(explained(X, target=start(RELEVANCE)), expected)
