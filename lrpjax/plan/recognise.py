"""From a settled region to a program of units: who gets which equations, and in what order.

The families are tried in a fixed order (``_FAMILIES``); an equation belongs to the first unit
that claims it. An equation on a relevance path that no family claims becomes a unit of the kind
"unsupported", which the plan refuses unless the composite opts into a generic rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp

from lrpjax.plan import (
    affine,
    elementwise,
    lookup,
    normalisation,
    product,
    samples,
    softmax,
    sums,
)
from lrpjax.plan.facts import Facts, State
from lrpjax.plan.graph import Graph
from lrpjax.plan.order import ordered
from lrpjax.plan.specs import AddSpec, EndSpec
from lrpjax.plan.units import Child, Plain, Program, Step, Unit, free_values, map_units
from lrpjax.primitives import Kind, function_of
from lrpjax.trace import Atom, Call, Equation, Region, Value


def recognise(region: Region, facts: Facts, explained: Collection[int]) -> Program:
    """Group a region's equations into units.

    Args:
        region: a settled region.
        facts: of its values.
        explained: which of its outputs relevance may come from.
    """
    graph = Graph(region, facts)
    units: list[Unit] = []
    for family in _FAMILIES:
        for unit in family(graph):
            graph.claim(_private(unit, graph))
            units.append(unit)
    carried = frozenset(v for unit in units for v in unit.inputs)
    steps: list[Step] = [*units]
    for equation in region.equations:
        if not graph.claimed(equation):
            steps += _rest(equation, graph, carried)
    ends, outputs = _end_constant_outputs(region, facts, explained)
    steps += ends
    return Program(region, ordered(steps, region), outputs)


def _private(unit: Unit, graph: Graph) -> list[Equation]:
    """The equations of a unit that no one else computes.

    A comparison, an index, or a mean that is read outside too is computed there as well.
    """
    private: set[Equation] = set()
    for equation in reversed(unit.equations):
        users = (c for out in equation.outputs for c in graph.consumers[out])
        leaves = any(out in graph.leaving for out in equation.outputs)
        inner = not leaves and all(user in private for user in users)
        if inner or any(out in unit.outputs for out in equation.outputs):
            private.add(equation)
    return [e for e in unit.equations if e in private]


def _unit(
    graph: Graph,
    kind: str,
    family: str,
    equations: tuple[Equation, ...],
    inputs: tuple[Value, ...] | None = None,
    outputs: tuple[Value, ...] | None = None,
    spec: Any = None,
) -> Unit:
    """A unit of equations in any order; by default all live values go in and out."""
    equations = tuple(sorted(equations, key=graph.order.__getitem__))
    free = free_values(equations)
    if inputs is None:
        inputs = tuple(v for v in free if graph.facts[v].live)
    if outputs is None:
        outputs = equations[-1].outputs
    constants = tuple(v for v in free if v not in inputs)
    return Unit("", kind, family, equations, inputs, outputs, constants, spec)


# ---------------------------------------------------------------- the families


def _normalisation(graph: Graph) -> Iterator[Unit]:
    for found in normalisation.find(graph):
        yield _unit(
            graph,
            "normalisation",
            "normalisation",
            found.equations,
            (found.x,),
            (found.output,),
            found.spec,
        )


def _softmax(graph: Graph) -> Iterator[Unit]:
    for found in softmax.find(graph):
        ends = (found.x,), (found.output,)
        yield _unit(graph, "softmax", "softmax", found.equations, *ends, found.spec)


def _elementwise(graph: Graph) -> Iterator[Unit]:
    for region in elementwise.find(graph):
        spec = samples.describe(region, graph)
        inputs, outputs = (region.root,), region.outputs
        yield _unit(graph, "elementwise", "elementwise", region.equations, inputs, outputs, spec)


def _product(graph: Graph) -> Iterator[Unit]:
    for core in graph.region.equations:
        if graph.claimed(core) or (spec := product.recognise(core, graph)) is None:
            continue
        operands = tuple(a for a in core.inputs if isinstance(a, Value))
        yield _unit(graph, "product", "product", (core,), operands, core.outputs, spec)


def _lookup(graph: Graph) -> Iterator[Unit]:
    for equation in graph.region.equations:
        if (spec := lookup.recognise(equation, graph)) is not None:
            equations, inputs = (*spec.path, equation), (spec.companion,)
            yield _unit(graph, "route", "lookup", equations, inputs, equation.outputs, spec)


def _affine(graph: Graph) -> Iterator[Unit]:
    for core in graph.region.equations:
        if graph.claimed(core) or (spec := affine.recognise(core, graph)) is None:
            continue
        equations = (*spec.pads, core, *spec.gathers, *(fold.equation for fold in spec.folds))
        start = (spec.pads[0] if spec.pads else core).inputs
        x = start[0 if spec.pads else spec.operand]
        assert isinstance(x, Value), "a live operand is no literal"
        yield _unit(graph, affine.kind_of(spec, graph.facts), "affine", equations, (x,), None, spec)


def _add(graph: Graph) -> Iterator[Unit]:
    for head in reversed(graph.region.equations):
        if graph.claimed(head) or not _touches_live(head, graph):
            continue
        if (found := sums.add(head, graph)) is None:
            continue
        spec, equations = found
        yield _unit(graph, "add", "add", equations, _dependent(spec, graph), head.outputs, spec)


def _dependent(spec: AddSpec, graph: Graph) -> tuple[Value, ...]:
    atoms = (a for _, a in spec.terms if graph.facts[a].state is not State.CONSTANT)
    return tuple(a for a in atoms if isinstance(a, Value))


def _shift(graph: Graph) -> Iterator[Unit]:
    for start in graph.region.equations:
        if graph.claimed(start) or (found := sums.shift(start, graph)) is None:
            continue
        kind, spec = found
        yield _unit(graph, kind, "shift", tuple(f.equation for f in spec.folds), spec=spec)


def _remaining(graph: Graph) -> Iterator[Unit]:
    """One equation each: maxima, routes, stops, registered functions."""
    for equation in graph.region.equations:
        if graph.claimed(equation) or not _touches_live(equation, graph):
            continue
        if function_of(equation.name) is not None:
            yield _unit(graph, "custom", "custom", (equation,))
        elif _is_max(equation):
            yield _unit(graph, "max", "routing", (equation,))
        elif equation.kind in (Kind.ROUTE, Kind.SELECT) and _can_route(equation, graph):
            yield _unit(graph, "route", "routing", (equation,), _carried(equation, graph))


def _touches_live(equation: Equation, graph: Graph) -> bool:
    return any(graph.facts[out].live for out in equation.outputs)


def _is_max(equation: Equation) -> bool:
    return equation.kind is Kind.MAX or equation.name in ("max", "min")


def _can_route(equation: Equation, graph: Graph) -> bool:
    """Indices and predicates must not carry relevance themselves; integers and booleans can't."""
    live = [a for a in equation.inputs if graph.facts[a].live]
    return bool(live) and all(jnp.issubdtype(a.dtype, jnp.floating) for a in live)


