"""Computing only what is read: the class token's row of a last block, the last token's logits.

A slice of a result moves in front of the units that make it, as far as they work position by
position. Their rules share relevance position by position too, and to what isn't read there is
none to share: the numbers are the same. Each unit moves as a whole, or stays as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import lax

from lrpjax import rules
from lrpjax.plan.specs import ProductSpec
from lrpjax.plan.units import Plain, Program, Step, Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.narrow.boxes import Box, hull, lengths, part_of, whole
from lrpjax.rewrite.narrow.replace import Replacer, mentioned
from lrpjax.trace import Equation, Value

Boxes = Mapping[Value, Box]

#: The fields of a step that hold values.
_PLAIN: tuple[str, ...] = ("equation",)
_UNIT: tuple[str, ...] = ("equations", "inputs", "outputs", "constants", "spec")


_RULES = f"{rules.__name__}."


@dataclasses.dataclass(frozen=True)
class _Narrow:
    """What of a step's values is computed, and the parameters of its equations then."""

    boxes: Boxes
    params: Mapping[Equation, Mapping[str, Any]]


def narrow(program: Program) -> Program:
    """The program with units that compute only what is read of them.

    Where that spares no product and no convolution, the program as it is.
    """
    wanted = {atom: whole(atom.shape) for atom in program.outputs if isinstance(atom, Value)}
    narrowed: list[_Narrow | None] = []
    for step in reversed(program.steps):
        found = _narrowed(step, wanted)
        for value in step.reads:
            box = found.boxes[value] if found else whole(value.shape)
            wanted[value] = hull(wanted[value], box) if value in wanted else box
        narrowed.append(found)
    if not any(map(_spares, narrowed)):
        return program
    writer = _Writer(wanted)
    for step, found in zip(program.steps, reversed(narrowed), strict=True):
        writer.write(step, found)
    return dataclasses.replace(program, steps=tuple(writer.steps))


def _narrowed(step: Step, wanted: Boxes) -> _Narrow | None:
    """How a step computes only the boxes that are wanted; None where it computes everything."""
    boxes = {value: wanted[value] for value in step.outputs if value in wanted}
    slices = any(equation.name == "slice" for equation in step.equations)
    if not slices and all(box == whole(value.shape) for value, box in boxes.items()):
        return None
    if not isinstance(step, (Unit, Plain)) or (isinstance(step, Unit) and _is_fixed(step)):
        return None
    params = {}
    for equation in reversed(step.equations):
        box = boxes.get(equation.outputs[0]) if len(equation.outputs) == 1 else None
        part = None if box is None else part_of(equation, box)
        if part is None:
            return None
        params[equation] = part.params
        for atom, need in zip(equation.inputs, part.operands, strict=True):
            if isinstance(atom, Value) and boxes.setdefault(atom, need) != need:
                return None  # a slice would come between equations of one unit
    known = {*boxes, *params}
    spec = mentioned(step.spec) if isinstance(step, Unit) else ()
    return _Narrow(boxes, params) if known.issuperset((*step.reads, *step.outputs, *spec)) else None


def _is_fixed(unit: Unit) -> bool:
    """Whether a unit is to stay.

    It is no list of equations; its rule has numbers for each element, or is a user's, which may
    look at all positions; or it is a product of attention: a block's smaller part, whose softmax
    and layouts would be compiled once more than for the other blocks.
    """
    arrays = any(np.ndim(leaf) for leaf in jax.tree.leaves(unit.rule))
    foreign = not type(unit.rule).__module__.startswith(_RULES)
    attention = isinstance(unit.spec, ProductSpec) and unit.spec.bilinear
    listed = bool(unit.equations) and unit.family != "custom" and not unit.sharded
    return arrays or foreign or attention or not listed


def _spares(found: _Narrow | None) -> bool:
    """Whether a product or a convolution became smaller."""
    return found is not None and any(e.kind is Kind.CONTRACTION for e in found.params)


class _Writer:
    """Writes the narrow program, with a slice where a step reads less than is computed."""

    def __init__(self, wanted: Boxes):
        self.wanted = wanted
        self.steps: list[Step] = []
        self.made: dict[Value, Value] = {}
        self.sliced: dict[tuple[Value, Box], Value] = {}

    def write(self, step: Step, found: _Narrow | None) -> None:
        """Append a step, behind the slices that it reads."""
        if found is None or not isinstance(step, (Unit, Plain)):
            self.steps.append(step)  # all that it reads is whole
            return
        values = {value: self.part(value, found.boxes[value], step) for value in step.reads}
        for value, box in found.boxes.items():
            values.setdefault(value, _sized(value, box))
        self.made.update((value, values[value]) for value in step.outputs)
        replaced = Replacer(values, found.params)
        fields = _PLAIN if isinstance(step, Plain) else _UNIT
        self.steps.append(
            dataclasses.replace(step, **{name: replaced(getattr(step, name)) for name in fields})
        )

    def part(self, value: Value, box: Box, step: Unit | Plain) -> Value:
        """A part of a value: what is computed of it, or a slice of that."""
        made, around = self.made.get(value, value), self.wanted[value]
        if made is value:
            around = whole(value.shape)
        if box == around:
            return made
        if (value, box) not in self.sliced:
            part = self.sliced[value, box] = _sized(value, box)
            starts, stops = (
                tuple(edge - first for edge, (first, _) in zip(edges, around, strict=True))
                for edges in zip(*box, strict=True)
            )
            params = {"start_indices": starts, "limit_indices": stops, "strides": None}
            self.steps.append(
                Plain(
                    dataclasses.replace(
                        step.equations[0],
                        primitive=lax.slice_p,
                        inputs=(made,),
                        outputs=(part,),
                        params=params,
                    )
                )
            )
        return self.sliced[value, box]


def _sized(value: Value, box: Box) -> Value:
    """A value for a part of another."""
    return value if box == whole(value.shape) else Value(lengths(box), value.dtype, value.name)
