"""What must hold for every program of covered primitives.

Each property is a function of one :class:`Case`; a broken one raises :class:`AssertionError`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax import lrp, value_and_lrp
from random_programs.build import build
from random_programs.case import ROUNDING, Case, refused
from random_programs.program import Program
from random_programs.reference import Interpreted

#: |R/x| may be this many times what it is at an ordinary input, or than one, and no more.
LARGEST_COEFFICIENT = 1e4
#: A function with f(0) ≠ 0 in single precision: f(x) − f(0) is rounded to more than small inputs.
ROUGH = ("float32", False)


# ---------------------------------------------------------------- the properties


def the_plan_prints(case: Case) -> None:
    """One line for every unit, with its layer and rule."""
    text = str(case.plan)
    assert len(text.splitlines()) >= len(case.plan.units)
    assert all(unit.layer in text and unit.reason for unit in case.plan.units)


def the_ledger_closes(case: Case) -> None:
    """Every unit explains what it took, and the rows add up to what was absorbed.

    Up to the rounding of the largest relevance that the unit, or one between it and the inputs,
    has to do with: where outputs nearly cancel, ε passes on a million times what it got.
    """
    ledger, rounding = case.ledger, ROUNDING[case.program.dtype]
    assert ledger.not_finite == (), f"not finite: {ledger.not_finite}\n{ledger}"
    assert len(ledger.rows) == len(case.plan.units) and str(ledger)
    amplified = sum(np.abs(np.asarray(r, np.float64)).sum() for r in case.result.relevance)
    for row in ledger.rows:  # from the inputs to the outputs: relevance comes the other way
        amplified = max(amplified, *map(abs, dataclasses.astuple(row)[3:]))
        unexplained = f"'{row.layer}' leaves {row.unexplained:.2g} unexplained\n{ledger}"
        assert abs(row.unexplained) <= rounding * amplified, unexplained
    case.notes["ledger error"] = ledger.error
    case.notes["amplified"] = ledger.error > rounding
    apart = abs(sum(row.absorbed for row in ledger.rows) - ledger.absorbed)
    assert apart <= rounding * amplified, f"the rows add up to {apart:.2g} more or less\n{ledger}"


def relevance_is_like_its_inputs(case: Case) -> None:
    """Of their shapes and dtypes, finite, and what the ledger says arrived."""
    relevance = case.result.relevance
    for argnum, r in zip(case.built.argnums, relevance, strict=True):
        x = case.arguments[argnum]
        floating = np.issubdtype(x.dtype, np.floating)
        assert r.shape == x.shape and (not floating or r.dtype == x.dtype)
        assert np.isfinite(r).all(), "relevance is not finite"
    arrived = sum(np.asarray(r, np.float64).sum() for r in relevance)
    assert np.isclose(arrived, case.ledger.inputs, rtol=1e-9, atol=0)


def the_value_is_the_functions_own(case: Case) -> None:
    """Whatever the rules, the outputs are the function's."""
    for got, wanted in zip(
        jax.tree.leaves(case.result.out), jax.tree.leaves(case.own), strict=True
    ):
        got, wanted = np.asarray(got), np.asarray(wanted)
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        assert np.isfinite(wanted).all(), "the function's outputs are not finite"
        size, precision = np.abs(wanted).max(), np.finfo(wanted.dtype).eps
        case.notes["same bits"] = float(np.array_equal(got, wanted))
        assert np.abs(got - wanted).max() <= 100 * precision * max(size, 1.0), "the outputs differ"


def maps_agree_with_loops(case: Case) -> None:
    """`vmap(lrp(f))` on two examples is `lrp(f)` on each, or on their batch."""
    built = case.built
    axes = (0,) * len(built.examples) + (None,) * len(built.extra)
    mapped = Interpreted(jax.jit(jax.vmap(case.one_example, axes)))
    out, relevance = mapped(*built.of(built.examples))
    case.agree(relevance, case.loop, "vmap and loop")
    if built.batched:
        _same_outputs(out, case.own, case.program.dtype)


def _same_outputs(got: Any, wanted: Any, dtype: str) -> None:
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        size = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=size * ROUNDING[dtype])


def what_is_nearly_zero_gets_nearly_nothing(case: Case) -> None:
    """The invariant, where no unit says it breaks it: relevance is the input, times a number.

    A function with f(0) ≠ 0 gives its argument what f(x) − f(0) is worth, and that difference is
    rounded: what this leaves at an input of zero counts as noise, in double precision. Of a
    function with arrays in it the plan doesn't know whether it jumps at zero.
    """
    silent = not any("unbounded" in unit.reason for unit in case.plan.units)
    offsets = [f0 for u in case.plan.units if u.family == "elementwise" for f0 in u.spec.at_zero]
    exact, known = all(f0 == 0 for f0 in offsets), None not in offsets
    if (
        not (silent and known)
        or case.program.target == "one hot"
        or (case.program.dtype, exact) == ROUGH
    ):
        return
    usual, size = _coefficient(case, case.arguments, np.inf)
    noise = 0.0 if exact else 1e-3 * size
    rng, largest = np.random.default_rng((case.program.seed, 2)), 0.0
    for sizes in ((1.0, 1e-3, 1e-9, 0.0), (1e-6, 1e-12, 0.0), (0.0,)):
        points = list(case.arguments)
        for i in case.built.argnums:
            x = points[i]
            if np.issubdtype(x.dtype, np.floating):
                points[i] = (x * rng.choice(sizes, size=x.shape)).astype(x.dtype)
        largest = max(largest, _coefficient(case, tuple(points), noise)[0])
    case.notes["coefficient"] = largest / max(1.0, usual)
    allowed = LARGEST_COEFFICIENT * max(1.0, usual)
    assert largest <= allowed, f"|R/x| is {largest:.3g}, usually {usual:.3g}"


