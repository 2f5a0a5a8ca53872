"""Loops other than `scan`: those of a known length are explained, others say what to do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from control_flow.programs import EXACT, WS, B, D, T, U, W, X, both, started
from jax import lax
from support.ledgers import check
from support.networks import close

from lrpjax import Composite, UnsupportedPrimitiveError, audit, lrp, plan, rules


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- known lengths


def a_layer(i, h):
    return jnp.tanh(h @ jnp.asarray(WS)[i] + B)


def three_layers(h):
    for i in range(1, 4):
        h = a_layer(i, h)
    return h


LOOPS = {
    "fori_loop": (lambda x: lax.fori_loop(1, 4, a_layer, x), three_layers),
    "fori_loop, unrolled": (lambda x: lax.fori_loop(1, 4, a_layer, x, unroll=2), three_layers),
    "fori_loop with NumPy bounds": (
        lambda x: lax.fori_loop(np.int32(1), np.int32(4), a_layer, x),
        three_layers,
    ),
    "fori_loop over rows": (
        lambda x: lax.fori_loop(0, T, lambda i, c: (jnp.tanh(c[0] @ W + c[1][i]), c[1]), (x[0], x))[
            0
        ],
        lambda x: functools.reduce(lambda c, i: jnp.tanh(c @ W + x[i]), range(T), x[0]),
    ),
    "map": (lambda x: lax.map(lambda row: jnp.tanh(row @ W + B), x), lambda x: jnp.tanh(x @ W + B)),
    "map in batches": (
        lambda x: lax.map(lambda row: jnp.tanh(row @ W + B), x, batch_size=3),
        lambda x: jnp.tanh(x @ W + B),
    ),
    "associative sums": (
        lambda x: lax.associative_scan(jnp.add, x @ W) @ U,
        lambda x: jnp.stack([sum((x @ W)[1 : t + 1], (x @ W)[0]) for t in range(T)]) @ U,
    ),
    "associative maxima": (
        lambda x: lax.associative_scan(jnp.maximum, x @ W) @ U,
        lambda x: jnp.stack([(x @ W)[: t + 1].max(0) for t in range(T)]) @ U,
    ),
    "jnp.vectorize": (
        lambda x: jnp.vectorize(lambda r: jnp.tanh(r @ W), signature="(d)->(d)")(x),
        lambda x: jnp.tanh(x @ W),
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_known_length_is_explained_as_its_rounds(name):
    looped, plain = LOOPS[name]
    close(*both(looped, plain, EXACT, X), rtol=1e-9)


def test_a_linear_recurrence_by_an_associative_scan():
    """h_t = a_t h_{t-1} + b_t with gates a from the input: every product and sum, in NumPy."""

    def f(x):
        gates, signals = jax.nn.sigmoid(x @ W), x @ U
        combine = lambda l, r: (l[0] * r[0], r[0] * l[1] + r[1])
        return lax.associative_scan(combine, (gates, signals))[1]

    start = np.random.default_rng(670).normal(size=(T, D))
    composite = Composite(dense=rules.Zero(), add=rules.Zero(), product=rules.SignalTakesAll())
    found = lrp(f, composite)(X, target=lambda _: jnp.asarray(start))
    gates, signals = 1.0 / (1.0 + np.exp(-X @ W)), X @ U
    h = np.zeros((T + 1, D))
    for t in range(T):
        h[t + 1] = gates[t] * h[t] + signals[t]
    carried, to_signals = np.zeros(D), np.zeros((T, D))
    for t in reversed(range(T)):
        terms = [gates[t] * h[t], signals[t]]
        carried, to_signals[t] = oracle.add_epsilon(terms, carried + start[t], 0.0)
    close(found, X * (oracle.quotient(to_signals, signals, 0.0) @ U.T), rtol=1e-9)
    check(audit(f, None, X, target=started(671)), 1e-12)


# ---------------------------------------------------------------- unknown lengths


def grow(c):
    return 2.0 * c + 1.0


def small(c):
    return c.sum() < 100.0


UNKNOWN = {
    "while": lambda x: lax.while_loop(small, grow, jnp.abs(x)),
    "while with a counter": lambda x: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] @ W), (0, x)
    )[1],
    "fori_loop to a traced bound": lambda x: lax.fori_loop(0, (x > 0).sum(), lambda i, c: c @ W, x),
    "in a scan": lambda x: lax.scan(
        lambda c, a: (lax.while_loop(small, grow, jnp.abs(c + a)), None), x[0], x
    )[0],
    "in a branch": lambda x: lax.cond(
        x[0, 0] > 0, jnp.tanh, lambda x: lax.while_loop(small, grow, jnp.abs(x)), x
    ),
    "rematerialised": jax.checkpoint(lambda x: lax.while_loop(small, grow, jnp.abs(x))),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_loop_of_unknown_length_says_what_to_write_instead(name):
    for explain in (plan, lambda f, c, x: lrp(f, c)(x)):
        with pytest.raises(UnsupportedPrimitiveError) as caught:
            explain(UNKNOWN[name], None, X)
        message = str(caught.value)
        assert caught.value.primitive == "while"
        for part in ("trip count", "scan", "fori_loop with fixed bounds", "test_loops.py"):
            assert part in message


def test_the_generic_rule_has_no_way_into_it_and_none_is_offered():
    f = UNKNOWN["while"]
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        lrp(f, Composite(unsupported=rules.Epsilon()))(X)
    assert "unsupported=" not in str(caught.value)


HARMLESS = {
    "of constants": (
        lambda x: x @ lax.while_loop(small, grow, jnp.abs(W)),
        lambda x: x @ grown(np.abs(W)),
    ),
    "of a counter": (
        lambda x: (x @ W) * lax.while_loop(lambda i: i < 3, lambda i: i + 1, 0),
        lambda x: (x @ W) * 3,
    ),
    "in a predicate": (
        lambda x: jnp.where(lax.while_loop(small, grow, jnp.abs(x)) > 6.0, x @ W, x),
        lambda x: jnp.where(grown(np.abs(X)) > 6.0, x @ W, x),
    ),
    "over an index": (
        lambda x: first_positive(jnp.asarray(x)) @ W,
        lambda x: x[int(np.argmax(X[:, 0] >= 0))] @ W,
    ),
}


def first_positive(x):
    """The first row that begins so."""
    return x[lax.while_loop(lambda i: x[i, 0] < 0, lambda i: i + 1, 0)]


def grown(c):
    """In NumPy."""
    while small(c):
        c = grow(c)
    return c


@pytest.mark.parametrize("name", HARMLESS)
def test_a_loop_that_no_relevance_passes_may_be_of_any_length(name):
    looped, plain = HARMLESS[name]
    close(*both(looped, plain, EXACT, X), rtol=1e-9)


def test_a_loop_of_stopped_values_takes_its_share_visibly():
    looped = lambda x: x @ W + lax.while_loop(small, grow, jnp.abs(lax.stop_gradient(x)))
    values = grown(np.abs(X))
    start = np.asarray(started(672)(jnp.zeros((T, D))))
    signal, stop = oracle.add_epsilon([X @ W, values], start, 0.0)
    composite = Composite(dense=rules.Zero(), add=rules.Zero())
    found = lrp(looped, composite)(X, target=lambda _: jnp.asarray(start))
    close(found, X * (oracle.quotient(signal, X @ W, 0.0) @ W.T), rtol=1e-9)
    ledger = audit(looped, composite, X, target=lambda _: jnp.asarray(start))
    check(ledger, 1e-12)
    assert sum(row.stopped for row in ledger.rows) == pytest.approx(stop.sum(), rel=1e-9)
