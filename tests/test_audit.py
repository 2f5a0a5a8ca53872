"""The ledger: small networks by hand, and that it closes on larger ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.ledgers import check
from support.networks import linen_net, mlp, normal

from lrpjax import Composite, PlanError, audit, lrp, plan, rules

SQUARE = normal(4, 4, seed=151)


def ones(out):
    return jnp.ones_like(out)


def only(ledger, kind):
    """The one row of this kind of unit."""
    (row,) = [row for row in ledger.rows if row.unit == kind]
    return row


# ---------------------------------------------------------------- by hand


@pytest.mark.smoke
def test_the_bias_and_the_stabiliser_of_a_dense_layer(x64):
    """z = 2·1 + 1·2 + 1 = 5, start 10 with ε = 3: c = 10/8."""
    f = lambda x: x @ np.array([[2.0], [1.0]]) + 1.0
    ledger = audit(f, rules.Epsilon(3.0), np.array([1.0, 2.0]), target=lambda z: 2.0 * z)
    row = only(ledger, "dense")
    c = 10.0 / 8.0
    assert (ledger.start, row.relevance_in) == (10.0, 10.0)
    assert row.relevance_out == ledger.inputs == pytest.approx(4 * c)
    assert row.bias == pytest.approx(1 * c)
    assert row.stabiliser == pytest.approx(10 - 5 * c)
    assert row.stopped == row.remainder == 0
    assert ledger.absorbed == pytest.approx(10 - 4 * c)
    assert row.rule == rules.Epsilon(3.0) and row.layer == "dot_general_0"


def test_the_ledgers_inputs_are_the_relevance_itself(x64):
    x = normal(3, 4, seed=150)
    ledger = audit(mlp, "epsilon", x, target=1)
    assert ledger.inputs == pytest.approx(float(lrp(mlp, "epsilon")(x, target=1).sum()))
    assert ledger.start == pytest.approx(float(mlp(x)[:, 1].sum()))


def test_what_a_rule_that_keeps_the_positive_part_gives_to_the_bias(x64):
    """x = (1, 1), w = (2, -1), b = 2: the positive part is 2 + 2, of which the bias is half."""
    f = lambda x: x @ np.array([[2.0], [-1.0]]) + np.array([2.0])
    ledger = audit(f, rules.ZPlus(0.0), np.ones(2), target=ones)
    row = only(ledger, "dense")
    assert (row.relevance_out, row.bias, row.stabiliser) == pytest.approx((0.5, 0.5, 0.0))


def test_both_parts_of_alpha_beta(x64):
    """Positive 3 + bias 1, negative -2: α 3/4 − β 1 to the input, α 1/4 to the bias."""
    f = lambda x: x @ np.array([[3.0], [-2.0]]) + np.array([1.0])
    ledger = audit(f, rules.AlphaBeta(2.0, 1.0, epsilon=0.0), np.ones(2), target=ones)
    row = only(ledger, "dense")
    assert row.relevance_out == pytest.approx(2 * 3 / 4 - 1)
    assert (row.bias, row.stabiliser, row.remainder) == pytest.approx((2 * 1 / 4, 0.0, 0.0))


def test_a_missing_negative_part_is_a_stabilisers_doing(x64):
    """With nothing negative, β's share has nowhere to go."""
    f = lambda x: x @ np.array([[3.0], [2.0]])
    ledger = audit(f, rules.AlphaBeta(2.0, 1.0, epsilon=0.0), np.ones(2), target=ones)
    row = only(ledger, "dense")
    assert row.relevance_out == pytest.approx(2.0) and row.stabiliser == pytest.approx(-1.0)


def test_a_zero_denominator_drops_its_relevance_with_the_stabiliser():
    f = lambda x: x @ np.array([[1.0], [-1.0]], np.float32)
    ledger = audit(f, rules.Zero(), np.ones(2, np.float32), target=ones)
    row = only(ledger, "dense")
    assert (row.relevance_in, row.relevance_out, row.stabiliser) == (1.0, 0.0, 1.0)


def test_rules_that_ignore_the_bias_give_it_nothing():
    f = lambda x: x @ normal(3, 2).astype(np.float32) + 5.0
    for rule in (rules.Flat(), rules.ZBox(-2.0, 2.0)):
        row = only(audit(f, rule, np.ones(3, np.float32), target=ones), "dense")
        assert row.bias == 0 and row.relevance_out == pytest.approx(2.0, rel=1e-4)


def test_a_shift_and_the_constant_of_a_sum(x64):
    """relu(x) = (1, 2) + (1, 2): half to each; then + a third operand of another layer."""
    f = lambda x: jax.nn.relu(x) + np.array([1.0, 2.0])
    ledger = audit(f, Composite(shift=rules.Epsilon(0.0)), np.array([1.0, 2.0]), target=ones)
    row = only(ledger, "shift")
    assert (row.relevance_in, row.relevance_out, row.bias) == pytest.approx((2.0, 1.0, 1.0))
    g = lambda x: jnp.tanh(x) + np.array([3.0, -1.0]) + x[::-1]
    x = np.array([1.0, 2.0])
    row = only(audit(g, Composite(add=rules.Zero()), x, target=ones), "add")
    constant = np.array([3.0, -1.0])
    assert row.bias == pytest.approx((constant / (np.tanh(x) + constant + x[::-1])).sum())