def _coefficient(case: Case, arguments: tuple, noise: float) -> tuple[float, float]:
    """The largest |R/x| and |R|; inputs of zero must get zero."""
    largest = size = 0.0
    for argnum, r in zip(case.built.argnums, case.explain(arguments).relevance, strict=True):
        x, r = np.asarray(arguments[argnum], np.float64), np.abs(np.asarray(r, np.float64))
        if not np.issubdtype(arguments[argnum].dtype, np.floating):
            continue
        assert np.isfinite(r).all(), "relevance of small inputs is not finite"
        size = max(size, r.max(initial=0.0))
        if noise < np.inf:
            r = np.where(r <= noise, 0.0, r)
            assert (r[x == 0] == 0).all(), f"inputs of zero get {r[x == 0].max():.3g}"
        largest = max(largest, (r[x != 0] / np.abs(x[x != 0])).max(initial=0.0))
    return largest, size


# ---------------------------------------------------------------- what costs more


def the_gradient_of_the_value_is_the_functions_own(case: Case) -> None:
    """Also where activations have their kink: some inputs are zero."""
    built, composite = case.built, case.program.composite
    floats = [i for i, x in enumerate(built.examples) if np.issubdtype(x.dtype, np.floating)]
    arguments = list(case.arguments)
    for i in floats:
        arguments[i] = arguments[i].copy()
        arguments[i].flat[::4] = 0.0
    if not floats:
        return

    def total(function):
        return lambda *a: sum(y.sum() for y in jax.tree.leaves(function(*a)))

    own = jax.grad(total(built.function), floats)
    explain = value_and_lrp(built.function, composite, **case.options)
    mine = jax.grad(total(lambda *a: explain(*a, target=case.target)[0]), floats)
    try:
        got, wanted = Interpreted(jax.jit(lambda *a: (mine(*a), own(*a))))(*arguments)
    except NotImplementedError as error:  # nextafter has no derivative
        assert "nextafter" in str(error)
        return
    for a, b in zip(got, wanted, strict=True):
        size = max(1.0, np.abs(np.nan_to_num(b)).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=size * ROUNDING[case.program.dtype] * 10)


def jit_is_eager(case: Case) -> None:
    """Without any compilation or tracing of calls, the same numbers."""
    explain = value_and_lrp(case.built.function, case.program.composite, **case.options)
    with jax.disable_jit():
        out, relevance = explain(*case.arguments, target=case.target)
    _same_outputs(out, case.own, case.program.dtype)
    case.agree(relevance, case.result.relevance, "eager and jitted")


def compiled_is_interpreted(case: Case) -> None:
    """XLA's compiled program gives what the operations mean one by one."""
    explain = value_and_lrp(case.built.function, case.program.composite, **case.options)
    jitted = jax.jit(lambda *a: explain(*a, target=case.target))
    out, relevance = jitted(*case.arguments)
    _same_outputs(out, case.own, case.program.dtype)
    case.agree(relevance, case.result.relevance, "compiled and interpreted")


def relevance_of_a_map_is_the_map_of_relevance(case: Case) -> None:
    """`lrp(vmap(f))` is `vmap(lrp(f))`."""
    built = case.built
    axes = (0,) * len(built.examples) + (None,) * len(built.extra)
    whole = lrp(jax.vmap(built.single, axes), case.program.composite, **case.options)
    target = case.target
    explained = Interpreted(jax.jit(lambda *a: whole(*a, target=target)))
    case.agree(explained(*built.of(built.examples)), case.loop, "lrp(vmap) and vmap(lrp)")


def half_precision_makes_no_nan(case: Case) -> None:
    """In float16 and bfloat16, where a rule's reciprocals are soon out of range."""
    explain = lrp(case.built.function, case.program.composite, **case.options)
    for argnum, r in zip(
        case.built.argnums, explain(*case.arguments, target=case.target), strict=True
    ):
        x = case.arguments[argnum]
        assert r.shape == x.shape
        assert r.dtype == (x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else r.dtype)
        assert not np.isnan(np.asarray(r, np.float32)).any(), "relevance is not a number"


ALWAYS = (
    the_plan_prints,
    the_ledger_closes,
    relevance_is_like_its_inputs,
    the_value_is_the_functions_own,
    maps_agree_with_loops,
    what_is_nearly_zero_gets_nearly_nothing,
)
COSTLY = (
    the_gradient_of_the_value_is_the_functions_own,
    jit_is_eager,
    compiled_is_interpreted,
    relevance_of_a_map_is_the_map_of_relevance,
)


def examine(program: Program, properties=ALWAYS) -> Case:
    """Build a program and check properties of it, in the program's own precision."""
    with jax.enable_x64(program.dtype == "float64"):
        case = Case(program, build(program))
        if refused(case):
            return case
        for check in properties:
            check(case)
    return case
