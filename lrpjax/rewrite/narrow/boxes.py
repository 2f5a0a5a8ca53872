"""Which part of its operands an equation needs for a part of its result.

A part is a :data:`Box`: for each axis, the first index and the one behind the last. What the
table doesn't know needs everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lrpjax.plan.axes import axis_groups
from lrpjax.primitives import Kind, is_registered
from lrpjax.trace import Atom, Call, Equation

Box = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """How an equation computes a part of its result.

    Attributes:
        operands: the part of each operand that it reads.
        params: its parameters then.
    """

    operands: tuple[Box, ...]
    params: Mapping[str, Any]


def whole(shape: tuple[int, ...]) -> Box:
    """All of an array."""
    return tuple((0, size) for size in shape)


def lengths(box: Box) -> tuple[int, ...]:
    """The shape of a part."""
    return tuple(stop - start for start, stop in box)


def hull(a: Box, b: Box) -> Box:
    """The smallest box around two."""
    return tuple((min(s, t), max(e, f)) for (s, e), (t, f) in zip(a, b, strict=True))


def part_of(equation: Equation, box: Box) -> Part | None:
    """How to compute just a part of an equation's one result; None where that isn't known."""
    p = equation.params
    shared = isinstance(equation, Call) or is_registered(equation.name)
    if shared or len(equation.outputs) != 1 or any(p.get(name) for name in _SHARDINGS):
        return None
    if equation.kind in _POINTWISE or equation.name in _CASTS:
        return Part(tuple(_at(atom, box, equation) for atom in equation.inputs), p)
    find = _PARTS.get(equation.name)
    return find(equation, box) if find else None


def _at(atom: Atom, box: Box, equation: Equation) -> Box:
    """The same part of an operand, but for axes that it has at size 1, or not at all."""
    (out,) = equation.outputs
    return tuple(
        span if size == full else (0, size)
        for size, full, span in zip(atom.shape, out.shape, box, strict=False)
    )


def _dot_general(equation: Equation, box: Box) -> Part:
    summed, batch = equation.params["dimension_numbers"]
    shared = len(batch[0])
    spans = iter(box[shared:])
    operands = []
    for atom, on, along in zip(equation.inputs, summed, batch, strict=True):
        part = dict(zip(along, box, strict=False))
        part |= {axis: (0, atom.shape[axis]) for axis in on}
        operands.append(tuple(part[a] if a in part else next(spans) for a in range(atom.ndim)))
    return Part(tuple(operands), equation.params)


def _transpose(equation: Equation, box: Box) -> Part:
    permutation = equation.params["permutation"]
    places = {old: new for new, old in enumerate(permutation)}
    return Part((tuple(box[places[a]] for a in range(len(box))),), equation.params)


def _broadcast_in_dim(equation: Equation, box: Box) -> Part:
    (atom, *_), (out,) = equation.inputs, equation.outputs
    dims = equation.params["broadcast_dimensions"]
    operand = tuple(
        box[dim] if size == out.shape[dim] else (0, size)
        for size, dim in zip(atom.shape, dims, strict=True)
    )
    return Part((operand,), {**equation.params, "shape": lengths(box)})


def _reshape(equation: Equation, box: Box) -> Part | None:
    (atom,), (out,) = equation.inputs, equation.outputs
    operand = list(whole(atom.shape))
    for before, after in axis_groups(atom.shape, out.shape):
        long_before, long_after = (
            [a for a in axes if shape[a] > 1]
            for axes, shape in ((before, atom.shape), (after, out.shape))
        )
        if all(box[a] == (0, out.shape[a]) for a in after):
            continue
        if len(long_before) != 1 or len(long_after) != 1:
            return None  # an axis that is merged with others, or split
        operand[long_before[0]] = box[long_after[0]]
    params = dict(equation.params)
    if "new_sizes" in params:
        params["new_sizes"] = lengths(box)
    return Part((tuple(operand),), params)


def _reduce(equation: Equation, box: Box) -> Part:
    (atom,), axes = equation.inputs, equation.params["axes"]
    spans = iter(box)
    operand = tuple((0, n) if a in axes else next(spans) for a, n in enumerate(atom.shape))
    return Part((operand,), equation.params)


def _slice(equation: Equation, box: Box) -> Part | None:
    p = equation.params
    if p["strides"] is not None or 0 in lengths(box):
        return None
    starts = p["start_indices"]
    operand = tuple(
        (low + start, low + stop) for low, (start, stop) in zip(starts, box, strict=True)
    )
    bounds = {"start_indices": (0,) * len(box), "limit_indices": lengths(box)}
    return Part((operand,), {**p, **bounds})


_POINTWISE = frozenset({Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE, Kind.SELECT})
_CASTS = frozenset({"convert_element_type", "copy", "reduce_precision", "stop_gradient"})
_SHARDINGS = ("sharding", "out_sharding")
_PARTS: Mapping[str, Callable[[Equation, Box], Part | None]] = {
    "dot_general": _dot_general,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "squeeze": _reshape,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "slice": _slice,
}
