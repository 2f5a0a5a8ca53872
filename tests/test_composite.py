"""Composites: which rule a unit gets, by layer, position, kind or default; and as JSON."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import conv, linen_net, normal

from lrpjax import Composite, PlanError, lrp, plan, presets, rules

P = {
    "stem": {"kernel": normal(3, 3, 2, 4)},
    "norm": {"scale": normal(4), "bias": normal(4)},
    "body": {"block_0": {"kernel": normal(3, 3, 4, 4)}, "block_1": {"kernel": normal(3, 3, 4, 4)}},
    "shared": {"kernel": normal(4, 4), "bias": normal(4)},
    "head": {"kernel": normal(4, 3)},
}
X = normal(1, 4, 4, 2)


def net(x, p):
    """Every unit that composites usually tell apart."""
    x = jax.nn.relu(conv(x, p["stem"]["kernel"]) * p["norm"]["scale"] + p["norm"]["bias"])
    for block in p["body"].values():
        x = x + jax.nn.relu(conv(x, block["kernel"]))
    x = x.mean((1, 2))
    for _ in range(2):
        x = jax.nn.relu(x @ p["shared"]["kernel"] + p["shared"]["bias"])
    return x @ p["head"]["kernel"]


def chosen(composite, f=net, args=(X, P)):
    """The rule of each layer with weights."""
    units = plan(f, composite, *args).units
    return {unit.layer: unit.rule for unit in units if unit.kind in ("conv", "dense")}


LAYERS = ["stem", "body/block_0", "body/block_1", "shared", "shared#2", "head"]
A, B, C, D = (rules.Epsilon(e) for e in (0.1, 0.2, 0.3, 0.4))


def test_the_layers_of_the_network():
    assert list(chosen(None)) == LAYERS


# ---------------------------------------------------------------- precedence


@pytest.mark.smoke
def test_layers_over_first_and_last_over_kind_over_default():
    default = chosen(None)
    assert default["stem"] == rules.Flat() and default["head"] == rules.Epsilon()
    assert chosen(Composite(conv=A)) == {
        **default,
        **dict.fromkeys(LAYERS[:3], A),
    }
    assert chosen(Composite(conv=A, dense=A, first=B, last=C)) == {
        **dict.fromkeys(LAYERS, A),
        "stem": B,
        "head": C,
    }
    patterns = {"stem": D, "head": D, "body/*": D}
    assert chosen(Composite(conv=A, first=B, last=C, layers=patterns)) == {
        **default,
        **dict.fromkeys(["stem", "head", "body/block_0", "body/block_1"], D),
    }


def test_later_patterns_over_earlier_ones():
    assert chosen(Composite(layers={"*": A, "body/*": B, "*_1": C})) == {
        **dict.fromkeys(LAYERS, A),
        "body/block_0": B,
        "body/block_1": C,
    }
    assert set(chosen(Composite(layers={"body/*": B, "*": A})).values()) == {A}


def test_a_composite_that_names_conv_or_dense_has_no_first_of_its_own():
    assert chosen(Composite(dense=A))["stem"] == rules.ZPlus()
    assert chosen(Composite(conv=A))["stem"] == A
    assert chosen(Composite(dense=A, first=rules.Flat()))["stem"] == rules.Flat()
    for other in (Composite(add=rules.Even()), Composite(layers={"head": A}), Composite(last=A)):
        assert chosen(other)["stem"] == rules.Flat()


def test_one_layer_may_be_first_and_last():
    f = lambda x: x @ normal(4, 3)
    args = (normal(2, 4),)
    assert set(chosen(Composite(first=A, last=B), f, args).values()) == {A}
    assert set(chosen(Composite(last=B), f, args).values()) == {B}


def test_a_single_rule_goes_to_convolutions_and_dense_layers_alone():
    units = plan(net, rules.Gamma(0.5), X, P).units
    for unit in units:
        weighted = unit.kind in ("conv", "dense")
        assert (unit.rule == rules.Gamma(0.5)) == weighted, unit.layer
    others = {u.kind: u.rule for u in plan(net, None, X, P).units}
    assert all(u.rule == others[u.kind] for u in units if u.kind not in ("conv", "dense"))


def test_first_and_last_are_for_layers_with_weights():
    f = lambda x: jax.nn.relu(jnp.tanh(x).mean(1, keepdims=True) @ normal(1, 4))
    units = plan(f, Composite(first=A, last=B), normal(2, 3)).units
    assert [u.kind for u in units if u.rule in (A, B)] == ["dense"]


# ---------------------------------------------------------------- patterns

PATTERNS = {
    "*": LAYERS,
    "body*": ["body/block_0", "body/block_1"],
    "b*0": ["body/block_0"],
    "*/block_?": ["body/block_0", "body/block_1"],
    "body/block_[1-9]": ["body/block_1"],
    "body/block_[!1]": ["body/block_0"],
    "shared": ["shared", "shared#2"],
    "shared#2": ["shared#2"],
    "sh*d": ["shared", "shared#2"],
    "*#2": ["shared#2"],
    "norm": ["stem"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_pattern_matches(pattern):
    """`*` crosses "/", a name means all its uses, and a folded module is an alias."""
    found = chosen(Composite(layers={pattern: A}))
    assert [layer for layer, rule in found.items() if rule == A] == PATTERNS[pattern]


@pytest.mark.parametrize("pattern", ["params/stem", "Stem", "block_0", "stem/kernel", "head#2", ""])
def test_a_pattern_that_matches_nothing_is_refused(pattern):
    with pytest.raises(PlanError, match=r"matches nothing.*stem.*head"):
        plan(net, Composite(layers={pattern: A}), X, P)
    with pytest.raises(PlanError, match="matches nothing"):
        lrp(net, Composite(layers={pattern: A}))(X, P)


def test_the_norm_of_a_linen_module_is_an_alias_of_the_layer_it_folds_into():
    module, variables, x = linen_net()
    units = plan(module, Composite(layers={"norm": A}), variables, x).units
    assert [u.layer for u in units if u.rule == A] == ["stem"]


def test_a_pattern_applies_to_the_units_its_rule_fits():
    units = plan(net, Composite(layers={"*": rules.Even()}), X, P).units
    assert {u.kind for u in units if u.rule == rules.Even()} == {"add"}
    assert next(u for u in units if u.layer == "stem").rule == rules.Flat()


def test_a_later_pattern_that_does_not_fit_leaves_the_earlier_one():
    units = plan(net, Composite(layers={"*": A, "stem*": rules.Even(), "*a*": rules.Even()}), X, P)
    assert next(u for u in units.units if u.layer == "stem").rule == A


def test_a_pattern_whose_rule_fits_none_of_its_units_is_refused():
    with pytest.raises(PlanError, match=r"Even.*head.*dense.*Epsilon.*ZBox") as refused:
        plan(net, Composite(layers={"head": rules.Even()}), X, P)
    assert "Ratio" not in str(refused.value).split("these fit")[1]


# ---------------------------------------------------------------- rules that don't fit


@pytest.mark.parametrize(
    ("keyword", "rule", "fitting"),
    [
        ("conv", rules.Ratio(), "Gamma"),
        ("dense", rules.Even(), "ZPlus"),
        ("pool", rules.Ratio(), "Epsilon"),
        ("add", rules.Gamma(), "Ratio"),
        ("elementwise", rules.Flat(), "Pass"),
        ("first", rules.Even(), "Flat"),
        ("last", rules.Pass(), "Epsilon"),
        ("dense", rules.Routing(), "Epsilon"),
    ],
)
def test_a_rule_that_does_not_fit_its_kind_is_refused_with_those_that_do(keyword, rule, fitting):
    with pytest.raises(PlanError, match=rf"{type(rule).__name__}.*these fit.*{fitting}") as refused:
        plan(net, Composite(**{keyword: rule}), X, P)
    layers = [unit.layer for unit in plan(net, None, X, P).units]
    assert any(f"'{layer}'" in str(refused.value) for layer in layers)


@pytest.mark.parametrize(
    "keyword", ["scale", "shift", "product", "attention", "softmax", "normalisation", "max"]
)
def test_a_rule_for_a_kind_that_the_model_has_none_of_is_fine(keyword):
    assert chosen(Composite(**{keyword: rules.Stop()})) == chosen(None)


def test_stop_fits_everything():
    keywords = ["conv", "dense", "pool", "add", "elementwise", "first", "last"]
    chosen(Composite(**dict.fromkeys(keywords, rules.Stop())))


# ---------------------------------------------------------------- building


@pytest.mark.parametrize(
    "keywords",
    [
        {"conv": "epsilon"},
        {"conv": 0.25},
        {"dense": rules.Epsilon},
        {"layers": {"head": None}},
        {"layers": {"head": "epsilon"}},
        {"layers": {1: rules.Epsilon()}},
        {"layers": [("head", rules.Epsilon())]},
        {"unsupported": True},
    ],
    ids=str,
)
def test_what_is_no_rule_is_refused(keywords):
    with pytest.raises(PlanError):
        Composite(**keywords)


@pytest.mark.parametrize(
    "composite", [0.25, ["epsilon"], rules.Epsilon, {"conv": A}, presets.epsilon]
)
def test_what_is_no_composite_is_refused(composite):
    with pytest.raises(PlanError, match="composite"):
        lrp(net, composite)


def test_an_unknown_keyword_is_a_type_error():
    with pytest.raises(TypeError):
        Composite(convolution=A)


def test_a_composite_cannot_be_changed():
    composite = Composite(conv=A)
    with pytest.raises(dataclasses.FrozenInstanceError):
        composite.conv = B


def test_a_composite_does_not_share_its_callers_mapping():
    layers = {"head": A}
    composite = Composite(layers=layers)
    layers["stem"] = B
    assert composite.layers == {"head": A}


def test_a_composite_is_a_pytree_of_numbers():
    composite = Composite(conv=rules.Gamma(0.5), layers={"head": rules.Epsilon(0.1)})
    assert sorted(jax.tree.leaves(composite)) == [1e-6, 0.1, 0.5]
    changed = jax.tree.map(lambda number: 2 * number, composite)
    assert changed == Composite(conv=rules.Gamma(1.0, 2e-6), layers={"head": rules.Epsilon(0.2)})
    assert jax.tree.structure(changed) == jax.tree.structure(composite)


def test_bounds_must_broadcast_to_the_units_own_input():
    x, w = np.ones((2, 5), np.float32), np.ones((5, 3), np.float32)
    with pytest.raises(PlanError, match=r"dot_general_0.*bounds of shape \(3,\)"):
        lrp(lambda x: x @ w, rules.ZBox(np.zeros(3), np.ones(3)))(x)
    per_feature = lrp(lambda x: x @ w, rules.ZBox(np.zeros(5), np.full(5, 2.0)))(x)
    np.testing.assert_allclose(per_feature, lrp(lambda x: x @ w, rules.ZBox(0.0, 2.0))(x))
