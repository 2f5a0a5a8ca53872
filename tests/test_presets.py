"""The presets: the table of rules by kind, row by row, on a network that has every kind."""

import jax
import numpy as np
import pytest
from support.networks import conv, normal

from lrpjax import PlanError, lrp, plan, presets
from lrpjax.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Pass,
    Routing,
    WSquare,
    ZBox,
    ZPlus,
)

X = normal(2, 6, 6, 2)
STEM, BODY, WIDE, HEAD = normal(3, 3, 2, 4), normal(3, 3, 4, 4), normal(4, 5), normal(5, 3)
SHIFT, SCALE, POSITION = normal(4), normal(5), normal(6, 6, 2)


def every_kind(x):
    """A network with one unit of each kind, between an offset input and two dense layers."""
    x = x - POSITION  # a shift directly on the input
    x = jax.nn.relu(conv(x, STEM))
    x = jax.nn.relu(x) + SHIFT
    x = x + conv(jax.nn.sigmoid(x), BODY)
    x = jax.lax.reduce_max(x, (1,)).mean(1)
    x = jax.nn.relu(x @ WIDE) * SCALE
    return x @ HEAD


def table(composite):
    """Kind -> its rules, first layer and direct shift apart."""
    found = {}
    for unit in plan(every_kind, composite, X).units:
        place = "first" if unit.first else "direct shift" if unit.direct else unit.kind
        found.setdefault(place, set()).add(unit.rule)
    found.pop("route", None)
    assert all(len(chosen) == 1 for chosen in found.values())
    return {place: chosen.pop() for place, chosen in found.items()}


DEFAULT = {
    "conv": ZPlus(),
    "dense": Epsilon(1e-6),
    "first": Flat(),
    "pool": Epsilon(1e-6),
    "scale": Pass(),
    "shift": Epsilon(1e-6),
    "direct shift": Pass(),
    "add": Epsilon(1e-6),
    "elementwise": Pass("share"),
    "max": Routing(),
}
ZENNIT = {**DEFAULT, "shift": Pass(), "elementwise": Pass()}
BARE = {**DEFAULT, "conv": Epsilon(), "first": Epsilon()}
ALPHA2 = AlphaBeta(2.0, 1.0)

TABLE = {
    "default": (presets.default, DEFAULT),
    "epsilon": (presets.epsilon, {**ZENNIT, "conv": Epsilon(), "first": Epsilon()}),
    "epsilon(1e-3)": (
        lambda: presets.epsilon(1e-3),
        {**ZENNIT, **dict.fromkeys(("conv", "first", "dense"), Epsilon(1e-3))},
    ),
    "epsilon_plus": (presets.epsilon_plus, {**ZENNIT, "first": ZPlus()}),
    "epsilon_plus_flat": (presets.epsilon_plus_flat, ZENNIT),
    "epsilon_alpha2_beta1": (
        presets.epsilon_alpha2_beta1,
        {**ZENNIT, "conv": ALPHA2, "first": ALPHA2},
    ),
    "epsilon_alpha2_beta1_flat": (presets.epsilon_alpha2_beta1_flat, {**ZENNIT, "conv": ALPHA2}),
    "epsilon_gamma_box": (
        lambda: presets.epsilon_gamma_box(-2.0, 3.0),
        {**ZENNIT, "conv": Gamma(0.25), "first": ZBox(-2.0, 3.0)},
    ),
    "excitation_backprop": (
        presets.excitation_backprop,
        {**ZENNIT, "dense": ZPlus(), "first": ZPlus()},
    ),
    "lrp_cmp": (presets.lrp_cmp, {**DEFAULT, "conv": AlphaBeta(1.0, 0.0)}),
    "lrp_cmp(2)": (lambda: presets.lrp_cmp(alpha=2), {**DEFAULT, "conv": ALPHA2}),
    "deep_taylor": (
        presets.deep_taylor,
        {**DEFAULT, "dense": ZPlus(), "pool": ZPlus(), "first": WSquare()},
    ),
    "deep_taylor(-1, 1)": (
        lambda: presets.deep_taylor(low=-1.0, high=1.0),
        {**DEFAULT, "dense": ZPlus(), "pool": ZPlus(), "first": ZBox(-1.0, 1.0)},
    ),
    "attn_lrp": (presets.attn_lrp, BARE),
    "attn_lrp(0.1)": (
        lambda: presets.attn_lrp(gamma=0.1),
        {**DEFAULT, **dict.fromkeys(("conv", "first", "dense"), Gamma(0.1))},
    ),
    "cp_lrp": (presets.cp_lrp, BARE),
    "cp_lrp(0.1)": (
        lambda: presets.cp_lrp(0.1),
        {**DEFAULT, **dict.fromkeys(("conv", "first", "dense"), Gamma(0.1))},
    ),
    "lstm_signal_takes_all": (
        presets.lstm_signal_takes_all,
        {**DEFAULT, **dict.fromkeys(("conv", "first", "dense", "add"), Epsilon(1e-3))},
    ),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", TABLE)
def test_the_rules_of_a_preset(name):
    make, expected = TABLE[name]
    assert table(make()) == expected


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_by_its_name_is_the_preset(name):
    if name == "epsilon_gamma_box":
        with pytest.raises(PlanError, match="bounds"):
            lrp(every_kind, name)
    else:
        assert table(name) == table(getattr(presets, name)())


def test_no_composite_is_the_default():
    assert table(None) == DEFAULT


def test_the_names_are_those_of_the_table():
    named = {name.partition("(")[0] for name in TABLE}
    assert named == set(presets.names())


@pytest.mark.parametrize("name", ["epsilonplus", "Epsilon", "", "nothing like it"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(PlanError, match="preset"):
        lrp(every_kind, name)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(PlanError, match="'epsilon_plus_flat'"):
        lrp(every_kind, "epsilon_plus_falt")


def test_one_bound_is_not_enough():
    with pytest.raises(PlanError, match="bounds"):
        presets.deep_taylor(low=0.0)
    with pytest.raises(PlanError, match="bounds"):
        presets.epsilon_gamma_box(high=1.0)
    with pytest.raises(PlanError, match="low"):
        presets.epsilon_gamma_box(1.0, 0.0)


@pytest.mark.parametrize(
    ("kernel", "stride", "rule"),
    [((3, 3), 1, Flat()), ((3, 3), 2, Flat()), ((2, 2), 2, ZPlus()), ((1, 1), 1, ZPlus())],
)
def test_only_a_first_convolution_with_overlapping_windows_is_flat(kernel, stride, rule):
    w = normal(*kernel, 2, 3)
    units = plan(lambda x: conv(x, w, stride, "VALID"), None, X).units
    assert [u.rule for u in units] == [rule]


def test_a_first_dense_layer_keeps_its_kinds_rule():
    units = plan(lambda x: x @ WIDE, None, normal(2, 4)).units
    assert [u.rule for u in units] == [Epsilon()]
    units = plan(lambda x: x @ WIDE, "epsilon_plus_flat", normal(2, 4)).units
    assert [u.rule for u in units] == [Flat()]


def test_bounds_may_be_arrays():
    low, high = -np.ones((6, 6, 2)), np.ones((6, 6, 2))
    relevance = lrp(every_kind, presets.epsilon_gamma_box(low, high))(X)
    assert relevance.shape == X.shape and np.isfinite(relevance).all()
