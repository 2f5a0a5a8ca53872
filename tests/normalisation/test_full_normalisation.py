"""LayerNorm and its kin: recognised however written; relevance against NumPy's matrix."""

import numpy as np
import pytest
from normalisation import formulas
from normalisation.comparing import agree, explain_all
from normalisation.layers import FAMILIES, SHAPE
from support.networks import normal
from support.planning import units

from lrpjax import Composite, PlanError, plan, rules

pytestmark = [
    pytest.mark.usefixtures("x64"),
    # NNX keeps BatchNorm's running statistics in single precision.
    pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types"),
]

X, R = normal(*SHAPE, seed=32), normal(*SHAPE, seed=33)
X[0, 0, 0, 1:] = 0
X[0, 1, 2, ::2] = 0

CONSTANT = {"default": {}, "ε = 0.3": {"epsilon": 0.3}}
TAYLOR = {
    "ε": {},
    "ε, uniform": {"offset": "uniform", "epsilon": 0.01},
    "α2β1": {"beta": 1.0, "epsilon": 1e-3},
}


def relevances(forms, options, formula):
    """{form: {rule: relevance}} by the formula."""
    each = {}
    for name, (_, layer) in forms.items():
        found = {n: formula(layer, X.ravel(), R.ravel(), **o) for n, o in options.items()}
        each[name] = {n: r.reshape(SHAPE) for n, r in found.items()}
    return each


def check(forms, options, rule, formula):
    made = {name: rule(**given) for name, given in options.items()}
    found = explain_all({name: f for name, (f, _) in forms.items()}, made, X, R)
    agree(found, relevances(forms, options, formula))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_one_unit_with_a_constant_normaliser(family):
    for name, (f, layer) in FAMILIES[family]().items():
        unit, *others = units(f, X)
        if name == "where(sum), where(y)":  # the comparison around y reads the sum for itself
            (unit,) = (u for u in (unit, *others) if u.kind == "normalisation")
            others = []
        assert (unit.kind, others) == ("normalisation", []), name
        assert not unit.spec.local, name
        assert unit.spec.centres == (layer.mean is not None), name
        assert unit.rule == rules.ConstantNormaliser(), name
        np.testing.assert_allclose(
            np.asarray(f(X)).ravel(), layer.output(X.ravel()), rtol=1e-9, atol=1e-11, err_msg=name
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_constant_normaliser_is_the_epsilon_rule_on_the_affine_map_that_is_left(family):
    check(FAMILIES[family](), CONSTANT, rules.ConstantNormaliser, formulas.constant_normaliser)


def alpha_beta(layer, x, r, alpha=None, beta=None, **options):
    """The formula, of which α and β may be given alone."""
    alpha = 1 + beta if alpha is None and beta is not None else alpha
    beta = alpha - 1 if alpha is not None and beta is None else beta
    return formulas.taylor(layer, x, r, alpha=alpha, beta=beta, **options)


@pytest.mark.parametrize("family", ["linen", "nnx", "by hand", "mapped"])
def test_taylor_is_the_expansion_in_what_is_centred_then_the_epsilon_rule(family):
    options = TAYLOR if family == "by hand" else {"ε": {}}
    check(FAMILIES[family](), options, rules.Taylor, alpha_beta)


def test_taylor_of_l2_needs_something_beside_the_sum():
    for name, (f, _) in FAMILIES["l2"]().items():
        composite = Composite(normalisation=rules.Taylor())
        if name in ("norm + e", "sum + e", "max(norm, e)", "clip(norm)", "max(sum, e)"):
            assert units(f, X, composite=composite)[0].rule == rules.Taylor()
        else:
            with pytest.raises(PlanError, match="k is 0"):
                plan(f, composite, X)


def test_pass_gives_each_input_its_outputs_relevance():
    forms = {name: FAMILIES["linen"]()[name] for name in ("LayerNorm", "GroupNorm", "RMSNorm")}
    found = explain_all({n: f for n, (f, _) in forms.items()}, {"pass": rules.Pass()}, X, R)
    agree(found, {name: {"pass": R} for name in forms})


def test_rows_of_zeros_have_no_relevance_and_no_nan():
    x = X.copy()
    x[0, 0, :2] = 0
    forms = {n: f for n, f in FAMILIES["l2"]().items() if n not in ("norm", "rsqrt")}
    made = {"constant": rules.ConstantNormaliser()}
    for name, each in explain_all({n: f for n, (f, _) in forms.items()}, made, x, R).items():
        assert np.isfinite(each["constant"]).all(), name
        assert not each["constant"][0, 0, :2].any(), name
    smooth = {n: forms[n][0] for n in ("sum + e", "norm + e", "max(norm, e)")}
    made = {"ε": rules.Taylor(), "uniform": rules.Taylor("uniform"), "αβ": rules.Taylor(beta=1.0)}
    for name, each in explain_all(smooth, made, x, R).items():
        for rule, relevance in each.items():
            assert np.isfinite(relevance).all(), (name, rule)
