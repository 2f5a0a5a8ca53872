"""Relevance and ledgers by every rule, of a program on many devices and of its like on one."""

import jax
import numpy as np

from lrpjax import Composite, audit, lrp, rules

RULES = {
    "Epsilon": rules.Epsilon(),
    "ZPlus": rules.ZPlus(),
    "Gamma": rules.Gamma(0.25),
    "AlphaBeta": rules.AlphaBeta(2.0, 1.0),
    "Flat": rules.Flat(),
    "WSquare": rules.WSquare(),
    "ZBox": rules.ZBox(-3.0, 3.0),
}

#: Every affine rule, for the layers with weights.
AFFINE = {name: Composite(conv=rule, dense=rule) for name, rule in RULES.items()}

#: Enough where the layers are not what is tested: one that is linear, one of signs, one of neither.
SOME = {name: AFFINE[name] for name in ("Epsilon", "AlphaBeta", "Flat")}

COLUMNS = ("bias", "stabiliser", "stopped", "remainder")


def relevances(f, x, composites):
    """Relevance by each composite, in one program: {name: float64 like x}."""
    explain = lambda x: {name: lrp(f, each)(x) for name, each in composites.items()}
    return jax.tree.map(np.asarray, jax.jit(explain)(x))


def ledger(f, x, composite):
    """A ledger's sums, and what each layer with weights reports, in the order of the program."""
    found = audit(f, composite, x)
    assert found.error <= 1e-12
    numbers = {"start": found.start, "inputs": found.inputs, "absorbed": found.absorbed}
    numbers |= {name: sum(getattr(row, name) for row in found.rows) for name in COLUMNS}
    layers = [row for row in found.rows if row.unit in ("conv", "dense")]
    fields = ("relevance_in", "relevance_out", "magnitude", *COLUMNS)
    return numbers, [[getattr(row, name) for name in fields] for row in layers]


def check_equal(found, expected):
    """Each result to 1e-12 of its largest element; a wrong rule shows by its name."""
    assert found.keys() == expected.keys()
    apart = {name: distance(found[name], expected[name]) for name in expected}
    wrong = {name: far for name, far in apart.items() if not far <= 1e-12}
    assert not wrong, wrong


def distance(found, expected):
    """The largest difference over the largest element, which must say something."""
    assert np.shape(found) == np.shape(expected)
    largest = np.abs(expected).max()
    assert np.isfinite(largest) and largest > 0
    return float(np.abs(found - expected).max() / largest)
