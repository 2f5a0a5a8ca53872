"""Cells of Flax through `scan` give the relevance of the cell unrolled in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recurrent import cells, flax_cells
from recurrent.flax_cells import D, H
from support.ledgers import check
from support.networks import close, normal

from lrpjax import Composite, audit, lrp, plan, rules

X = normal(2, 5, D, seed=400)
STARTS = normal(2, 5, H, seed=401)
EPSILON = 1e-3

#: The rules of Arras et al. for a product of a gate and a signal, and their formulas.
PRODUCTS = {
    "all": (rules.SignalTakesAll(), cells.all_to_signal),
    "half": (rules.Uniform(), cells.half),
    "proportional": (rules.Proportional(EPSILON), cells.proportional),
    "absolute": (rules.Absolute(), cells.absolute),
}

#: Flax's cells, by the cell of NumPy that they are.
LAYERS = {"lstm": "lstm", "gru": "gru", "simple": "simple", "optimised lstm": "lstm"}


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def composite(product):
    epsilon = rules.Epsilon(EPSILON)
    return Composite(dense=epsilon, add=epsilon, product=product)


def start(_):
    return jnp.asarray(STARTS)


def expected(cell, formula):
    """Relevance of X by NumPy, and what its rules absorbed."""
    by_hand = cells.Rules(formula, EPSILON)
    steps = cells.run(cells.CELLS[cell], flax_cells.weights(cell), X)
    return cells.relevance(steps, STARTS, by_hand)[1], by_hand


#: By which rules each is explained: in linen by all, elsewhere by two that give something to gates.
BOTH = ("half", "proportional")
CASES = {
    **{("linen", layer): tuple(PRODUCTS) for layer in ("lstm", "gru")},
    **{("nnx", layer): BOTH for layer in ("lstm", "gru")},
    **{(style, "simple"): BOTH[:1] for style in ("linen", "nnx")},
    **{(style, "optimised lstm"): BOTH[:1] for style in ("linen", "nnx")},
}


@pytest.mark.parametrize(("style", "layer"), CASES)
def test_a_cell_through_scan_is_the_cell_unrolled(style, layer):
    """By several rules for products, in one program."""
    cell = LAYERS[layer]
    weights = flax_cells.weights(cell)
    if style == "linen":
        module, variables = flax_cells.linen_rnn(layer, weights)
        model = module.bind(variables)
    else:
        model = flax_cells.nnx_rnn(layer, weights)
    steps = cells.run(cells.CELLS[cell], weights, X)
    close(model(X), cells.outputs(steps))

    @jax.jit
    def explain(x):
        each = {name: composite(PRODUCTS[name][0]) for name in CASES[style, layer]}
        return {name: lrp(model, c)(x, target=start) for name, c in each.items()}

    formulas = {name: expected(cell, PRODUCTS[name][1])[0] for name in CASES[style, layer]}
    close(explain(X), formulas, rtol=1e-9)


@pytest.mark.parametrize(
    ("cell", "product"),
    [("lstm", "all"), ("lstm", "half"), ("gru", "proportional"), ("gru", "absolute")],
)
def test_the_ledger_holds_what_all_rounds_absorbed(cell, product):
    rule, formula = PRODUCTS[product]
    model = flax_cells.nnx_rnn(cell, flax_cells.weights(cell))
    ledger = audit(model, composite(rule), X, target=start)
    check(ledger, 1e-12)
    relevance, by_hand = expected(cell, formula)
    column = lambda name: sum(getattr(row, name) for row in ledger.rows)
    found = [ledger.inputs, column("bias"), column("stabiliser")]
    close(found, [relevance.sum(), by_hand.bias, by_hand.stabiliser], rtol=1e-9)


def test_gates_get_nothing_where_the_signal_takes_all():
    """The preset of Arras et al.: its ε, and products to their signals."""
    model = flax_cells.nnx_rnn("lstm", flax_cells.weights("lstm"))
    preset = "lstm_signal_takes_all"
    planned = {u.layer: type(u.rule) for u in plan(model, preset, X).units if u.kind == "product"}
    assert len(planned) == 3 and set(planned.values()) == {rules.SignalTakesAll}
    close(lrp(model, preset)(X, target=start), expected("lstm", cells.all_to_signal)[0], rtol=1e-9)
    rows = audit(model, preset, X, target=start).rows
    reached = {row.layer: row.magnitude for row in rows if row.unit == "dense"}
    gates = {name for name, magnitude in reached.items() if magnitude == 0}
    assert gates == {f"cell/{name}" for name in ("ii", "hi", "if_", "hf", "io", "ho")}


@pytest.mark.parametrize("product", ["all", "half"])
def test_relevance_by_time_and_by_feature(product):
    """Sums over either axis; a step that the explained output can't see has none."""
    rule, formula = PRODUCTS[product]
    model = flax_cells.nnx_rnn("gru", flax_cells.weights("gru"))
    third = np.where(np.arange(5)[:, None] == 2, STARTS, 0.0)
    steps = cells.run(cells.Gru, flax_cells.weights("gru"), X)
    _, by_hand = cells.relevance(steps, third, cells.Rules(formula, EPSILON))
    relevance = lrp(model, composite(rule))(X, target=lambda _: jnp.asarray(third))
    assert not np.any(relevance[:, 3:]) and np.all(relevance[:, :3] != 0)
    close(relevance.sum(-1), by_hand.sum(-1), rtol=1e-9)
    close(relevance.sum(1), by_hand.sum(1), rtol=1e-9)
