"""Which rules normalisations take, what the plan says of them, and the rules as data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from normalisation.forms import FAMILIES
from normalisation.lrn import C, divided, inputs, lrn, neighbours
from normalisation.sums import flipped
from support.networks import normal
from support.planning import units

from lrpjax import Composite, PlanError, audit, plan, rules, targets

X = inputs().astype(np.float32)
FORMS = {name: f for family in FAMILIES.values() for name, (f, _) in family.items()}
W = normal(C, C, seed=20).astype(np.float32)
near = lambda x: neighbours(x * x)
l2 = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("rule", [rules.Gamma(), rules.ZPlus(), rules.Ratio(), rules.Epsilon()])
def test_a_rule_that_does_not_fit_names_those_that_do(rule):
    composite = Composite(normalisation=rule)
    with pytest.raises(PlanError, match="ConstantNormaliser") as error:
        plan(lrn, composite, X)
    for name in (type(rule).__name__, "normalisation", "Taylor", "Pass", "Stop"):
        assert name in str(error.value)
    assert type(rule).__name__ not in str(error.value).split("these fit")[1]


@pytest.mark.parametrize("rule", [rules.Taylor(), rules.Taylor(beta=1.0)])
def test_taylor_is_refused_without_k(rule):
    """At a lone x_k = 0 there is no expansion."""
    for f in (l2, lambda x: x / jnp.sqrt(near(x)), lambda x: x * near(x) ** -0.75):
        with pytest.raises(PlanError, match="k is 0") as error:
            plan(f, Composite(normalisation=rule), X)
        assert "ConstantNormaliser" in str(error.value).split("these fit")[1]


def test_where_elements_are_not_followed_the_plan_says_through_what():
    f = divided(flipped)
    (unit,) = units(f, X)
    assert (unit.spec.local, unit.rule) == (True, rules.ConstantNormaliser())
    assert "rev" in unit.reason
    with pytest.raises(PlanError, match="through rev"):
        plan(f, Composite(normalisation=rules.Taylor()), X)


def test_a_local_one_without_k_has_another_default():
    (unit,) = units(lambda x: x / jnp.sqrt(near(x)), X)
    assert (unit.spec.local, unit.rule) == (True, rules.ConstantNormaliser())


def test_rules_for_conv_and_dense_leave_normalisations_alone():
    (unit,) = units(lrn, X, composite=rules.Gamma())
    assert unit.rule == rules.Taylor()


def test_patterns_reach_normalisations_by_name():
    f = lambda x: lrn(jax.nn.relu(x @ W)) @ W
    (unit,) = [u for u in units(f, X) if u.kind == "normalisation"]
    composite = Composite(layers={unit.layer: rules.Pass()})
    (found,) = [u for u in units(f, X, composite=composite) if u.kind == "normalisation"]
    assert found.rule == rules.Pass()
    with pytest.raises(PlanError, match="fits none"):
        plan(f, Composite(layers={unit.layer: rules.Gamma()}), X)


layer_norm = nnx.LayerNorm(C, rngs=nnx.Rngs(0))
rms_norm = nnx.RMSNorm(C, rngs=nnx.Rngs(0))
shifted = FORMS["scale and shift"]
any_sign = FORMS["GDN of any sign"]

UNBOUNDED = [
    (layer_norm, rules.Pass()),
    (shifted, rules.Pass()),
    (lrn, rules.Taylor(offset="uniform")),
    (rms_norm, rules.Taylor(offset="uniform")),
    (lrn, rules.Taylor(beta=1.0)),
    (lrn, rules.Taylor(offset="uniform", alpha=1.0, beta=0.0)),
    (any_sign, rules.Taylor()),
]
BOUNDED = [
    (lrn, rules.Taylor()),
    (lrn, rules.Taylor(alpha=1.0, beta=0.0)),
    (lrn, rules.Pass()),
    (lrn, rules.ConstantNormaliser()),
    (shifted, rules.Taylor()),
    (layer_norm, rules.ConstantNormaliser()),
    (rms_norm, rules.Taylor()),
    (l2, rules.ConstantNormaliser()),
]


def test_the_plan_says_which_rules_may_blow_relevance_up():
    said = lambda f, rule: "unbounded" in str(plan(f, Composite(normalisation=rule), X))
    assert [said(*case) for case in UNBOUNDED] == [True] * len(UNBOUNDED)
    assert [said(*case) for case in BOUNDED] == [False] * len(BOUNDED)


def test_plan_and_ledger_can_be_printed():
    f = lambda x: lrn(x @ W)
    for rule in (rules.Taylor(), rules.Taylor("uniform", beta=1.0), rules.ConstantNormaliser()):
        composite = Composite(normalisation=rule)
        name = type(rule).__name__
        assert name in str(plan(f, composite, X))
        assert name in str(audit(f, composite, X, target=targets.all_outputs()))


# ---------------------------------------------------------------- rules as data


def test_rules_are_json():
    for rule in (
        rules.Taylor(),
        rules.Taylor(beta=1.0),
        rules.Taylor("uniform", 0.01, 1.5, 0.5),
        rules.ConstantNormaliser(0.1),
    ):
        composite = Composite(normalisation=rule, layers={"*": rule})
        again = Composite.from_json(composite.to_json())
        assert again == composite
        assert again.normalisation == rule
    first, second = (Composite(normalisation=rules.Taylor(beta=beta)) for beta in (0.5, 1.0))
    assert first != second


def test_one_of_alpha_and_beta_is_the_other():
    assert rules.Taylor(beta=1.0) == rules.Taylor(alpha=2.0) == rules.Taylor(alpha=2.0, beta=1.0)
    assert rules.Taylor(beta=0.0) != rules.Taylor()


@pytest.mark.parametrize(
    "values",
    [
        {"alpha": 2.0, "beta": 2.0},
        {"alpha": 0.5},
        {"beta": -1.0},
        {"epsilon": -1e-6},
        {"offset": "middle"},
        {"offset": None},
        {"epsilon": None},
        {"alpha": "2"},
    ],
)
def test_impossible_values_are_refused(values):
    with pytest.raises(PlanError, match="Taylor"):
        rules.Taylor(**values)


def test_an_impossible_constant_normaliser_is_refused():
    with pytest.raises(PlanError, match="ConstantNormaliser"):
        rules.ConstantNormaliser(-1.0)
    with pytest.raises(PlanError, match="Taylor"):
        Composite.from_json('{"normalisation": {"rule": "Taylor", "alpha": 3.0, "beta": 1.0}}')
