"""The exact check of Arras et al.: with bias and stabiliser redistributed nothing is lost."""

import jax.numpy as jnp
import numpy as np
import pytest
from recurrent import cells, flax_cells
from recurrent.flax_cells import D, H
from support.ledgers import check
from support.networks import close, normal

from lrpjax import Composite, audit, lrp, rules
from lrpjax.rules.base import Split, divide, rule, stabilise

X = normal(2, 6, D, seed=460)
STARTS = normal(2, 6, H, seed=461)
START = lambda _: jnp.asarray(STARTS)
EPSILON = 0.1  # large, so that what is not redistributed would be seen


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Conserved to the last digits."""


@rule
class _Redistributed(rules.Epsilon):
    """The ε-rule with a bias factor of 1: (b + ε sign z)/N of each output goes to every input."""

    def affine(self, layer, relevance):
        s = stabilise(layer.z, self.epsilon)
        c = divide(relevance, s)
        number = layer.count(jnp.ones_like(layer.x))
        even = layer.count_transpose((layer.bias + s - layer.z) * c / number)
        return Split((layer.x * layer.pull(c) + even,))

    def add(self, layer, relevance):
        s = stabilise(layer.y, self.epsilon)
        c = divide(relevance, s)
        even = (s - layer.y) / len(layer.operands)
        return Split(tuple((a + even) * c for a in layer.operands))


def initial(ledger):
    """The relevance that reached the initial carry."""
    return sum(row.stopped for row in ledger.rows if row.layer.startswith("initial carry"))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_with_the_bias_redistributed_relevance_is_conserved_exactly(cell):
    weights = flax_cells.weights(cell)
    model = flax_cells.nnx_rnn(cell, weights)
    redistributed = _Redistributed(EPSILON)
    composite = Composite(dense=redistributed, add=redistributed, product=rules.SignalTakesAll())
    ledger = audit(model, composite, X, target=START)
    check(ledger, 1e-12)

    by_hand = cells.Rules(epsilon=EPSILON, redistributes=True)
    carry, relevance = cells.relevance(cells.run(cells.CELLS[cell], weights, X), STARTS, by_hand)
    close(lrp(model, composite)(X, target=START), relevance, rtol=1e-9)
    at_the_start = sum(c.sum() for c in carry)
    assert initial(ledger) == pytest.approx(at_the_start, rel=1e-9) and abs(at_the_start) > 1e-4
    assert ledger.inputs + initial(ledger) == pytest.approx(STARTS.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("cell", "product"),
    [("simple", None), ("gru", rules.Absolute()), ("lstm", rules.SignalTakesAll())],
)
def test_without_bias_and_stabiliser_relevance_is_conserved_exactly(cell, product):
    """A carry of zeros gets nothing."""
    model = flax_cells.nnx_rnn(cell, flax_cells.weights(cell, bias=0.0))
    composite = Composite(
        dense=rules.Zero(), add=rules.Zero(), product=product, elementwise=rules.Pass()
    )
    ledger = audit(model, composite, X, target=START)
    check(ledger, 1e-11)
    assert initial(ledger) == 0
    assert ledger.inputs == pytest.approx(STARTS.sum(), rel=1e-9)


def test_what_is_absorbed_is_the_bias():
    """Without a stabiliser, and with shares of the bias as large as those of the inputs."""
    weights = flax_cells.weights("lstm", bias=1.0)
    model = flax_cells.nnx_rnn("lstm", weights)
    composite = Composite(dense=rules.Zero(), add=rules.Zero())
    ledger = audit(model, composite, X, target=START)
    by_hand = cells.Rules(epsilon=0.0)
    cells.relevance(cells.run(cells.Lstm, weights, X), STARTS, by_hand)
    bias = {row.layer: row.bias for row in ledger.rows if row.bias}
    assert set(bias) == {"cell/hg"}
    assert bias["cell/hg"] == pytest.approx(by_hand.bias, rel=1e-9)
    assert ledger.inputs == pytest.approx(STARTS.sum() - by_hand.bias, rel=1e-9)
    assert abs(by_hand.bias) > 0.05 * np.abs(STARTS).sum()
