"""What a unit is: a group of equations that gets one rule; and programs made of units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lrpjax.trace import Atom, Call, Equation, Region, Value


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Unit:
    """A group of equations that gets one rule.

    Attributes:
        layer: its name, as patterns match it.
        kind: the keyword of :class:`lrpjax.Composite` that gives it a rule, or "route", "stop",
            "custom" (a registered relevance function) or "unsupported" (the generic fallback).
        family: the method of a rule that serves it.
        equations: in the order of the program.
        inputs: the operands that relevance goes to.
        constants: all else that the equations read.
        outputs: the live results that are used outside.
        spec: what its family's rules need to know.
        aliases: further names that patterns match: the modules folded in.
        folded: what was folded in, for a person to read.
        index: its place in the plan.
        first: no other layer with weights lies between it and the explained input.
        last: no other layer with weights lies between it and the outputs.
        direct: its input is the explained input, at most moved or scaled.
        rectified: its outputs are not negative, or go into functions that are 0 there.
        weighs: its outputs multiply other dependent values.
        loops: how often the loops run that it stands in, the outermost first.
        sharded: it runs on each device of a ``shard_map`` with its part.
        rule: the rule it gets.
        reason: why that rule, and whether it can blow relevance up.
    """

    layer: str
    kind: str
    family: str
    equations: tuple[Equation, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    constants: tuple[Value, ...] = ()
    spec: Any = None
    aliases: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    index: int = -1
    first: bool = False
    last: bool = False
    direct: bool = False
    rectified: bool = False
    weighs: bool = False
    loops: tuple[int, ...] = ()
    sharded: bool = False
    rule: Any = None
    reason: str = ""

    def __repr__(self) -> str:
        return f"Unit({self.layer!r}, {self.kind}, {self.rule})"

    @property
    def reads(self) -> tuple[Value, ...]:
        """All that it needs to be run."""
        return (*self.inputs, *self.constants)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Plain:
    """An equation that no relevance passes: it is simply computed."""

    equation: Equation

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The one."""
        return (self.equation,)

    @property
    def reads(self) -> tuple[Value, ...]:
        """All that it needs to be run."""
        return free_values((self.equation,))

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Its results."""
        return self.equation.outputs


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Child:
    """Regions within the region: the body of ``remat`` or of a loop, or those of a branch.

    Attributes:
        call: the equation that has the bodies.
        programs: one for each body.
        inputs: its operands; constant ones that relevance reaches inside end in a stop first.
    """

    call: Call
    programs: tuple[Program, ...]
    inputs: tuple[Atom, ...]

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The one, bodies and all."""
        return (self.call,)

    @property
    def reads(self) -> tuple[Value, ...]:
        """All that it needs to be run."""
        return tuple(a for a in self.inputs if isinstance(a, Value))

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Its results."""
        return self.call.outputs

    @property
    def entering(self) -> list[tuple[Atom, Value]]:
        """Each operand with the value that it is inside, in every body."""
        return dataclasses.replace(self.call, inputs=self.inputs).entering

    @property
    def leaving(self) -> list[tuple[Atom, Value]]:
        """Each value that a body ends with, and the result that it is outside."""
        return [pair for p in self.programs for pair in zip(p.outputs, self.outputs, strict=True)]

    @property
    def carried(self) -> list[tuple[Atom, Value]]:
        """What one round of a loop ends with, and the value it is in the next."""
        starts = [start for _, start in self.call.carried]
        return list(zip(self.programs[0].outputs, starts, strict=False))


Step = Unit | Plain | Child


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A region with its equations grouped into steps, in an order they can be run in."""

    region: Region
    steps: tuple[Step, ...]
    outputs: tuple[Atom, ...]

    def units(self) -> tuple[Unit, ...]:
        """All units, those of child regions included, in the order of the program."""
        found: list[Unit] = []
        for step in self.steps:
            if isinstance(step, Unit):
                found.append(step)
            elif isinstance(step, Child):
                found.extend(unit for program in step.programs for unit in program.units())
        return tuple(found)


def map_units(program: Program, function: Callable[[Unit], Unit]) -> Program:
    """Replace every unit of a program, those of child regions included."""

    def replace(step: Step) -> Step:
        if isinstance(step, Unit):
            return function(step)
        if isinstance(step, Child):
            programs = tuple(map_units(program, function) for program in step.programs)
            return dataclasses.replace(step, programs=programs)
        return step

    return dataclasses.replace(program, steps=tuple(map(replace, program.steps)))


def free_values(equations: tuple[Equation, ...]) -> tuple[Value, ...]:
    """The values that equations read and don't make, in the order of their use."""
    made = {out for e in equations for out in e.outputs}
    read = dict.fromkeys(a for e in equations for a in e.inputs if isinstance(a, Value))
    return tuple(value for value in read if value not in made)
