"""Run a planned program so that its cotangents are relevance.

Each unit is a ``custom_vjp``: forward, the model's own primitives; backward, its rule. JAX does
the rest: residuals, the order of the backward pass, sums where a value was used twice, remat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from lrpjax import _compat
from lrpjax.plan.units import Child, Plain, Program, Unit
from lrpjax.primitives import is_registered
from lrpjax.rewrite.alike import Alike
from lrpjax.rewrite.control_flow import enter
from lrpjax.rewrite.probes import Probe, answer
from lrpjax.rewrite.run import bind, read, run
from lrpjax.rewrite.slices import share_in_slices, slices
from lrpjax.rewrite.views import view
from lrpjax.rules import Rule, Stop
from lrpjax.rules.base import Split, saturate, total
from lrpjax.rules.views import at_least_float32 as wide
from lrpjax.trace import Value

Array = Any
Env = dict[Value, Array]


def evaluate(program: Program, env: Mapping[Value, Array], probes: Mapping[int, Probe]) -> list:
    """The outputs of a program; under ``jax.vjp`` their cotangents are shared by the rules.

    Args:
        program: units with their rules.
        env: the values of the region's inputs.
        probes: what each unit takes along, by its index in the plan.
    """
    known = dict(env)
    for step in program.steps:
        match step:
            case Plain():
                plain = bind(step.equation, [read(a, known) for a in step.equation.inputs])
                known.update(zip(step.equation.outputs, plain, strict=True))
            case Child():
                inner = enter(step, known, probes, evaluate)
                known.update(zip(step.outputs, inner, strict=True))
            case Unit():
                results = _unit(step, known, probes.get(step.index, {}))
                known.update(zip(step.outputs, results, strict=True))
    return [read(atom, known) for atom in program.outputs]


def _unit(unit: Unit, env: Env, probe: Probe) -> tuple[Array, ...]:
    """Run a unit; everything its backward pass needs is an argument, so that nothing leaks."""
    inputs = tuple(env[v] for v in unit.inputs)
    constants = tuple(env[v] for v in unit.constants)
    if unit.kind == "stop" and not probe and not _registered(unit):
        return _forward(unit, inputs, constants)  # its own derivative is zero
    return _as_custom_vjp(unit)(unit.rule, inputs, constants, probe)


def _registered(unit: Unit) -> bool:
    """Whether a user said what a primitive of it is: its own derivative is not asked for."""
    return any(is_registered(equation.name) for equation in unit.equations)


def _as_custom_vjp(unit: Unit) -> Any:
    unit = dataclasses.replace(unit, rule=None)  # its numbers may be traced: they are an argument

    @jax.custom_vjp
    def call(rule: Rule, inputs: tuple, constants: tuple, probe: Probe) -> tuple[Array, ...]:
        return _forward(unit, inputs, constants)

    def forward(*arguments: Any) -> tuple[Any, Any]:
        rule, inputs, constants, probe = jax.tree.map(lambda a: a.value, arguments)
        outputs = _forward(unit, inputs, constants)
        return outputs, (rule, inputs, constants, outputs, probe)

    def backward(residuals: Any, relevance: tuple[Any, ...]) -> tuple[Any, ...]:
        rule, inputs, constants, outputs, probe = residuals
        if not probe and (isinstance(rule, Stop) or all(map(_is_nothing, relevance))):
            return None, None, None, None  # nothing in front needs a backward pass
        relevance = tuple(jnp.zeros(r.shape, r.dtype) if _is_nothing(r) else r for r in relevance)
        arrays = (inputs, constants, outputs, relevance)
        if "report" in probe or unit.family == "custom":  # a registered function may change
            given, answers = _shared(unit, rule, *arrays, probe)
        else:
            given, answers = _shared_alike(Alike(unit), rule, *arrays, probe)
        return None, given, None, answers

    call.defvjp(forward, backward, symbolic_zeros=True)
    return call


def _shared(
    unit: Unit,
    rule: Rule,
    inputs: tuple,
    constants: tuple,
    outputs: tuple,
    relevance: tuple,
    probe: Probe,
) -> tuple[tuple[Array | None, ...], dict[str, Any]]:
    """The relevance of a unit's inputs, in their dtypes, and what its probe asks for."""
    env = dict(zip(unit.constants, constants, strict=True))
    env.update(zip(unit.inputs, inputs, strict=True))
    env.update(zip(unit.outputs, outputs, strict=True))
    relevance = tuple(
        saturate(r, v.dtype) if v.inexact else jnp.zeros(v.shape)  # integers carry none
        for r, v in zip(relevance, unit.outputs, strict=True)
    )
    if "report" in probe:  # every column is to sum the very same numbers
        relevance = lax.optimization_barrier(relevance)
    with jax.numpy_dtype_promotion("standard"):  # strict promotion is for the user's own code
        split = share(unit, rule, env, relevance, in_slices="report" not in probe)
    given = tuple(
        None if r is None else _compat.placed_as(saturate(r, x.dtype), x)
        for r, x in zip(split.relevance, inputs, strict=True)
    )
    if "report" in probe:
        given = lax.optimization_barrier(given)
    return given, answer(probe, unit, split, relevance, given)


@partial(jax.jit, static_argnums=0, inline=True)
def _shared_alike(alike: Alike, *arguments: Any) -> Any:
    """The same, traced once for all units that are alike."""
    return _shared(alike.unit, *arguments)


def _is_nothing(relevance: Any) -> bool:
    """Whether it is known, when the program is traced, that no relevance arrives."""
    return isinstance(relevance, SymbolicZero)


def _forward(unit: Unit, inputs: tuple, constants: tuple) -> tuple[Array, ...]:
    env = dict(zip(unit.constants, constants, strict=True))
    env.update(zip(unit.inputs, inputs, strict=True))
    results = run(unit.equations, env)
    if not unit.equations:  # a constant output of the program
        results[unit.outputs[0]] = read(unit.spec.atom, env)
    return tuple(results[v] for v in unit.outputs)


def share(
    unit: Unit, rule: Rule, env: Env, relevance: tuple[Array, ...], in_slices: bool = False
) -> Split:
    """Share the relevance of a unit's outputs among its inputs, by its rule."""
    if isinstance(rule, Stop):
        floats = [wide(r) for r, v in zip(relevance, unit.outputs, strict=True) if v.inexact]
        zeros = tuple(jnp.zeros(v.shape, v.dtype) for v in unit.inputs)
        return Split(zeros, stopped=lambda: sum(map(total, floats)) + 0.0)
    seen, seen_relevance = view(unit, env, relevance)
    formula = getattr(rule, unit.family)
    if in_slices and (number := slices(unit, rule, seen)) > 1:
        return share_in_slices(number, formula, seen, seen_relevance)
    return formula(seen, seen_relevance)
