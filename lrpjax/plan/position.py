"""Where a unit stands in the dataflow: first, last, on the input itself, in front of a relu."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator

from lrpjax.plan.settle import Settled
from lrpjax.plan.units import Child, Program, Unit, map_units
from lrpjax.trace import Atom, TracedFunction, Value


def locate(program: Program, settled: Settled, traced: TracedFunction) -> Program:
    """Number the units and say of each where it stands."""
    facts = settled.facts
    behind: set[Atom] = set()
    _mark_behind_weights(program, behind)
    ahead: set[Atom] = set()
    _mark_weights_ahead(program, ahead)
    direct: set[Atom] = set(traced.explained)
    _mark_direct(program, direct)
    users = _users(program)
    index = {unit: i for i, unit in enumerate(program.units())}

    def place(unit: Unit) -> Unit:
        return dataclasses.replace(
            unit,
            index=index[unit],
            first=_has_weights(unit) and not any(v in behind for v in unit.inputs),
            last=_has_weights(unit) and not any(v in ahead for v in unit.outputs),
            direct=bool(unit.inputs) and all(v in direct for v in unit.inputs),
            rectified=all(facts[v].nonnegative or _is_rectified(v, users) for v in unit.outputs),
        )

    return map_units(program, place)


def _has_weights(unit: Unit) -> bool:
    return unit.kind in ("conv", "dense")


def _mark_behind_weights(program: Program, behind: set[Atom]) -> None:
    """Add the values that a path from the explained input reaches through a layer with weights."""
    for step in program.steps:
        if isinstance(step, Child):
            behind.update(inner for outer, inner in step.entering if outer in behind)
            for _ in _rounds(step, behind):
                for inside in step.programs:
                    _mark_behind_weights(inside, behind)
                behind.update(start for end, start in step.carried if end in behind)
            behind.update(outer for inner, outer in step.leaving if inner in behind)
        elif isinstance(step, Unit) and (
            _has_weights(step) or any(v in behind for v in step.inputs)
        ):
            behind.update(step.outputs)


def _rounds(child: Child, marked: set[Atom]) -> Iterator[None]:
    """Once, and for a loop as often as a round marks more."""
    before = -1
    while len(marked) != before:
        before = len(marked)
        yield
        if not child.carried:
            return


def _mark_weights_ahead(program: Program, ahead: set[Atom]) -> None:
    """Add the values from which a layer with weights is reached."""
    for step in reversed(program.steps):
        if isinstance(step, Child):
            ahead.update(inner for inner, outer in step.leaving if outer in ahead)
            for _ in _rounds(step, ahead):
                for inside in step.programs:
                    _mark_weights_ahead(inside, ahead)
                ahead.update(end for end, start in step.carried if start in ahead)
            ahead.update(outer for outer, inner in step.entering if inner in ahead)
        elif isinstance(step, Unit) and (
            _has_weights(step) or any(v in ahead for v in step.outputs)
        ):
            ahead.update(step.inputs)


def _mark_direct(program: Program, direct: set[Atom]) -> None:
    """Add what is the explained input, only moved or scaled."""
    for step in program.steps:
        if isinstance(step, Child):
            starts = {start for _, start in step.carried}
            entering = (pair for pair in step.entering if pair[1] not in starts)
            direct.update(inner for outer, inner in entering if outer in direct)
            for inside in step.programs:
                _mark_direct(inside, direct)
        elif isinstance(step, Unit) and _is_direct(step, direct):
            direct.update(step.outputs)


def _is_direct(unit: Unit, direct: set[Atom]) -> bool:
    """Whether a unit only moves, casts or scales the explained input itself."""
    moves = unit.kind in ("route", "scale")
    if unit.family == "lookup":
        moves = unit.spec.take.name == "convert_element_type"
    return moves and bool(unit.inputs) and all(v in direct for v in unit.inputs)


def _users(program: Program) -> dict[Atom, list[Unit | None]]:
    """Who uses each value; None for anything but a unit."""
    users: dict[Atom, list[Unit | None]] = defaultdict(list)
    for step in program.steps:
        if isinstance(step, Unit):
            for value in {*step.inputs, *step.constants}:
                users[value].append(step)
        elif isinstance(step, Child):
            for atom in step.inputs:
                users[atom].append(None)
            for inside in step.programs:
                users.update(_users(inside))
    for atom in program.outputs:
        users[atom].append(None)
    return users


def _is_rectified(value: Value, users: dict[Atom, list[Unit | None]]) -> bool:
    """Whether all that a value does is go into functions that are 0 for negative arguments."""
    return bool(users[value]) and all(
        user is not None and _rectifies(user, users) for user in users[value]
    )


def _rectifies(unit: Unit, users: dict[Atom, list[Unit | None]]) -> bool:
    """Whether a unit is such a function, or moves elements to one."""
    if unit.kind == "route":
        return all(_is_rectified(v, users) for v in unit.outputs)
    return unit.family == "elementwise" and unit.spec.rectifies
