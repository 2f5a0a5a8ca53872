"""Sums, means, cumulative sums and average pooling are affine units of kind pool."""

import flax.linen as nn
import jax.numpy as jnp
import oracle
import pytest
from jax import lax
from rule_cases import RULES, SIGNS, agree, check_layer, random_like, start
from rule_layers import function

from lrpjax import Composite, lrp, rules

POOLS = {
    "sum": ((2, 3, 4), lambda x: x.sum(1)),
    "sum of all": ((2, 3), jnp.sum),
    "mean": ((2, 3, 3, 2), lambda x: x.mean((1, 2))),
    "mean kept": ((2, 3, 4), lambda x: x.mean(-1, keepdims=True)),
    "cumsum": ((2, 4, 2), lambda x: jnp.cumsum(x, axis=1)),
    "reverse cumsum": ((2, 5), lambda x: lax.cumsum(x, axis=1, reverse=True)),
    "avg_pool": ((2, 4, 4, 2), lambda x: nn.avg_pool(x, (2, 2), (2, 2))),
    "avg_pool same": ((2, 5, 4, 2), lambda x: nn.avg_pool(x, (3, 2), (2, 1), "SAME")),
    "window sum": (
        (2, 6),
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3), (1, 2), ((0, 0), (1, 2))),
    ),
    "dilated window sum": (
        (2, 7),
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2), (1, 1), "VALID", None, (1, 3)),
    ),
}

CASES = (
    ("sum", "epsilon", "signed"),
    ("sum", "flat", "signed"),
    ("sum of all", "gamma", "signed"),
    ("mean", "epsilon", "relu"),
    ("mean", "zplus", "signed"),
    ("mean", "wsquare", "signed"),
    ("mean kept", "alpha2_beta1", "signed"),
    ("cumsum", "epsilon", "signed"),
    ("cumsum", "gamma", "signed"),
    ("reverse cumsum", "flat", "positive"),
    ("avg_pool", "epsilon", "signed"),
    ("avg_pool", "zplus", "relu"),
    ("avg_pool", "zbox", "signed"),
    ("avg_pool same", "flat", "signed"),
    ("avg_pool same", "alpha2_beta1", "signed"),
    ("window sum", "wsquare", "signed"),
    ("window sum", "zero", "positive"),
    ("dilated window sum", "epsilon", "signed"),
)


@pytest.mark.parametrize(("pool", "rule", "sign"), CASES)
def test_a_pool_follows_its_rule_as_a_matrix(pool, rule, sign):
    assert sign in SIGNS
    value, formula = RULES[rule]
    layer = function(*POOLS[pool])
    check_layer(layer, None, formula, sign, composite=Composite(pool=value))


@pytest.mark.parametrize("rule", ["zero", "flat", "epsilon"])
def test_an_average_that_does_not_count_the_padding(rule):
    value, formula = RULES[rule]
    layer = function(
        (2, 5, 5, 2), lambda x: nn.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False)
    )
    check_layer(layer, None, formula, composite=Composite(pool=value))


@pytest.mark.smoke
def test_a_single_rule_leaves_the_pools_their_epsilon():
    weights = random_like((3, 4), 3)
    x, relevance = random_like((2, 5, 3), 1), random_like((2, 4), 2)
    pool = oracle.affine(lambda x: x.mean(1), (2, 5, 3))
    dense = oracle.affine(lambda x: x @ weights, (2, 3))
    pooled = pool.W @ x.ravel()
    inner = oracle.gamma(dense, pooled, relevance.ravel())
    expected = oracle.epsilon(pool, x.ravel(), inner).reshape(x.shape)
    explained = lrp(lambda x: x.mean(1) @ weights, rules.Gamma(0.25))
    agree(explained(x, target=start(relevance)), expected)
