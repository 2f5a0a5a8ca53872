"""Ledgers and taps of programs with loops: rows add up over rounds, taps stand side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_flow import programs
from control_flow.programs import FORMS, WS, B, D, T, U, W, X, all_looped, started, unrolled
from jax import lax
from support.ledgers import check
from support.networks import close, normal

from lrpjax import Composite, audit, lrp, rules

EPSILON = Composite(dense=rules.Epsilon(0.1), add=rules.Epsilon(0.1))


def test_the_ledger_of_every_form_closes_in_double_precision(x64):
    """All forms in one program."""
    check(audit(all_looped, "attn_lrp", X, target=started(690)), 1e-12)


def test_ledgers_close_in_single_precision(monkeypatch):
    for name in ("W", "U", "B", "WS", "X"):
        monkeypatch.setattr(programs, name, getattr(programs, name).astype(np.float32))
    some = list(FORMS)[::3]
    check(audit(lambda x: all_looped(x, some), None, programs.X, target=started(690)), 1e-5)


def test_the_ledger_closes_in_half_precision_to_its_rounding():
    w, u = (jnp.asarray(a, jnp.bfloat16) for a in (W, U))
    f = lambda x: lax.scan(lambda c, a: (jnp.tanh(c @ w + a @ u), None), x[0], x)[0]
    ledger = audit(f, None, jnp.asarray(X, jnp.bfloat16), target=started(691))
    assert ledger.error <= 2.0**-7 and ledger.not_finite == ()


def test_the_rows_of_a_loop_are_the_sums_over_its_rounds(x64):
    """Each column of the unrolled program, its layers added up."""

    def f(scan, x):
        return scan(lambda c, w: (jax.nn.relu(c @ w + B) + c, None), x, WS)[0]

    looped = audit(lambda x: f(lax.scan, x), EPSILON, X, target=started(692))
    plain = audit(lambda x: f(unrolled, x), EPSILON, X, target=started(692))
    assert len(looped.rows) == 3
    for row in looped.rows:
        parts = [r for r in plain.rows if r.unit == row.unit]
        assert len(parts) == T
        columns = ("relevance_in", "relevance_out", "bias", "stabiliser", "magnitude")
        sums = np.array([sum(getattr(r, c) for r in parts) for c in columns])
        close(np.array([getattr(row, c) for c in columns]), sums, rtol=1e-10)


ENDS = {
    "a carry that is overwritten": lambda c, a: (jnp.tanh(c[0] @ W + c[1] + a), jnp.ones(D)),
    "by a number": lambda c, a: (jnp.tanh(c[0] @ W + c[1] + a), jnp.full(D, 0.5)),
    "by what is stopped": lambda c, a: (
        jnp.tanh(c[0] @ W + c[1] + a),
        lax.stop_gradient(jnp.tanh(c[0])),
    ),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("used", [False, True], ids=["its end unused", "its end used"])
def test_relevance_that_a_constant_carry_gets_is_in_a_row(name, used, x64):
    """In the first round the input is in it, from the second on a constant."""

    def f(x):
        body = lambda c, a: (ENDS[name](c, a), None)
        h, k = lax.scan(body, (jnp.zeros(D), x[0] @ U), x)[0]
        return h + k if used else h

    ledger = audit(f, EPSILON, X, target=started(693))
    check(ledger, 1e-12)
    assert sum(abs(row.stopped) for row in ledger.rows) > 0.1


# ---------------------------------------------------------------- taps


def nested(scan, p, x):
    """A loop over layers, of a loop over time."""

    def layer(h, b):
        def step(c, a):
            c = jnp.tanh(c @ p["time"]["kernel"] + a)
            return c, c

        return scan(step, h[0], h)[1] @ p["layer"]["kernel"] + b, None

    return scan(layer, x, normal(2, D, seed=694))[0]


PARAMETERS = {"time": {"kernel": U}, "layer": {"kernel": W}}


def test_taps_of_nested_loops_have_an_axis_for_each_loop(x64):
    """The unrolled program names each use of a shared layer; side by side they are the tap."""
    names = ["layer", "layer#2", "time", *(f"time#{i}" for i in range(2, 2 * T + 1))]
    taps = ["time", "layer"]
    options = {"argnums": 1}
    relevance, found = lrp(lambda p, x: nested(lax.scan, p, x), EPSILON, taps=taps, **options)(
        PARAMETERS, X, target=started(695)
    )
    plain = lrp(lambda p, x: nested(unrolled, p, x), EPSILON, taps=names, **options)
    expected_relevance, each = plain(PARAMETERS, X, target=started(695))
    close(relevance, expected_relevance, rtol=1e-9)
    assert found["time"].shape == (2, T, D) and found["layer"].shape == (2, T, D)
    close(found["layer"], np.stack([each["layer"], each["layer#2"]]), rtol=1e-9)
    times = np.stack([each[name] for name in names[2:]]).reshape(2, T, D)
    close(found["time"], times, rtol=1e-9)


def test_taps_of_loops_in_reverse_stand_in_the_order_of_the_slices(x64):
    f = lambda scan, p, x: scan(
        lambda c, a: (jnp.tanh(c @ p["time"]["kernel"] + a), None), x[0], x, reverse=True
    )[0]
    _, found = lrp(lambda p, x: f(lax.scan, p, x), EPSILON, argnums=1, taps=["time"])(
        PARAMETERS, X, target=started(696)
    )
    names = ["time", "time#2", "time#3", "time#4"]
    plain = lrp(lambda p, x: f(unrolled, p, x), EPSILON, argnums=1, taps=names)
    _, each = plain(PARAMETERS, X, target=started(696))
    close(found["time"], np.stack([each[name] for name in names[::-1]]), rtol=1e-9)


def test_taps_of_branches_under_vmap_and_remat(x64):
    """A branch that did not run has a tap of zeros."""
    p = {"a": {"kernel": W}, "b": {"kernel": U}}

    def f(p, row):
        a, b = (lambda h, k=k: jnp.tanh(h @ p[k]["kernel"]) for k in "ab")
        step = jax.checkpoint(lambda c, _: (lax.cond(row[0] > 0, a, b, c), None))
        return lax.scan(step, row, length=2)[0]

    explain = lrp(f, EPSILON, argnums=1, taps=["a", "b"])
    _, taps = jax.vmap(lambda row: explain(p, row, target=started(697)))(X)
    runs = X[:, 0] > 0
    assert taps["a"].shape == taps["b"].shape == (T, 2, D)
    assert np.array_equal(np.any(taps["a"], (1, 2)), runs)
    assert np.array_equal(np.any(taps["b"], (1, 2)), ~runs)
