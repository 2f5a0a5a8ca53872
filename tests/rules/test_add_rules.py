"""Sums of several signals: by share, by size or evenly, constants and signs included."""

import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from rule_cases import agree, random_like, start

from lrpjax import Composite, lrp, lrp_vjp, rules

SHAPE = (3, 4)
X, RELEVANCE = random_like(SHAPE, 1), random_like(SHAPE, 2)
FIRST, SECOND = random_like((4, 4), 3), random_like((4, 4), 4)
BIAS, CONSTANT = random_like((4,), 5), random_like(SHAPE, 6)

RULES = {
    "epsilon": (
        rules.Epsilon(0.3),
        lambda operands, r: oracle.add_epsilon(operands, r, 0.3),
    ),
    "zero": (rules.Zero(), lambda operands, r: oracle.add_epsilon(operands, r, 0.0)),
    "ratio": (rules.Ratio(), oracle.add_ratio),
    "even": (rules.Even(), oracle.add_even),
}


def dense_layers():
    """The two dense layers that the sums are made of, and their outputs."""
    layers = [
        oracle.affine(lambda x: x @ FIRST + BIAS, SHAPE),
        oracle.affine(lambda x: x @ SECOND, SHAPE),
    ]
    return layers, [(layer.W @ X.ravel() + layer.b).reshape(SHAPE) for layer in layers]


def through(layer, relevance):
    """Relevance of x from that of a dense layer's output, by the rule the tests give dense."""
    return oracle.gamma(layer, X.ravel(), relevance.ravel()).reshape(SHAPE)


def explain(f, rule):
    explained = lrp(f, Composite(dense=rules.Gamma(0.25), add=rule))
    return explained(X, target=start(RELEVANCE))


@pytest.mark.smoke
@pytest.mark.parametrize("name", RULES)
def test_a_residual_sum(name):
    rule, formula = RULES[name]
    layers, z = dense_layers()
    skip, branch = formula([X, z[0]], RELEVANCE)
    expected = skip + through(layers[0], branch)
    agree(explain(lambda x: x + (x @ FIRST + BIAS), rule), expected)


@pytest.mark.parametrize("name", RULES)
def test_a_chain_of_sums_is_one_sum_of_all_its_operands(name):
    rule, formula = RULES[name]
    layers, z = dense_layers()
    shares = formula([X, z[0], z[1]], RELEVANCE)
    expected = shares[0] + through(layers[0], shares[1]) + through(layers[1], shares[2])
    agree(explain(lambda x: x + (x @ FIRST + BIAS) + x @ SECOND, rule), expected)


@pytest.mark.parametrize("name", RULES)
def test_a_difference_is_a_sum_with_a_sign(name):
    rule, formula = RULES[name]
    layers, z = dense_layers()
    shares = formula([z[1], -X, -z[0]], RELEVANCE)
    expected = shares[1] + through(layers[1], shares[0]) + through(layers[0], shares[2])
    agree(explain(lambda x: x @ SECOND - (x + (x @ FIRST + BIAS)), rule), expected)


def test_a_constant_in_the_sum_takes_its_share():
    layers, z = dense_layers()
    shares = oracle.add_epsilon([X, CONSTANT, z[1]], RELEVANCE, 0.3)
    expected = shares[0] + through(layers[1], shares[2])
    agree(explain(lambda x: (x + x @ SECOND) + CONSTANT, rules.Epsilon(0.3)), expected)


def test_even_counts_only_the_signals():
    layers, _ = dense_layers()
    half = RELEVANCE / 2
    expected = half + through(layers[1], half)
    agree(explain(lambda x: (x + x @ SECOND) + CONSTANT, rules.Even()), expected)


def test_an_inner_sum_that_others_read_is_a_sum_of_its_own():
    layers, z = dense_layers()
    inner = X + z[1]
    arriving, branch = oracle.add_ratio([inner, z[0]], RELEVANCE)
    arriving = arriving + RELEVANCE
    skip, other = oracle.add_ratio([X, z[1]], arriving)
    expected = skip + through(layers[1], other) + through(layers[0], branch)

    def f(x):
        inner = x + x @ SECOND
        return jnp.concatenate([inner + (x @ FIRST + BIAS), inner])

    explained = lrp(f, Composite(dense=rules.Gamma(0.25), add=rules.Ratio()))
    agree(explained(X, target=start(np.concatenate([RELEVANCE, RELEVANCE]))), expected)


def test_an_operand_may_be_broadcast():
    mean = X.mean(-1, keepdims=True)
    pool = oracle.affine(lambda x: x.mean(-1, keepdims=True), SHAPE)
    skip, wide = oracle.add_ratio([X, np.broadcast_to(mean, SHAPE)], RELEVANCE)
    arriving = wide.sum(-1, keepdims=True)
    expected = skip + oracle.epsilon(pool, X.ravel(), arriving.ravel()).reshape(SHAPE)
    agree(explain(lambda x: x + x.mean(-1, keepdims=True), rules.Ratio()), expected)


@pytest.mark.parametrize("name", RULES)
def test_operands_that_are_all_zero(name):
    """A sum of nothing: the shares are what the formula says of zero, never NaN."""
    rule, formula = RULES[name]
    shares = formula([np.zeros(SHAPE), np.zeros(SHAPE)], RELEVANCE)
    explained = lrp(lambda x: x + x[::-1], Composite(add=rule))
    actual = explained(np.zeros(SHAPE), target=start(RELEVANCE))
    np.testing.assert_allclose(actual, shares[0] + shares[1][::-1], rtol=1e-10)


def test_a_ratio_of_what_is_too_small_to_divide_by():
    """Shared evenly, as where all operands are zero; nothing is lost or not a number."""
    x, ratio = jnp.array([0.0, 1e-39, 2.0], jnp.float32), Composite(add=rules.Ratio())
    _, relevance_of = lrp_vjp(lambda a, b: a + b, ratio, x, 3 * x, argnums=(0, 1))
    a, b = relevance_of(jnp.ones(3))
    np.testing.assert_allclose(a, [0.5, 0.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(b, [0.5, 0.5, 0.75], rtol=1e-6)
