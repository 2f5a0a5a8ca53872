"""Where zennit 0.5.1 as shipped goes another way than the formulas, each difference by name.

Each test takes the formula for lrpjax's relevance, and another for what zennit computes instead,
so that both halves of what it says are checked. The formulas are NumPy's, on dense matrices, one
example at a time; zennit's arrays are made by benchmarks/peers/zennit_differs.py.
"""

import jax
import numpy as np
import oracle
import pytest
from oracle import Affine

from lrpjax import lrp_vjp, presets, rules
from parity import small_networks as small
from parity.explained import RTOL, assert_equal, golden
from parity.small_networks import B1, B1B, B2, START, W1, W1B, W2, XS, X


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to eight digits."""


def layer(w, b):
    return Affine(w, b, np.ones_like(w))


FC1, FC2 = layer(W1, B1), layer(W2, B2)


def ours(f, composite, x=X, start=START):
    """(outputs, relevance) of a function, started with an array."""

    def explain(x, start):
        out, relevance_of = lrp_vjp(f, composite, x)
        return out, relevance_of(start)

    out, relevance = jax.jit(explain)(x, start)
    return np.asarray(out), np.asarray(relevance)


def zennits(name):
    return golden("differs")[name]


def each(formula, x=X, start=START):
    """A formula of one example and its start, for all of them."""
    return np.stack([formula(a, r) for a, r in zip(x, start, strict=True)])


def differ(a, b):
    """By more than ten times what counts as equal."""
    return np.abs(a - b).max() > 10 * RTOL * np.abs(b).max()


def relu(z):
    return np.maximum(z, 0.0)


def gelu(z):
    """The tanh form, and its derivative."""
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (z + 0.044715 * z**3))
    slope = 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * c * (1 + 3 * 0.044715 * z**2)
    return 0.5 * z * (1 + t), slope


def test_gamma_drops_the_relevance_of_outputs_that_are_exactly_zero():
    """The formula's branch for z ≥ 0 includes zero; zennit's two are z > 0 and z < 0."""
    fc = layer(small.W_ZERO, np.zeros(2))
    x, start = small.X_ZERO, small.START_ZERO
    out, relevance = ours(lambda x: x @ small.W_ZERO.T, rules.Gamma(), x, start)
    np.testing.assert_array_equal(out, [[0.0, 3.0]])
    assert_equal(relevance, each(lambda a, r: oracle.gamma(fc, a, r), x, start))
    dropped = each(lambda a, r: oracle.gamma(fc, a, r * [0.0, 1.0]), x, start)
    assert_equal(zennits("gamma_at_zero"), dropped)
    assert differ(dropped, relevance)


def test_flat_adds_its_stabiliser_to_a_count_that_is_never_zero():
    """So a millionth of a sixth is lost here; the rule has no stabiliser."""
    _, relevance = ours(lambda x: x @ W2.T + B2, presets.epsilon_plus_flat())
    assert_equal(relevance, each(lambda a, r: oracle.flat(FC2, a, r)))
    assert_equal(zennits("flat_stabiliser") * (6 + 1e-6) / 6, relevance)
    assert differ(zennits("flat_stabiliser"), relevance)


def test_the_first_layer_is_the_first_registered():
    """Whichever the data meets first: here the last layer was assigned first."""

    def formula(first, second):
        def of_one(a, r):
            return first(FC1, a, second(FC2, relu(W1 @ a + B1), r))

        return each(of_one)

    _, relevance = ours(
        lambda x: jax.nn.relu(x @ W1.T + B1) @ W2.T + B2, presets.epsilon_plus_flat()
    )
    assert_equal(relevance, formula(oracle.flat, oracle.epsilon))
    assert_equal(zennits("first_registered"), _stabilised(formula(oracle.epsilon, oracle.flat)))
    assert differ(zennits("first_registered"), relevance)


def _stabilised(relevance):
    """What Flat on six inputs gives with a stabiliser."""
    return relevance * 6 / (6 + 1e-6)


def test_only_one_layer_is_first():
    """Two layers that see the input each are first by dataflow; zennit has one, by order."""
    one, other = layer(W1[:3, :3], B1[:3]), layer(W1B[:3, :3], B1B[:3])

    def f(x):
        y = x[:, :3] @ one.W.T + one.b, x[:, 3:] @ other.W.T + other.b
        return jax.numpy.concatenate(y, 1) @ W2.T + B2

    def formula(second, flat=oracle.flat):
        def of_one(a, r):
            hidden = np.concatenate([one.W @ a[:3] + one.b, other.W @ a[3:] + other.b])
            arrived = oracle.epsilon(FC2, hidden, r)
            parts = flat(one, a[:3], arrived[:3]), second(other, a[3:], arrived[3:])
            return np.concatenate(parts)

        return each(of_one)

    _, relevance = ours(f, presets.epsilon_plus_flat())
    assert_equal(relevance, formula(oracle.flat))
    flat = lambda fc, a, r: oracle.flat(fc, a, r) * 3 / (3 + 1e-6)
    assert_equal(zennits("one_first_layer"), formula(oracle.epsilon, flat))
    assert differ(zennits("one_first_layer"), relevance)


def test_a_sum_that_is_no_module_counts_twice():
    """Zennit's issue 236: behind a plain + each operand gets all of the relevance."""

    def formula(share):
        def of_one(a, r):
            branch = W1 @ a + B1
            arrived = oracle.epsilon(FC2, a + branch, r)
            kept, through = share([a, branch], arrived)
            return kept + oracle.epsilon(FC1, a, through)

        return each(of_one)

    _, relevance = ours(lambda x: (x + (x @ W1.T + B1)) @ W2.T + B2, "epsilon_plus")
    assert_equal(relevance, formula(oracle.add_epsilon))
    assert_equal(zennits("sum_by_plus"), formula(lambda operands, r: [r, r]))
    assert differ(zennits("sum_by_plus"), relevance)


