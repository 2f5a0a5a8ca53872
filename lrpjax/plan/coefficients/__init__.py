"""What a linear program takes of each element of its input, by how far it has moved.

For LRN the Taylor rule needs the diagonal of the linear map inside the normaliser: with what
weight the sum at an element counts that element itself. A value of the program is described by
where the input's elements stand in it: ``{shift: weight}`` says that ``value[o + shift]`` holds
``weight[o] · x[o]``. Windows, pads, slices and cumulative sums move elements; a matrix moves them
anywhere, of which only the diagonal is followed (``complete`` is false then).

Weights are NumPy arrays when a plan is made and may be traced ones when it is run: the same walk
both times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lrpjax.plan.coefficients.factors import is_in_place
from lrpjax.plan.coefficients.layouts import undone
from lrpjax.plan.coefficients.moved import Moved, Unknown
from lrpjax.plan.coefficients.table import TABLE, same
from lrpjax.trace import Atom, Equation, Value

Array = Any

__all__ = ["Moved", "Unknown", "follow", "in_place", "moved", "undone"]


def moved(
    equations: Iterable[Equation],
    sources: Mapping[Value, tuple[int, ...]],
    result: Value,
    constant: Callable[[Atom], Array],
    still: frozenset[Equation] = frozenset(),
) -> Moved:
    """Where the elements of the input stand in a linear program's result.

    Args:
        equations: a linear program, in an order it can be run in.
        sources: the values that hold the input, each with the shape of its layout.
        result: a value of the program, of the input's layout.
        constant: the values of what else the program reads.
        still: equations that move nothing and whose arithmetic doesn't matter.

    Raises:
        Unknown: for a primitive whose movements are not in the table.
    """
    known: dict[Atom, Moved] = {value: Moved.of(shape) for value, shape in sources.items()}
    follow(equations, known, constant, still)
    return in_place(known[result], result.shape)


def follow(
    equations: Iterable[Equation],
    known: dict[Atom, Moved],
    constant: Callable[[Atom], Array],
    still: frozenset[Equation] = frozenset(),
) -> None:
    """Add what stands in the results of equations to what is known of other values."""
    for equation in equations:
        step = same if equation in still else TABLE.get(equation.name)
        if step is None:
            raise Unknown(equation.name)
        mixed = not all(known[a].complete for a in equation.inputs if a in known)
        if mixed and step is not same and equation.name not in _APART:
            # The diagonal of a product of matrices is not the product of their diagonals.
            raise Unknown(f"{equation.name} of what is mixed already")
        known[equation.outputs[0]] = _within(step(equation, known, constant), equation)


#: What keeps elements apart, so that a diagonal stays one.
_APART = frozenset(
    """
    add add_any sub mul div neg convert_element_type copy reduce_precision reshape squeeze
    expand_dims transpose broadcast_in_dim
    """.split()
)


def in_place(moved: Moved, shape: tuple[int, ...]) -> Moved:
    """Refuse what doesn't lie as the input does, for whose elements "the same place" has no sense.

    Raises:
        Unknown: for another layout.
    """
    if moved.extent != shape or not is_in_place(moved.labels, shape, moved.summed):
        raise Unknown("a change of layout")
    return moved


def _within(moved: Moved, equation: Equation) -> Moved:
    """Forget what has left the value: o + shift beyond its shape."""
    shape = equation.outputs[0].shape
    weights = {}
    for shift, weight in moved.weights.items():
        inside = np.ones((1,) * len(shape))
        for axis, (size, length, move) in enumerate(zip(moved.extent, shape, shift, strict=True)):
            position = np.arange(size) + move
            if (position < 0).any() or (position >= length).any():
                mask = (position >= 0) & (position < length)
                inside = inside * mask.reshape(
                    [size if a == axis else 1 for a in range(len(shape))]
                )
        if inside.size > 1 or not inside.all():
            weight = weight * inside
        if not (isinstance(weight, np.ndarray) and not weight.any()):
            weights[shift] = weight
    return dataclasses.replace(moved, weights=weights)