def _carried(equation: Equation, graph: Graph) -> tuple[Value, ...]:
    """Live operands, and stopped ones beside them: what reaches those ends there, visibly."""
    dependent = (a for a in equation.inputs if graph.facts[a].state is not State.CONSTANT)
    return tuple(dict.fromkeys(a for a in dependent if isinstance(a, Value) and a.inexact))


_FAMILIES = (
    _normalisation,
    _softmax,
    _elementwise,
    _lookup,
    _product,
    _affine,
    _add,
    _shift,
    _remaining,
)


# ---------------------------------------------------------------- what is left


def _rest(equation: Equation, graph: Graph, carried: frozenset[Value]) -> Iterator[Step]:
    """Constants and stopped values are computed; child regions are entered; the rest is unknown."""
    if _touches_live(equation, graph):
        if isinstance(equation, Call) and not _is_refused(equation):
            yield from _child(equation, graph)
        else:
            yield _unit(graph, "unsupported", "generic", (equation,))
    elif any(out in carried for out in equation.outputs) or _ends_live(equation, graph):
        yield _unit(graph, "stop", "stop", (equation,), ())
    else:
        yield Plain(equation)


def _is_refused(call: Call) -> bool:
    """Whether JAX itself can't differentiate a shard_map, or what it holds is not known."""
    nested = any(e.kind is Kind.MAPPED for body in call.bodies for e in body.equations)
    return call.kind is Kind.MAPPED and (nested or not call.params["check_vma"])


def _child(call: Call, graph: Graph) -> Iterator[Step]:
    """The bodies as programs of their own, after stops for what is a constant only outside."""
    facts = graph.facts
    inputs = list(call.inputs)
    for place, (outer, inner) in enumerate(call.entering[: len(call.body_inputs)]):
        if facts[inner].live and not facts[outer].live and inner.inexact:
            end = _end(outer, "initial carry", facts)
            inputs[call.skipped + place] = end.outputs[0]
            yield end
    starts = [start for _, start in call.carried]
    ends = [*starts, *call.outputs[len(starts) :]]  # a carry goes on to the next round
    live = [
        i
        for i, (out, end) in enumerate(zip(call.outputs, ends, strict=True))
        if facts[out].live or facts[end].live
    ]
    programs = tuple(recognise(body, facts, live) for body in call.bodies)
    programs = tuple(map_units(p, partial(_inside, call)) for p in programs)
    yield Child(call, programs, tuple(inputs))


def _inside(call: Call, unit: Unit) -> Unit:
    """A unit of a child region, which knows of the loops and meshes it stands in."""
    loops = unit.loops if call.length is None else (call.length, *unit.loops)
    sharded = unit.sharded or call.kind is Kind.MAPPED
    return dataclasses.replace(unit, loops=loops, sharded=sharded)


def _end(atom: Atom, label: str, facts: Facts) -> Unit:
    """A stop of its own for a value that relevance reaches and does not pass."""
    end = Value(atom.shape, atom.dtype)
    facts[end] = facts[atom]
    constants = (atom,) if isinstance(atom, Value) else ()
    return Unit("", "stop", "stop", (), (), (end,), constants, EndSpec(label, atom))


def _ends_live(equation: Equation, graph: Graph) -> bool:
    """Whether relevance would pass, were it not a stop, a comparison or an index."""
    ends = equation.kind is Kind.STOP or not any(out.inexact for out in equation.outputs)
    return ends and bool(equation.outputs) and any(graph.facts[a].live for a in equation.inputs)


def _end_constant_outputs(
    region: Region, facts: Facts, explained: Collection[int]
) -> tuple[list[Unit], tuple[Atom, ...]]:
    """Outputs that no relevance passes end in a stop of their own, so that the ledger shows it."""
    ends: list[Unit] = []
    outputs: list[Atom] = []
    for i, atom in enumerate(region.outputs):
        if i in explained and isinstance(atom, Value) and not facts[atom].live:
            ends.append(_end(atom, "output", facts))
            atom = ends[-1].outputs[0]
        outputs.append(atom)
    return ends, tuple(outputs)
