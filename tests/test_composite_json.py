"""Composites as JSON: everything comes back, and what is no composite is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from lrpjax import Composite, PlanError, presets, rules

RULES = [
    rules.Zero(),
    rules.Epsilon(1e-3),
    rules.Gamma(0.3, epsilon=0.1),
    rules.ZPlus(1e-9),
    rules.AlphaBeta(3.0, 2.0),
    rules.Flat(),
    rules.WSquare(),
    rules.ZBox(-1.5, 2.0),
    rules.Pass("share"),
    rules.Pass(),
    rules.Stop(),
    rules.Ratio(),
    rules.Even(),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_comes_back_from_json(rule):
    composite = Composite(conv=rule, last=rule, layers={"a/*": rule}, unsupported=rule)
    text = composite.to_json()
    assert isinstance(json.loads(text), dict)
    assert Composite.from_json(text) == composite


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_comes_back_from_json(name):
    bounds = (-2.0, 3.0) if name == "epsilon_gamma_box" else ()
    preset = getattr(presets, name)(*bounds)
    assert Composite.from_json(preset.to_json()) == preset


def test_patterns_come_back_in_their_order():
    composite = Composite(layers={"z*": rules.Zero(), "a*": rules.Flat(), "*": rules.Stop()})
    assert list(Composite.from_json(composite.to_json()).layers) == ["z*", "a*", "*"]


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_arrays_come_back_from_json(kind):
    low = np.array([[-1.0, -2.5, 1 / 3]], np.float32)
    text = Composite(first=rules.ZBox(kind(low), kind(low + 1))).to_json()
    back = Composite.from_json(text).first
    np.testing.assert_array_equal(np.asarray(back.low, np.float32), low)
    np.testing.assert_array_equal(np.asarray(back.high, np.float32), low + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"epsilon"',
        "null",
        '{"convolution": {"rule": "Epsilon"}}',
        '{"conv": "Epsilon"}',
        '{"conv": {"rule": "Magic"}}',
        '{"conv": {"epsilon": 1e-6}}',
        '{"conv": {"rule": "Epsilon", "gamma": 1}}',
        '{"conv": {"rule": "Epsilon", "epsilon": -1}}',
        '{"conv": {"rule": "Epsilon", "epsilon": "small"}}',
        '{"conv": {"rule": "Epsilon", "epsilon": null}}',
        '{"conv": {"rule": ["Epsilon"]}}',
        '{"first": {"rule": "ZBox"}}',
        '{"first": {"rule": "ZBox", "low": 2, "high": 1}}',
        '{"first": {"rule": "ZBox", "low": [0, "x"], "high": 1}}',
        '{"elementwise": {"rule": "Pass", "offset": 3}}',
        '{"layers": []}',
        '{"layers": {"head": "Epsilon"}}',
    ],
)
def test_text_that_is_no_composite_is_refused(text):
    with pytest.raises(PlanError):
        Composite.from_json(text)
