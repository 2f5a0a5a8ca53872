"""Initial carries that are not zero: what they get is in the ledger, or explained if asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recurrent import cells, flax_cells
from recurrent.flax_cells import D, H
from support.ledgers import check
from support.networks import close, normal

from lrpjax import Composite, audit, lrp, plan, rules

X = normal(2, 4, D, seed=470)
STARTS = normal(2, 4, H, seed=471)
START = lambda _: jnp.asarray(STARTS)
CARRY = (normal(2, H, seed=472), normal(2, H, seed=473))
WEIGHTS = flax_cells.weights("lstm", seed=474)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def expected(carry=CARRY, epsilon=1e-6):
    steps = cells.run(cells.Lstm, WEIGHTS, X, carry)
    return cells.relevance(steps, STARTS, cells.Rules(epsilon=epsilon))


def model():
    module, variables = flax_cells.linen_rnn("lstm", WEIGHTS)
    return lambda x, carry: module.apply(variables, x, initial_carry=carry)


def initial(ledger):
    """{layer: relevance} of what ended at an initial carry."""
    return {r.layer: r.stopped for r in ledger.rows if r.layer.startswith("initial carry")}


def test_a_constant_carry_takes_its_share_visibly():
    (rc, rh), relevance = expected()
    f = model()
    constant = jax.tree.map(jnp.asarray, CARRY)
    ledger = audit(lambda x: f(x, constant), None, X, target=START)
    check(ledger, 1e-12)
    assert ledger.inputs == pytest.approx(relevance.sum(), rel=1e-9)
    found = initial(ledger)
    close(sorted(found.values()), sorted([rc.sum(), rh.sum()]), rtol=1e-9)
    assert min(map(abs, found.values())) > 1e-3


def test_a_carry_of_zeros_takes_nothing():
    f = model()
    zeros = (jnp.zeros((2, H)),) * 2
    assert set(initial(audit(lambda x: f(x, zeros), None, X, target=START)).values()) == {0.0}


def test_an_explained_carry_gets_its_relevance():
    (rc, rh), relevance = expected()
    found = lrp(model(), argnums=(0, 1))(X, CARRY, target=START)
    close(found, (relevance, (rc, rh)), rtol=1e-9)


def test_a_carry_may_be_all_that_is_explained():
    """The sequence is then a bias of the layers; without ε it matters not where it folds."""
    composite = Composite(dense=rules.Zero(), add=rules.Zero())
    found = lrp(model(), composite, argnums=1)(X, CARRY, target=START)
    close(found, expected(epsilon=0.0)[0], rtol=1e-9)


def test_a_carry_that_is_an_argument_of_its_own_is_no_secret():
    """Not asked for, it is a constant like any other."""
    ledger = audit(model(), None, X, CARRY, target=START)
    assert ledger.inputs == pytest.approx(expected()[1].sum(), rel=1e-9)
    assert len(initial(ledger)) == 2


def test_a_learned_carry_is_a_parameter():
    """The same for every example, broadcast; its share is in the ledger, or explained."""
    learned = {"h": normal(H, seed=475), "c": normal(H, seed=476)}
    f = model()

    def network(p, x):
        wide = lambda a: jnp.broadcast_to(a, (len(x), H))
        return f(x, (wide(p["c"]), wide(p["h"])))

    carry = tuple(np.broadcast_to(learned[k], (2, H)) for k in "ch")
    (rc, rh), relevance = expected(carry)
    ledger = audit(network, None, learned, X, argnums=1, target=START)
    check(ledger, 1e-12)
    close(sorted(initial(ledger).values()), sorted([rc.sum(), rh.sum()]), rtol=1e-9)
    given, to_x = lrp(network, argnums=(0, 1))(learned, X, target=START)
    close((given["c"], given["h"]), (rc.sum(0), rh.sum(0)), rtol=1e-9)
    close(to_x, relevance, rtol=1e-9)


def test_a_carry_made_from_the_input_is_live():
    """The first step as initial carry: its relevance goes on to the input."""
    weights = flax_cells.weights("simple", seed=477)
    module, variables = flax_cells.linen_rnn("simple", weights)
    kernel = normal(D, H, seed=478)

    def f(x):
        return module.apply(variables, x[:, 1:], initial_carry=jnp.tanh(x[:, 0] @ kernel))

    first = np.tanh(X[:, 0] @ kernel)
    steps = cells.run(cells.Simple, weights, X[:, 1:], (first,))
    by_hand = cells.Rules()
    (carry,), rest = cells.relevance(steps, STARTS[:, 1:], by_hand)
    head = by_hand.dense(X[:, 0], kernel, 0.0, by_hand.activate(first, 0.0, carry))
    found = lrp(f)(X, target=lambda _: jnp.asarray(STARTS[:, 1:]))
    close(found, np.concatenate([head[:, None], rest], 1), rtol=1e-9)
    assert not [u for u in plan(f, None, X).units if u.layer.startswith("initial carry")]


def test_a_stopped_carry_ends_it():
    f = model()
    carry = jax.tree.map(jnp.asarray, CARRY)
    stopped = lambda x: f(x, jax.tree.map(lambda c: jax.lax.stop_gradient(c * x[:, :1, 0]), carry))
    scaled = tuple(c * X[:, :1, 0] for c in CARRY)
    (rc, rh), relevance = expected(scaled)
    close(lrp(stopped)(X, target=START), relevance, rtol=1e-9)
    ledger = audit(stopped, None, X, target=START)
    check(ledger, 1e-12)
    assert sum(r.stopped for r in ledger.rows) == pytest.approx(rc.sum() + rh.sum(), rel=1e-9)
