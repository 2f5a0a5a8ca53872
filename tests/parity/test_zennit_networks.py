"""Relevance equals zennit 0.5.1's: each preset of the same name, each rule, Linen and NNX.

Golden arrays: benchmarks/peers/zennit_golden.py. Where zennit goes another way than the formulas,
test_zennit_differs.py. For max pooling it has no rule, and takes the gradient: that is the routing.
"""

import jax
import numpy as np
import pytest

from lrpjax import lrp, plan, targets
from parity.cases import PRESETS, RULE_NETWORKS, cases, cases_of
from parity.explained import (
    assert_equal,
    composite,
    error,
    example,
    explained,
    golden,
    linen,
    nnx_module,
)
from parity.networks import CLASSES, NETWORKS

ALONE = [(name, rule) for rule, networks in RULE_NETWORKS.items() for name in networks]


def check(framework, name, rule_or_preset):
    """Every case of one preset or rule: one compiled program, whatever its numbers and start."""
    arrays = golden(name)
    for case in cases(rule_or_preset):
        logits, relevance = explained(framework, name, case)
        assert_equal(logits, arrays["logits"])
        assert_equal(relevance, arrays[case.key])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_presets_in_linen(x64, name, preset):
    check("linen", name, preset)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_preset_of_most_rules_in_nnx(x64, name):
    check("nnx", name, "epsilon_gamma_box")


@pytest.mark.parametrize(("name", "rule"), ALONE)
def test_each_rule_alone_in_nnx(x64, name, rule):
    check("nnx", name, rule)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_frameworks_have_the_same_units(x64, name):
    """So what holds for a preset in one framework holds in the other."""
    plans = []
    for network in (linen, nnx_module):
        weights, build = network(name, np.float64)
        module, *variables = build(weights)
        planned = plan(module, "epsilon_plus_flat", *variables, example(name, np.float64))
        units = [unit for unit in planned.units if unit.kind != "route"]
        plans.append([(unit.kind, unit.rule, len(unit.inputs), unit.first) for unit in units])
    assert plans[0] == plans[1] and plans[0]


#: Every network, in the framework whose turn it is, by the preset that is hardest on its rounding.
SINGLE = [
    (name, *[("linen", "epsilon_alpha2_beta1_flat"), ("nnx", "epsilon_gamma_box")][i % 2])
    for i, name in enumerate(NETWORKS)
]


@pytest.mark.parametrize(("name", "framework", "preset"), SINGLE)
def test_in_single_precision(name, framework, preset):
    arrays = golden(name)
    for case in cases(preset):
        logits, relevance = explained(framework, name, case, np.float32)
        assert error(logits, arrays["logits"]) < 1e-5
        assert error(relevance, arrays[case.key]) < 1e-3


@pytest.mark.parametrize(
    ("start", "target"), [("logit", targets.logit), ("one_hot", targets.one_hot)]
)
def test_starts_are_those_that_targets_name(x64, start, target):
    """Here the public functions start, elsewhere an array does."""
    (variables, build), x = linen("mlp", np.float64), example("mlp", np.float64)
    module, _ = build(variables)
    case = next(case for case in cases("epsilon") if case.start == start)
    relevance = lrp(module, composite("mlp", case))(variables, x, target=target(np.arange(2)))
    assert_equal(np.asarray(relevance), golden("mlp")[case.key])


def test_an_index_starts_with_the_logit(x64):
    (variables, build), x = linen("mlp", np.float64), example("mlp", np.float64)
    case = cases("epsilon")[0]
    explain = jax.jit(lrp(build(variables)[0], composite("mlp", case)))
    relevance = explain(variables, x, target=np.arange(2))
    assert_equal(np.asarray(relevance), golden("mlp")[case.key])


# ---------------------------------------------------------------- the comparison itself


def test_golden_arrays_are_complete_and_say_what_made_them():
    for name, network in NETWORKS.items():
        arrays = golden(name)
        assert set(arrays) == {"made_with", "logits", *(case.key for case in cases_of(name))}
        assert str(arrays["made_with"]).startswith("zennit 0.5.1, torch ")
        assert arrays["logits"].shape == (network.shape[0], CLASSES)
        shapes = {
            array.shape for key, array in arrays.items() if key not in ("made_with", "logits")
        }
        assert shapes == {network.shape}


@pytest.mark.parametrize("largest", [True, False])
def test_one_value_that_is_off_fails(x64, largest):
    """By a millionth, whether it is the largest of the array or one of ordinary size."""
    case = cases("epsilon_plus")[0]
    expected = golden("mlp")[case.key]
    _, relevance = explained("linen", "mlp", case)
    assert_equal(relevance, expected)
    order = np.argsort(np.abs(expected), axis=None)
    off = expected.copy()
    off.flat[order[-1 if largest else len(order) // 2]] *= 1 + 1e-6
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_equal(relevance, off)


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [("epsilon", {"epsilon": 1.1e-6}), ("Gamma", {"epsilon": 1e-6, "gamma": 0.250001})],
)
def test_numbers_that_are_off_fail(x64, rule, numbers):
    """A stabiliser of a millionth that is off by a tenth is seen."""
    expected = cases(rule)[0]
    other = type(expected)(rule, numbers, expected.start)
    _, relevance = explained("nnx", "mlp", other)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_equal(relevance, golden("mlp")[expected.key])


def test_a_network_that_is_off_fails_in_single_precision():
    case = cases("epsilon_gamma_box")[0]
    _, relevance = explained("nnx", "mlp", case, np.float32)
    off = golden("mlp")[case.key].copy()
    off.flat[np.abs(off).argmax()] *= 1.01
    assert error(relevance, off) > 1e-3
