"""Branches: the one that runs is explained as if it stood alone, whichever it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_flow.programs import EXACT, WS, B, D, T, U, W, X, started
from jax import lax
from support.ledgers import check
from support.networks import close, normal

from lrpjax import audit, lrp, plan

TABLE = normal(T, 5, seed=650)
relu = jax.nn.relu


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def dense(x):
    return relu(x @ W + B)


def two_layers(x):
    return jnp.tanh(jnp.tanh(x @ U) @ W)


def identity(x):
    return x


def constant(x):
    return jnp.full_like(x, 3.0)


def stopped(x):
    return lax.stop_gradient(x @ U)


def loop(x):
    return lax.scan(lambda c, w: (jnp.tanh(c @ w + B), None), x, WS[:2])[0]


def lookup(x):
    """Rows of the input, by indices."""
    return x[jnp.array([1, 1, 3, 0])] @ W


#: {name: (branches, what stands around them)}
SWITCHES = {
    "different layers": ([two_layers, dense], lambda x, call: call(x)),
    "nothing to do": ([dense, identity], lambda x, call: call(x @ U) + x @ W),
    "a constant": ([dense, constant], lambda x, call: call(x @ U) + x @ W),
    "a stop": ([stopped, dense], lambda x, call: call(x) + x @ W),
    "a loop and a lookup": ([loop, lookup, dense], lambda x, call: call(jnp.tanh(x))),
    "a switch in a branch": (
        [lambda x: lax.switch(1, [dense, two_layers], x), lambda x: lax.cond(True, dense, loop, x)],
        lambda x, call: call(x) @ U,
    ),
    "rematerialised": (
        [jax.checkpoint(two_layers), dense],
        lambda x, call: jax.checkpoint(call)(x) @ U,
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_the_branch_that_runs_is_explained(name):
    """Its index is an argument, and may lie outside of the branches."""
    branches, around = SWITCHES[name]
    last = len(branches) - 1
    choose = lambda i: lambda x: around(x, lambda h: lax.switch(i, branches, h))
    start = started(651)

    @jax.jit
    def explain(x, i):
        switched = lambda x, i: around(x, lambda h: lax.switch(i, branches, h))
        return lrp(switched, EXACT)(x, i, target=start)

    @jax.jit
    def alone(x):
        return [lrp(lambda x, f=f: around(x, f), EXACT)(x, target=start) for f in branches]

    expected = alone(X)
    for i in range(-1, len(branches) + 1):
        close(explain(X, i), expected[min(max(i, 0), last)], rtol=1e-9)
    check(audit(choose(last), None, X, target=start), 1e-12)


def test_trees_go_through_branches():
    """What is a constant in one branch and live in the other ends there, visibly."""
    branches = (
        lambda d: {"a": d["p"] @ W, "b": d["q"]},
        lambda d: {"a": d["q"] * 2.0, "b": jnp.ones((T, D))},
    )

    def f(choose, x):
        out = choose({"p": x, "q": jnp.tanh(x)})
        return out["a"] @ U + out["b"] @ W

    start = started(652)
    for i in (0, 1):
        switched = lambda x, i=i: f(lambda d: lax.switch(jnp.asarray(i), branches, d), x)
        alone = lambda x, i=i: f(branches[i], x)
        relevances = [lrp(g, EXACT)(X, target=start) for g in (switched, alone)]
        close(*relevances, rtol=1e-9)
    ledger = audit(switched, EXACT, X, target=start)
    check(ledger, 1e-12)
    assert any(row.unit == "stop" and abs(row.stopped) > 0.1 for row in ledger.rows)


def test_a_predicate_of_the_input_decides_and_gets_nothing():
    f = lambda x: lax.cond(x.sum() > 0, dense, two_layers, x)
    positive = np.abs(X)
    for x in (positive, -positive):
        alone = dense if x.sum() > 0 else two_layers
        close(*(lrp(g, EXACT)(x, target=started(653)) for g in (f, alone)), rtol=1e-9)


def test_a_branch_that_closes_over_the_input():
    f = lambda x, p: lax.cond(p, lambda: dense(x), lambda: two_layers(x))
    for p, alone in ((True, dense), (False, two_layers)):
        found = lrp(f, EXACT)(X, jnp.asarray(p), target=started(654))
        close(found, lrp(alone, EXACT)(X, target=started(654)), rtol=1e-9)


@pytest.mark.parametrize("branches", [[dense, two_layers], [loop, constant, dense]])
def test_under_vmap_a_branch_becomes_a_select(branches):
    """Of the model, of the explanation, and an explanation of each row alone agree."""
    index = np.arange(T) % len(branches)
    one = lambda row, i: lax.switch(i, branches, row) + row @ W
    written_out = lambda x: jnp.stack(
        [branches[i](r) + r @ W for i, r in zip(index, x, strict=True)]
    )
    starts = normal(T, D, seed=655)
    given = lambda s: lambda _: jnp.asarray(s)

    @jax.jit
    def explain(x):
        alone = lambda row, i, s: lrp(one, EXACT)(row, i, target=given(s))
        return {
            "of the model": lrp(lambda x: jax.vmap(one)(x, index), EXACT)(x, target=given(starts)),
            "of the explanation": jax.vmap(alone)(x, index, starts),
            "written out": lrp(written_out, EXACT)(x, target=given(starts)),
        }

    found = explain(X)
    close(found, dict.fromkeys(found, found["written out"]), rtol=1e-9)


def test_a_branch_in_a_loop_and_a_loop_in_a_branch():
    """Which branch a round takes depends on its slice of the input."""

    def f(x):
        body = lambda c, a: (lax.cond(a[0] > 0, dense, loop, c + a), None)
        return lax.scan(body, x[0], x)[0]

    def plain(x):
        c = x[0]
        for t in range(T):
            c = (dense if X[t, 0] > 0 else loop)(c + x[t])
        return c

    assert 0 < (X[:, 0] > 0).sum() < T
    both = jax.jit(lambda x: [lrp(g, EXACT)(x, target=started(656)) for g in (f, plain)])
    close(*both(X), rtol=1e-9)
    check(audit(f, None, X, target=started(657)), 1e-12)


@pytest.mark.parametrize(
    "wraps", [lambda f: f, jax.checkpoint, jax.vmap], ids=["", "remat", "vmap"]
)
def test_branches_that_return_their_operands(wraps):
    """JAX forwards what all branches hand through: a cond without results may be left."""
    same = [lambda h, k: (h, k)] * 2
    swap = [lambda h, k: (k, h), lambda h, k: (k, h * 2.0)]

    def f(x):
        i = jnp.where(x.sum() > 0, 1, 0)
        h, k = lax.switch(i, same, x @ W, x @ U)
        h, k = lax.switch(i, swap, h, k)
        return h @ U + k

    def g(x):
        return x @ U @ U + (x @ W) * jnp.where(x.sum() > 0, 2.0, 1.0)

    explain = jax.jit(
        lambda x: [lrp(wraps(each), EXACT)(x, target=started(659)) for each in (f, g)]
    )
    for x in (X, -X):
        close(*explain(x), rtol=1e-9)


def test_branches_have_rows_of_their_own():
    """Those of the branch that did not run are zero."""
    f = lambda x, p: lax.cond(p, dense, two_layers, x)
    rows = {p: audit(f, None, X, jnp.asarray(p), target=started(658)).rows for p in (True, False)}
    products = {p: [r.magnitude > 0 for r in rows[p] if r.unit == "dense"] for p in rows}
    assert products == {True: [False, False, True], False: [True, True, False]}
    assert [u.loops for u in plan(f, None, X, True).units] == [()] * len(rows[True])
