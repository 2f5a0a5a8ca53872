"""The softmax unit: every spelling is one, its input the unshifted logit; and its Taylor rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import formulas, spellings
from support import ledgers
from support.networks import close, normal
from support.planning import kinds, units

from lrpjax import audit, lrp, rules, value_and_lrp

X = 2 * normal(*spellings.SHAPE, seed=741)
X[0, 1, 2] = 0.0
C = normal(*spellings.SHAPE, seed=742)  # relevance starts with the weights times these

#: name -> (function, axes, mask)
CASES = {
    **{name: (f, -1, True) for name, f in spellings.PLAIN.items()},
    **{f"axes: {name}": (f, axes, True) for name, (f, axes) in spellings.AXES.items()},
    **{f"mask: {name}": (f, -1, keep) for name, (f, keep) in spellings.MASKED.items()},
    **{f"added: {name}": (f, -1, keep) for name, (f, keep) in spellings.ADDED.items()},
}


def every_spelling(x):
    return {name: f(x) for name, (f, _, _) in CASES.items()}


@pytest.fixture(scope="module")
def explained():
    """The weights and the relevance by every spelling, in one compiled program."""

    @jax.jit
    def explain(x):
        start = lambda s: s * C
        return {name: value_and_lrp(f)(x, target=start) for name, (f, _, _) in CASES.items()}

    with jax.enable_x64(True):
        return jax.device_get(explain(X))


@pytest.mark.smoke
@pytest.mark.parametrize("name", CASES)
def test_every_spelling_is_one_unit(name):
    """But for an added mask, which is a shift in front of it."""
    found = units(CASES[name][0], X)
    shifts = ["shift"] if name.startswith("added") else []
    assert [unit.kind for unit in found] == [*shifts, "softmax"]
    assert found[-1].rule == rules.SoftmaxTaylor()


@pytest.mark.parametrize("name", CASES)
def test_the_taylor_rule_is_its_formula(name, explained, x64):
    """In the unshifted logits; masked ones get exactly nothing."""
    _, axes, keep = CASES[name]
    s = formulas.softmax(X, keep, axes)
    weights, relevance = explained[name]
    close(weights, s)
    close(relevance, formulas.softmax_taylor(X, s, s * C, keep, axes))
    assert not relevance[~np.broadcast_to(keep, X.shape)].any()


def test_every_ledger_closes_and_the_remainder_is_the_rules_own(x64):
    """ΣR′ − ΣR, for every spelling, in the order of the program."""
    ledger = audit(every_spelling, None, X, target=lambda out: {n: s * C for n, s in out.items()})
    ledgers.check(ledger, 1e-12)
    rows = [row for row in ledger.rows if row.unit == "softmax"]
    for row, (_, axes, keep) in zip(rows, CASES.values(), strict=True):
        s = formulas.softmax(X, keep, axes)
        given = formulas.softmax_taylor(X, s, s * C, keep, axes)
        assert row.remainder == pytest.approx((s * C).sum() - given.sum(), rel=1e-10)
        assert abs(row.remainder) > 1e-3


def test_the_rule_takes_any_relevance(x64):
    """Also such as isn't a share of the weights."""
    for axes in (-1, 1, (0, 2)):
        s = formulas.softmax(X, True, axes)
        relevance = lrp(lambda x, axes=axes: jax.nn.softmax(x, axes))(X, target=lambda s: C)
        close(relevance, formulas.softmax_taylor(X, s, C, True, axes))


@pytest.mark.parametrize("name", spellings.ALONE)
def test_one_logit_alone_has_no_influence(name, x64):
    """And makes no NaN, in relevance nor in its derivative."""
    f = spellings.ALONE[name]
    close(f(X), np.where(spellings.ONE, 1.0, 0.0))
    relevance = lambda x: lrp(f)(x, target=lambda s: s * C)
    value, back = jax.vjp(relevance, jnp.asarray(X))
    assert np.abs(value).max() < 1e-12
    assert np.isfinite(back(jnp.asarray(C))[0]).all()


def test_equal_logits_and_zeros_make_no_nan(x64):
    for x in (np.zeros_like(X), np.full_like(X, 1e3), np.full_like(X, -1e3)):
        relevance = lrp(jax.nn.softmax)(x, target=lambda s: s * C)
        s = np.full_like(X, 1 / 4)
        expected = formulas.softmax_taylor(x, s, s * C)
        np.testing.assert_allclose(relevance, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_types_are_computed_wide(dtype):
    """What is left is the rounding of the program's own weights, and of the result."""
    x = jnp.asarray(X, dtype)
    functions = {
        "narrow": jax.nn.softmax,
        "cast": lambda x: jax.nn.softmax(x.astype(jnp.float32)).astype(x.dtype),
        "by hand": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
        "log": lambda x: jnp.exp(jax.nn.log_softmax(x)),
    }
    for name, f in functions.items():
        assert kinds(f, x) == ["softmax"], name
        r = f(x) * jnp.asarray(C, dtype)
        relevance = lrp(f)(x, target=lambda s, r=r: r)
        assert relevance.dtype == dtype
        s, r, wide = (np.asarray(a, np.float64) for a in (f(x), r, x))
        error = np.abs(np.asarray(relevance, np.float64) - formulas.softmax_taylor(wide, s, r))
        rounded = np.abs(wide) * (np.abs(r) + s * np.abs(r).sum(-1, keepdims=True))
        assert (error <= 2 * float(jnp.finfo(dtype).eps) * rounded).all(), name