def test_the_value_at_zero_of_an_activation_is_a_bias(x64):
    """sigmoid(0) = ½ is no one's doing."""
    x = np.array([0.0, 2.0])
    row = only(audit(jax.nn.sigmoid, None, x, target=ones), "elementwise")
    y = 1 / (1 + np.exp(-x))
    share = (0.5 / (y + 1e-6)).sum()
    assert row.bias == pytest.approx(share)
    assert row.relevance_out == pytest.approx(((y - 0.5) / (y + 1e-6)).sum())
    assert audit(jax.nn.sigmoid, "epsilon", x, target=ones).absorbed == 0


def test_what_a_stop_gradient_takes(x64):
    """z = 3 + 1: three quarters end at the stop."""
    f = lambda x: lax.stop_gradient(3.0 * x) + x @ np.ones((1, 1))
    ledger = audit(f, Composite(add=rules.Zero(), dense=rules.Zero()), np.ones(1), target=ones)
    assert sum(row.stopped for row in ledger.rows) == pytest.approx(0.75)
    assert only(ledger, "stop").stopped == pytest.approx(0.75)
    assert ledger.inputs == pytest.approx(0.25)
    check(ledger, 1e-12)


def test_what_the_stop_rule_takes(x64):
    f = lambda x: jnp.tanh(x) @ np.ones((2, 1))
    ledger = audit(f, Composite(elementwise=rules.Stop()), np.ones(2))
    row = only(ledger, "elementwise")
    assert row.stopped == row.relevance_in == pytest.approx(ledger.start, rel=1e-5)
    assert row.relevance_out == ledger.inputs == 0
    check(ledger, 1e-12)


def test_what_a_constant_output_takes():
    f = lambda x: {"x": x, "constant": jnp.full(3, 2.0) * normal(1).astype(np.float32)}
    ledger = audit(f, None, np.ones(2, np.float32), target=lambda out: jax.tree.map(ones, out))
    assert ledger.start == 5.0 and ledger.inputs == 2.0
    assert only(ledger, "stop").stopped == pytest.approx(3.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.pad(x, 1, constant_values=2.0),
        lambda x: jnp.concatenate([x, np.full(2, 2.0)]),
        lambda x: jnp.where(np.array([True, True, False]), jnp.append(x, 1.0), 2.0),
    ],
    ids=["pad", "concatenate", "where"],
)
def test_what_constants_on_a_route_take(f, x64):
    x = np.array([1.0, 1.0])
    ledger = audit(f, None, x, target=ones)
    assert ledger.inputs == 2.0 and ledger.absorbed == f(x).size - 2
    assert sum(row.bias for row in ledger.rows) == ledger.absorbed
    check(ledger, 1e-12)


def test_maxima_pass_everything_on(x64):
    x = np.array([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]])
    ledger = audit(lambda x: x.max(1), None, x)
    assert ledger.absorbed == 0 and only(ledger, "max").relevance_out == 3.0


def test_several_inputs_and_outputs_are_summed(x64):
    f = lambda x, y: {"a": 2.0 * x, "b": [3.0 * y]}
    target = lambda out: jax.tree.map(ones, out)
    ledger = audit(f, None, np.ones(2), np.ones(3), argnums=(0, 1), target=target)
    assert (ledger.start, ledger.inputs, ledger.absorbed) == (5.0, 5.0, 0.0)


def test_rows_are_those_of_the_plan():
    module, variables, x = linen_net()
    ledger, units = audit(module, None, variables, x), plan(module, None, variables, x).units
    expected = [(u.layer, u.kind, u.rule) for u in units]
    assert [(row.layer, row.unit, row.rule) for row in ledger.rows] == expected


# ---------------------------------------------------------------- the rest


def test_the_table_shows_every_unit_and_the_totals():
    module, variables, x = linen_net()
    ledger = audit(module, None, variables, x)
    text = str(ledger)
    for word in ("layer", "rule", "in", "out", "bias", "stabiliser", "stopped", "remainder"):
        assert word in text.splitlines()[0]
    for row in ledger.rows:
        assert any(line.startswith(row.layer) for line in text.splitlines())
        assert type(row.rule).__name__ in text
    assert f"{ledger.start:.6g}" in text and f"{ledger.inputs:.6g}" in text
    assert "not finite" not in text


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_reported_not_hidden(bad):
    x = np.array([[1.0, bad, 1.0, 1.0]], np.float32)
    ledger = audit(mlp, None, x)
    assert ledger.not_finite
    assert "not finite" in str(ledger)
    assert any("input" in note for note in ledger.not_finite)


def test_an_explained_input_that_only_some_elements_of_see_is_reported_too():
    """The outputs are finite; the input that a relu hides is not."""
    x = np.array([-np.inf, 1.0], np.float32)
    ledger = audit(jax.nn.relu, None, x, target=1)
    assert any("input" in note for note in ledger.not_finite)


def test_a_target_out_of_range_is_reported_as_relevance_that_is_not_finite():
    ledger = audit(
        lambda x: x @ SQUARE.astype(np.float32), None, np.ones(4, np.float32), target=jnp.asarray(9)
    )
    assert any("relevance" in note for note in ledger.not_finite)


def test_finite_networks_have_nothing_to_report():
    assert audit(mlp, None, normal(2, 4).astype(np.float32)).not_finite == ()


def test_audit_takes_what_lrp_takes():
    f = lambda x, w, *, scale: (x @ w * scale, {"aux": x})
    x, w = normal(2, 4).astype(np.float32), SQUARE.astype(np.float32)
    ledger = audit(f, "epsilon", x, w, argnums=0, has_aux=True, target=[0, 1], scale=2.0)
    out = x @ w * 2.0
    assert ledger.start == pytest.approx(out[0, 0] + out[1, 1], rel=1e-5)
    with pytest.raises(PlanError, match="out of range"):
        audit(f, None, x, w, has_aux=True, target=7, scale=1.0)
