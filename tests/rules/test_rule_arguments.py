"""Rules refuse impossible numbers when they are built, and accept whatever is possible."""

import jax
import numpy as np
import pytest

from lrpjax import PlanError, rules

IMPOSSIBLE = {
    "negative epsilon": lambda: rules.Epsilon(-1e-6),
    "epsilon that is no number": lambda: rules.Epsilon(float("nan")),
    "gamma below zero": lambda: rules.Gamma(-0.25),
    "gamma with a negative epsilon": lambda: rules.Gamma(0.25, epsilon=-1.0),
    "zplus with a negative epsilon": lambda: rules.ZPlus(epsilon=-1.0),
    "alpha - beta = 0": lambda: rules.AlphaBeta(1.0, 1.0),
    "alpha - beta = 2": lambda: rules.AlphaBeta(alpha=2, beta=0),
    "negative beta": lambda: rules.AlphaBeta(0.5, -0.5),
    "negative alpha": lambda: rules.AlphaBeta(-1.0, -2.0),
    "alpha beta with a negative epsilon": lambda: rules.AlphaBeta(2.0, 1.0, epsilon=-1.0),
    "wsquare with a negative epsilon": lambda: rules.WSquare(epsilon=-1.0),
    "zbox with a negative epsilon": lambda: rules.ZBox(0.0, 1.0, epsilon=-1.0),
    "low above high": lambda: rules.ZBox(1.0, 0.0),
    "low above high somewhere": lambda: rules.ZBox(np.array([0.0, 2.0]), np.array([1.0, 1.0])),
    "low that is no number": lambda: rules.ZBox(float("nan"), 1.0),
    "an unknown offset": lambda: rules.Pass("halve"),
}

POSSIBLE = {
    "no epsilon": lambda: rules.Epsilon(0.0),
    "no gamma": lambda: rules.Gamma(0.0),
    "alpha 1, beta 0": lambda: rules.AlphaBeta(1, 0),
    "a difference that rounding moves": lambda: rules.AlphaBeta(2.2, 1.2),
    "a box without inside": lambda: rules.ZBox(0.0, 0.0),
    "half a box": lambda: rules.ZBox(0.0, np.ones(3)),
    "share": lambda: rules.Pass("share"),
    "pass": lambda: rules.Pass(offset="pass"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_numbers_are_refused(name):
    with pytest.raises(PlanError):
        IMPOSSIBLE[name]()


@pytest.mark.parametrize("name", POSSIBLE)
def test_possible_numbers_are_taken(name):
    leaves = jax.tree.leaves(POSSIBLE[name]())
    assert all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in leaves)


def test_a_rule_is_a_pytree_that_validates_nothing_when_it_is_put_together_again():
    rule = rules.AlphaBeta(2.0, 1.0)
    leaves, structure = jax.tree.flatten(rule)
    assert sorted(leaves) == [1e-6, 1.0, 2.0]
    changed = jax.tree.unflatten(structure, [-3.0] * len(leaves))
    assert jax.tree.leaves(changed) == [-3.0] * 3


def test_equal_rules_are_equal():
    assert rules.Gamma(0.25) == rules.Gamma(0.25, 1e-6)
    assert rules.Gamma(0.25) != rules.Gamma(0.5)
    assert rules.Pass("share") != rules.Pass("pass")
