"""The plan as a table to read, its reasons, and which rules it warns of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import conv, normal
from support.planning import units

from lrpjax import Composite, plan, rules

X = normal(2, 4, seed=140).astype(np.float32)
IMAGE = normal(1, 6, 6, 2, seed=141).astype(np.float32)
P = {
    "stem": {"kernel": normal(3, 3, 2, 4).astype(np.float32), "bias": normal(4).astype(np.float32)},
    "head": {"kernel": normal(4, 3).astype(np.float32)},
}


def net(x, p):
    x = conv(x, p["stem"]["kernel"]) + p["stem"]["bias"]
    return jax.nn.sigmoid(x).mean((1, 2)) @ p["head"]["kernel"]


@pytest.mark.smoke
def test_the_table_shows_layer_unit_shapes_rule_reason_and_what_was_folded():
    composite = Composite(
        dense=rules.Epsilon(0.125), first=rules.Flat(), layers={"he*": rules.Gamma(0.5)}
    )
    text = str(plan(net, composite, IMAGE, P))
    header, _, *rows = text.splitlines()
    for title in ("layer", "unit", "shapes", "rule", "why", "folded"):
        assert title in header
    stem = next(row for row in rows if row.startswith("stem "))
    for part in ("conv", "1×6×6×2 → 1×6×6×4", "Flat", "first layer", "unbounded", "stem/bias"):
        assert part in stem
    head = next(row for row in rows if row.startswith("head"))
    for part in ("dense", "1×4 → 1×3", "Gamma(0.5", "'he*'"):
        assert part in head
    sigmoid = next(row for row in rows if "elementwise" in row)
    assert "Pass" in sigmoid and "default" in sigmoid


def test_columns_are_in_line():
    lines = str(plan(net, None, IMAGE, P)).splitlines()
    starts = [i for i, c in enumerate(lines[1]) if c == "─" and (i == 0 or lines[1][i - 1] == " ")]
    assert len(starts) == 6
    for line in lines[2:]:
        assert all(len(line) <= i or i == 0 or line[i - 1] == " " for i in starts)


def test_every_rule_gives_its_reason():
    composite = Composite(
        conv=rules.ZPlus(), last=rules.Epsilon(), layers={"stem": rules.WSquare()}
    )
    reasons = {u.layer: u.reason for u in units(net, IMAGE, P, composite=composite)}
    assert "pattern 'stem'" in reasons["stem"]
    assert "last" in reasons["head"]
    reasons = {
        u.kind: u.reason for u in units(net, IMAGE, P, composite=Composite(dense=rules.Zero()))
    }
    assert "dense" in reasons["dense"] and "default" in reasons["conv"]
    assert "default" in reasons["pool"]


def test_traced_numbers_and_arrays_in_rules_are_shown_short():
    shown = []

    def explain(gamma):
        composite = Composite(dense=rules.Gamma(gamma), first=rules.ZBox(np.zeros((6, 6, 2)), 1.0))
        shown.append(str(plan(net, composite, IMAGE, P)))
        return gamma

    jax.jit(explain)(0.3)
    assert "Gamma(traced" in shown[0] and "ZBox(array[6×6×2], 1" in shown[0]


# ---------------------------------------------------------------- unbounded

W, B = P["head"]["kernel"], normal(3).astype(np.float32)
relu = jax.nn.relu

UNBOUNDED = {
    "Flat": (lambda x: x @ W, Composite(dense=rules.Flat())),
    "WSquare": (lambda x: x @ W, Composite(dense=rules.WSquare())),
    "ZBox": (lambda x: x @ W, Composite(dense=rules.ZBox(-1.0, 1.0))),
    "ZPlus, no relu behind": (lambda x: x @ W, Composite(dense=rules.ZPlus())),
    "AlphaBeta, no relu behind": (lambda x: x @ W + B, Composite(dense=rules.AlphaBeta())),
    "α2β1 before relu": (lambda x: relu(x @ W + B), Composite(dense=rules.AlphaBeta())),
    "ZPlus before tanh": (lambda x: jnp.tanh(x @ W), Composite(dense=rules.ZPlus())),
    "ZPlus, relu and more behind": (
        lambda x: (lambda z: relu(z) + z[::-1])(x @ W),
        Composite(dense=rules.ZPlus()),
    ),
    "Pass on a sigmoid": (jax.nn.sigmoid, Composite(elementwise=rules.Pass())),
    "Pass on exp": (jnp.exp, Composite(elementwise=rules.Pass())),
    "Pass on a shift": (lambda x: relu(x) + W[:, 0], Composite(shift=rules.Pass())),
    "Even": (lambda x: x + x[::-1], Composite(add=rules.Even())),
}
BOUNDED = {
    "Epsilon": (lambda x: x @ W + B, Composite(dense=rules.Epsilon())),
    "Gamma": (lambda x: x @ W + B, Composite(dense=rules.Gamma())),
    "ZPlus before relu": (lambda x: relu(x @ W), Composite(dense=rules.ZPlus())),
    "ZPlus before relu6": (lambda x: jax.nn.relu6(x @ W), Composite(dense=rules.ZPlus())),
    "α1β0 before relu": (lambda x: relu(x @ W + B), Composite(dense=rules.AlphaBeta(1, 0))),
    "share on a sigmoid": (jax.nn.sigmoid, None),
    "share on exp": (jnp.exp, None),
    "Pass on a tanh": (jnp.tanh, Composite(elementwise=rules.Pass())),
    "Pass on a gelu": (jax.nn.gelu, Composite(elementwise=rules.Pass())),
    "Pass on a scale": (lambda x: relu(x) * W[:, 0], Composite(scale=rules.Pass())),
    "Epsilon on a shift": (lambda x: relu(x) + W[:, 0], None),
    "Ratio": (lambda x: x + x[::-1], Composite(add=rules.Ratio())),
    "Epsilon on a sum": (lambda x: x + x[::-1], None),
    "Stop": (lambda x: x @ W, Composite(dense=rules.Stop())),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_rule_that_can_blow_relevance_up_says_so(name):
    f, composite = UNBOUNDED[name]
    found = units(f, X, composite=composite)
    assert any("unbounded" in unit.reason for unit in found)
    assert "unbounded" in str(plan(f, composite, X))


@pytest.mark.parametrize("name", BOUNDED)
def test_other_rules_do_not(name):
    f, composite = BOUNDED[name]
    assert "unbounded" not in str(plan(f, composite, X))
