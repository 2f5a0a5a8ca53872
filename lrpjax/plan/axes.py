"""Axes: along which a constant's elements may differ, and which axes a reshape groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lrpjax.primitives import Kind
from lrpjax.trace import Equation, Value

_SAME_AXES = frozenset({Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE, Kind.SELECT})
_CASTS = frozenset(
    "convert_element_type copy reduce_precision stop_gradient psum psum_invariant pvary".split()
)


def sized_axes(shape: tuple[int, ...]) -> frozenset[int]:
    """The axes with more than one element."""
    return frozenset(axis for axis, size in enumerate(shape) if size > 1)


def varying_axes(
    equation: Equation, operands: Sequence[frozenset[int]], out: Value
) -> frozenset[int]:
    """The axes along which an output may differ; all of them where the table says nothing."""
    everywhere = sized_axes(out.shape)
    if equation.kind in _SAME_AXES or equation.name in _CASTS:
        return everywhere & frozenset().union(*operands)
    mapper = _AXES.get(equation.name)
    return everywhere & mapper(equation, operands) if mapper else everywhere


def _broadcast_axes(equation: Equation, operands: Sequence[frozenset[int]]) -> frozenset[int]:
    dims = equation.params["broadcast_dimensions"]
    return frozenset(dims[axis] for axis in operands[0])


def _transpose_axes(equation: Equation, operands: Sequence[frozenset[int]]) -> frozenset[int]:
    permutation = equation.params["permutation"]
    return frozenset(new for new, old in enumerate(permutation) if old in operands[0])


def _reshape_axes(equation: Equation, operands: Sequence[frozenset[int]]) -> frozenset[int]:
    old, new = equation.inputs[0].shape, equation.outputs[0].shape
    varies: set[int] = set()
    for before, after in axis_groups(old, new):
        if operands[0] & set(before):
            varies.update(after)
    return frozenset(varies)


_AXES: Mapping[str, Callable[[Equation, Sequence[frozenset[int]]], frozenset[int]]] = {
    "broadcast_in_dim": _broadcast_axes,
    "transpose": _transpose_axes,
    "reshape": _reshape_axes,
    "squeeze": _reshape_axes,
    "expand_dims": _reshape_axes,
}


def axis_groups(
    old: tuple[int, ...], new: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Split a reshape into the smallest runs of axes that hold the same elements.

    Example:
        >>> axis_groups((2, 6, 5), (2, 2, 3, 5))
        [((0,), (0,)), ((1,), (1, 2)), ((2,), (3,))]
    """
    if 0 in old:
        return [(tuple(range(len(old))), tuple(range(len(new))))]
    groups = []
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j, left, right = i, j, 1, 1
        while (i == start_i and j == start_j) or left != right:
            if (
                i < len(old)
                and (left <= right or j >= len(new))
                and not (left == right and j > start_j)
            ):
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        groups.append((tuple(range(start_i, i)), tuple(range(start_j, j))))
    return groups
