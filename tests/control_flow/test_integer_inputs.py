"""Token ids that are explained inside loops, branches and rematerialised regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_flow.programs import EXACT, B, D, U, W, both, started, unrolled
from jax import lax
from support.ledgers import check
from support.networks import close, normal

from lrpjax import UnsupportedPrimitiveError, audit, lrp

TABLE = normal(7, D, seed=680)
IDS = np.array([3, 1, 4, 1])
POSITIONS = normal(4, D, seed=681)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def table():
    return jnp.asarray(TABLE)


def read(scan, ids):
    """A recurrent net that looks its words up as it goes."""
    return scan(lambda c, i: (jnp.tanh(c @ W + table()[i] @ U + B), None), jnp.ones(D), ids)[0]


def read_by_position(scan, ids):
    """The ids are closed over, and their place is what goes round."""
    body = lambda c, t: (jnp.tanh(c @ W + table()[jnp.asarray(ids)[t]] @ U + B), None)
    return scan(body, jnp.ones(D), jnp.arange(4))[0]


def shifted_ids(scan, ids):
    """The ids are in the carry."""

    def body(c, _):
        h, i = c
        return (jnp.tanh(h @ W + table()[i[0]] + table()[i[1]] @ U), jnp.roll(i, 1)), None

    return scan(body, (jnp.ones(D), jnp.asarray(ids)), None, length=3)[0][0]


LOOPS = (read, read_by_position)


def test_ids_that_go_round_are_refused():
    """Which of them a row was asked by changes from round to round."""
    f = lambda ids: shifted_ids(lax.scan, ids)
    with pytest.raises(UnsupportedPrimitiveError, match="take the rows outside"):
        lrp(f)(IDS)


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__.replace("_", " "))
def test_ids_in_a_loop(f):
    looped, plain = (lambda ids: f(lax.scan, ids)), (lambda ids: f(unrolled, ids))
    close(*both(looped, plain, EXACT, IDS), rtol=1e-9)


def embedded(ids):
    return jnp.tanh(table()[ids] + POSITIONS) @ W


def other(ids):
    return table()[ids] @ U


REGIONS = {
    "remat": (jax.checkpoint(embedded), embedded),
    "a branch": (lambda ids: lax.cond(TABLE[0, 0] < 99.0, embedded, other, ids), embedded),
    "both": (
        jax.checkpoint(lambda ids: lax.switch(jnp.asarray(1), [other, embedded], ids)),
        embedded,
    ),
    "ids and what was looked up": (
        lambda ids: jax.checkpoint(lambda i, e: embedded(i) * (e @ U))(ids, table()[ids]),
        lambda ids: embedded(ids) * (table()[ids] @ U),
    ),
}


@pytest.mark.parametrize("name", REGIONS)
def test_ids_in_a_region(name):
    inside, plain = REGIONS[name]
    close(*both(inside, plain, EXACT, IDS), rtol=1e-9)


def test_ids_that_are_looked_up_before_the_loop():
    def f(scan, ids):
        step = lambda c, e: (jnp.tanh(c @ W + e @ U + B), None)
        return scan(step, jnp.ones(D), table()[ids])[0]

    looped, plain = (lambda ids: f(lax.scan, ids)), (lambda ids: f(unrolled, ids))
    found, expected = both(looped, plain, EXACT, IDS)
    close(found, expected, rtol=1e-9)
    _, found = found
    check(audit(looped, None, IDS, target=started(682)), 1e-12)


def test_ids_that_only_index_weights_are_no_inputs():
    """Not explained: constants of the loop like any other."""
    f = lambda x, ids: lax.scan(lambda c, i: (jnp.tanh(c @ W + table()[i]), None), x, ids)[0]
    plain = lambda x, ids: unrolled(lambda c, i: (jnp.tanh(c @ W + table()[i]), None), x, ids)[0]
    x = normal(D, seed=683)
    for target in (0, 1):
        close(*(lrp(g, EXACT)(x, IDS, target=target) for g in (f, plain)), rtol=1e-9)