@pytest.mark.parametrize(
    ("name", "rule"), [("functional_gelu", oracle.epsilon), ("excitation_gelu", oracle.zplus)]
)
def test_an_activation_without_a_rule_gets_its_gradient(name, rule):
    """F.gelu in any network, and any activation in ExcitationBackprop, which maps none to Pass."""

    def formula(act):
        def of_one(a, r):
            y, slope = gelu(W1 @ a + B1)
            return rule(FC1, a, act(slope) * rule(FC2, y, r))

        return each(of_one)

    preset = "epsilon_plus" if rule is oracle.epsilon else "excitation_backprop"
    _, relevance = ours(lambda x: jax.nn.gelu(x @ W1.T + B1) @ W2.T + B2, preset)
    assert_equal(relevance, formula(np.ones_like))
    assert_equal(zennits(name), formula(lambda slope: slope))
    assert differ(zennits(name), relevance)


def test_a_mean_that_is_no_module_is_shared_evenly():
    """Where AvgPool gets each element's share of the sum, x.mean(1) gets the gradient's 1/n."""

    def formula(share):
        def of_one(a, r):
            hidden = relu(a @ W1.T + B1)
            arrived = share(hidden, oracle.epsilon(FC2, hidden.mean(0), r))
            return np.stack([oracle.epsilon(FC1, *pair) for pair in zip(a, arrived, strict=True)])

        return each(of_one, XS)

    def by_share(hidden, r):
        return hidden / 4 * oracle.quotient(r, hidden.mean(0), 1e-6)

    _, relevance = ours(
        lambda x: jax.nn.relu(x @ W1.T + B1).mean(1) @ W2.T + B2, "epsilon_plus", XS
    )
    assert_equal(relevance, formula(by_share))
    assert_equal(zennits("functional_mean"), formula(lambda hidden, r: np.tile(r / 4, (4, 1))))
    assert differ(zennits("functional_mean"), relevance)


def test_the_box_is_for_convolutions_alone():
    """EpsilonGammaBox of a network without any has no zᴮ at all; here the first layer has it."""

    def formula(first):
        def of_one(a, r):
            return first(FC1, a, oracle.epsilon(FC2, relu(W1 @ a + B1), r))

        return each(of_one)

    box = lambda fc, a, r: oracle.zbox(fc, a, r, small.LOW, small.HIGH)
    _, relevance = ours(
        lambda x: jax.nn.relu(x @ W1.T + B1) @ W2.T + B2,
        presets.epsilon_gamma_box(small.LOW, small.HIGH),
    )
    assert_equal(relevance, formula(box))
    assert_equal(zennits("box_without_convolution"), formula(oracle.epsilon))
    assert differ(zennits("box_without_convolution"), relevance)


FACTOR = small.SCALE / np.sqrt(small.VAR + small.BN_EPS)
OFFSET = small.SHIFT - small.MEAN * FACTOR
FOLDED = layer(FACTOR[:, None] * W1, FACTOR * B1 + OFFSET)


def batch_norm(x):
    hidden = (x @ W1.T + B1 - small.MEAN) / np.sqrt(small.VAR + small.BN_EPS)
    return jax.nn.relu(hidden * small.SCALE + small.SHIFT) @ W2.T + B2


def of_batch_norm(first, divisor=1.0):
    """Both layers by ε, with BatchNorm's output divided by a number."""

    def of_one(a, r):
        hidden = relu(FOLDED.W @ a + FOLDED.b) / divisor
        return oracle.epsilon(first, a, oracle.epsilon(FC2, hidden, r))

    return each(of_one)


def test_a_batch_norm_that_is_not_merged_loses_what_it_shifts():
    """Without a canonizer relevance passes it whole, and the layer before knows nothing of it."""
    _, relevance = ours(batch_norm, "epsilon_plus")
    assert_equal(relevance, of_batch_norm(FOLDED))
    assert_equal(zennits("batch_norm_passed"), of_batch_norm(FC1))
    assert differ(zennits("batch_norm_passed"), relevance)


def test_a_merged_batch_norm_still_divides_by_its_own_epsilon():
    """By √(1 + ε) behind every merged layer: what is explained is not quite the model."""
    model = relu(X @ FOLDED.W.T + FOLDED.b) @ W2.T + B2
    out, relevance = ours(batch_norm, "epsilon_plus")
    assert_equal(out, model)
    assert_equal(relevance, of_batch_norm(FOLDED))
    divisor = np.sqrt(1 + small.BN_EPS)
    assert_equal(zennits("batch_norm_merged outputs"), (model - B2) / divisor + B2)
    assert_equal(zennits("batch_norm_merged"), of_batch_norm(FOLDED, divisor))
    assert differ(zennits("batch_norm_merged"), relevance)
