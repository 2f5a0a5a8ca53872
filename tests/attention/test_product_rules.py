"""The rules of products element by element, against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formulas
from normalisation.comparing import agree
from support import ledgers
from support.networks import close, normal

from lrpjax import Composite, PlanError, audit, lrp, plan, rules

A, B = normal(3, 4, seed=770), normal(3, 4, seed=771)
A[0, 0] = B[0, 1] = 0.0
A[1, 0] = B[1, 0] = 0.0  # nothing to share by
A[1, 1], B[1, 1] = 0.5, -0.5  # a sum of nothing
C = normal(3, 4, seed=772)  # relevance starts with the outputs times these

#: Rule -> what a and b get of r, where neither is a gate.
SHARES = {
    "Uniform": (rules.Uniform(), formulas.product_uniform),
    "SignalTakesAll": (rules.SignalTakesAll(), formulas.product_uniform),
    "ValueOnly": (rules.ValueOnly(), formulas.product_uniform),
    "Proportional": (rules.Proportional(), formulas.product_proportional),
    "Proportional(0.1)": (
        rules.Proportional(0.1),
        lambda a, b, r: formulas.product_proportional(a, b, r, 0.1),
    ),
    "Absolute": (rules.Absolute(), formulas.product_absolute),
}
to_signal = lambda gate, signal, r: (0 * r, r)
#: The same where a is a gate.
GATED = SHARES | {
    "SignalTakesAll": (rules.SignalTakesAll(), to_signal),
    "ValueOnly": (rules.ValueOnly(), to_signal),
}
FORMS = {
    "mul": lambda a, b: a * b,
    "jit": jax.jit(lambda a, b: a * b),
    "remat": jax.checkpoint(lambda a, b: a * b),
    "vmap": jax.vmap(lambda a, b: a * b, 1, 1),
    "transposed": lambda a, b: (a.T * b.T).T,
}

pytestmark = pytest.mark.usefixtures("x64")


def explain_each(functions, cases, start):
    """{function: {rule: relevance of both arguments}}, in one compiled program."""

    def one(f, rule, a, b):
        composite = Composite(product=rule, elementwise=rules.Pass())
        return lrp(f, composite, argnums=(0, 1))(a, b, target=start)

    @jax.jit
    def explained(a, b):
        return {
            name: {rule: one(f, r, a, b) for rule, (r, _) in cases.items()}
            for name, f in functions.items()
        }

    return jax.device_get(explained(A, B))


def test_what_two_factors_get():
    expected = {rule: formula(A, B, A * B * C) for rule, (_, formula) in SHARES.items()}
    found = explain_each(FORMS, SHARES, lambda y: y * C)
    agree(found, dict.fromkeys(FORMS, expected))


def test_what_they_get_of_relevance_that_is_no_share_of_their_product():
    """Where a factor is zero too; |a| and |b| share it, halves where both are zero."""
    bounded = {rule: SHARES[rule] for rule in ("Uniform", "Proportional(0.1)", "Absolute")}
    expected = {rule: formula(A, B, C) for rule, (_, formula) in bounded.items()}
    found = explain_each({"mul": FORMS["mul"]}, bounded, lambda y: C)
    agree(found, {"mul": expected})


def test_what_a_gate_and_a_signal_get():
    """The sigmoid's own rule passes on what it gets, so that a shows it."""
    gate = 1 / (1 + np.exp(-A))
    forms = {
        "gate first": lambda a, b: jax.nn.sigmoid(a) * b,
        "remat": jax.checkpoint(lambda a, b: jax.nn.sigmoid(a) * b),
    }
    expected = {rule: formula(gate, B, gate * B * C) for rule, (_, formula) in GATED.items()}
    agree_but_for_zeros(explain_each(forms, GATED, lambda y: y * C), forms, expected)
    swapped = {"gate last": lambda a, b: b * jax.nn.sigmoid(a)}
    agree_but_for_zeros(explain_each(swapped, GATED, lambda y: y * C), swapped, expected)


def agree_but_for_zeros(found, forms, expected):
    for form in forms:
        for rule, pair in expected.items():
            for actual, wanted in zip(found[form][rule], pair, strict=True):
                assert actual.any() == wanted.any(), (form, rule)
                if wanted.any():
                    close(actual, wanted)


def test_a_gate_for_many_elements_gets_the_sum():
    narrow = A[:, :1]
    explain = lrp(lambda a, b: a * b, argnums=(0, 1))
    to_a, to_b = explain(narrow, B, target=lambda y: y * C)
    r = narrow * B * C
    close(to_a, (r / 2).sum(1, keepdims=True))
    close(to_b, r / 2)


@pytest.mark.parametrize("name", SHARES)
def test_relevance_is_conserved(name):
    """What a stabiliser takes is in its column."""
    x, composite = np.stack([A[::2], B[::2]]), Composite(product=SHARES[name][0])
    ledger = audit(lambda x: x[0] * x[1], composite, x, target=lambda y: y * C[::2])
    ledgers.check(ledger, 1e-12)
    (row,) = (row for row in ledger.rows if row.unit == "product")
    taken = name == "Proportional(0.1)"
    assert (abs(row.stabiliser) > 1e-3) == taken
    assert abs(row.bias) + abs(row.remainder) + abs(row.stopped) == 0


def test_zeros_make_no_nan():
    for name, (rule, _) in SHARES.items():
        explain = lrp(lambda a, b: a * b, Composite(product=rule), argnums=(0, 1))
        relevance = lambda a, b, explain=explain: explain(a, b, target=lambda y: C)
        values, back = jax.vjp(relevance, jnp.zeros_like(A), jnp.zeros_like(B))
        assert all(np.isfinite(v).all() for v in jax.tree.leaves((values, back(values)))), name


# ---------------------------------------------------------------- which rules fit


def test_rules_of_other_kinds_are_refused_with_those_that_fit():
    f = lambda x: x[0] * x[1]
    fitting = ["Absolute", "Proportional", "SignalTakesAll", "Stop", "Uniform", "ValueOnly"]
    for rule in (rules.Epsilon(), rules.SoftmaxTaylor(), rules.Pass(), rules.ConstantNormaliser()):
        with pytest.raises(PlanError, match="of kind product") as raised:
            plan(f, Composite(product=rule), np.stack([A, B]))
        names = str(raised.value).rpartition("these fit: ")[2]
        assert sorted(names.split(", ")) == fitting


def test_a_softmax_has_its_own():
    for rule in (rules.Epsilon(), rules.Uniform(), rules.Pass(), rules.Taylor()):
        with pytest.raises(PlanError, match="of kind softmax") as raised:
            plan(jax.nn.softmax, Composite(softmax=rule), A)
        names = str(raised.value).rpartition("these fit: ")[2]
        assert sorted(names.split(", ")) == ["SoftmaxTaylor", "Stop"]


def test_impossible_numbers_are_refused_when_a_rule_is_built():
    for rule in (rules.Uniform, rules.SignalTakesAll, rules.ValueOnly, rules.Proportional):
        with pytest.raises(PlanError, match="epsilon"):
            rule(-1e-6)


def test_the_plan_says_where_a_rule_may_blow_relevance_up():
    reasons = {}
    for name, (rule, _) in SHARES.items():
        planned = plan(lambda x: x[0] * x[1], Composite(product=rule), np.stack([A, B]))
        (reasons[name],) = (u.reason for u in planned.units if u.kind == "product")
    assert {n for n, why in reasons.items() if "unbounded" in why} == {
        "Proportional",
        "Proportional(0.1)",
    }
