"""How each linear primitive moves the elements of its input: the table of :mod:`.coefficients`.

A value is described by where the input's elements stand in it; a function here gives the
description of an equation's result from those of its operands.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lrpjax.plan.coefficients.factors import FILLED
from lrpjax.plan.coefficients.layouts import RESHAPES, broadcasted, reshaped, transposed
from lrpjax.plan.coefficients.moved import Moved, Shift, Unknown
from lrpjax.trace import Atom, Equation

Array = Any
Known = Mapping[Atom, Moved]
Constant = Callable[[Atom], Array]


def _moving(equation: Equation, known: Known) -> Moved:
    return next(known[atom] for atom in equation.inputs if atom in known)


def same(equation: Equation, known: Known, constant: Constant) -> Moved:
    """Every element stays, with the weight it had."""
    return _moving(equation, known)


def _sum(equation: Equation, known: Known, constant: Constant) -> Moved:
    """A sum or a difference; a constant beside it can only be zero."""
    parts: list[tuple[Shift, Array]] = []
    for position, atom in enumerate(equation.inputs):
        if atom in known:
            sign = -1.0 if equation.name == "sub" and position == 1 else 1.0
            parts += [(s, sign * w) for s, w in known[atom].weights.items()]
    return _alike([known[a] for a in equation.inputs if a in known]).having(parts)


def _alike(several: list[Moved]) -> Moved:
    """One of several, all of the same layout."""
    first = several[0]
    for other in several[1:]:
        same_layout = (other.extent, other.labels) == (first.extent, first.labels)
        if not same_layout or other.summed != first.summed:
            raise Unknown("a sum of different layouts")
    return dataclasses.replace(first, complete=all(one.complete for one in several))


def _scale(equation: Equation, known: Known, constant: Constant) -> Moved:
    if equation.name == "neg":
        return _moving(equation, known).times(-1.0)
    factor = constant(next(a for a in equation.inputs if a not in known))
    return _moving(equation, known).times(1 / factor if equation.name == "div" else factor)


def _transpose(equation: Equation, known: Known, constant: Constant) -> Moved:
    return transposed(_moving(equation, known), equation.params["permutation"])


def _reshape(equation: Equation, known: Known, constant: Constant) -> Moved:
    return reshaped(_moving(equation, known), equation.inputs[0].shape, equation.outputs[0].shape)


def _broadcast_in_dim(equation: Equation, known: Known, constant: Constant) -> Moved:
    dims, shape = equation.params["broadcast_dimensions"], equation.inputs[0].shape
    return broadcasted(_moving(equation, known), shape, equation.outputs[0].shape, dims)


def _pad(equation: Equation, known: Known, constant: Constant) -> Moved:
    moved, config = _moving(equation, known), equation.params["padding_config"]
    if any(interior for _, _, interior in config):
        raise Unknown("pad with gaps")
    return _shifted(moved, tuple(int(low) for low, _, _ in config))


def _shifted(moved: Moved, by: Shift) -> Moved:
    return moved.having(
        (tuple(map(sum, zip(s, by, strict=True))), w) for s, w in moved.weights.items()
    )


def _slice(equation: Equation, known: Known, constant: Constant) -> Moved:
    if any(n != 1 for n in equation.params["strides"] or ()):
        raise Unknown("slice with strides")
    return _shifted(_moving(equation, known), tuple(-n for n in equation.params["start_indices"]))


def _window(equation: Equation, known: Known, constant: Constant) -> Moved:
    moved, p = _moving(equation, known), equation.params
    if any(n != 1 for n in (*p["window_strides"], *p["base_dilation"])):
        raise Unknown("reduce_window_sum with strides")
    offsets = _offsets(p["window_dimensions"], p["window_dilation"], [l for l, _ in p["padding"]])
    parts = [
        (tuple(a + b for a, b in zip(s, offset, strict=True)), w)
        for s, w in moved.weights.items()
        for offset in offsets
    ]
    return moved.having(parts)


def _offsets(sizes: Any, dilations: Any, low: Any) -> list[Shift]:
    """How far an element is from each window that holds it: window p sums p − low + t·dilation."""
    axes = [
        [pad - t * step for t in range(size)]
        for size, step, pad in zip(sizes, dilations, low, strict=True)
    ]
    return list(itertools.product(*axes))


def _cumsum(equation: Equation, known: Known, constant: Constant) -> Moved:
    moved, axis = _moving(equation, known), equation.params["axis"]
    length, size = equation.outputs[0].shape[axis], moved.extent[axis]
    step = -1 if equation.params["reverse"] else 1
    parts = []
    for shift, weight in moved.weights.items():
        end = -size if step < 0 else length
        for moved_to in range(shift[axis], end, step):
            parts.append(((*shift[:axis], moved_to, *shift[axis + 1 :]), weight))
    return moved.having(parts)


def _dot(equation: Equation, known: Known, constant: Constant) -> Moved:
    """One axis through a matrix: what has not moved stays on the matrix's diagonal."""
    position = next(i for i, atom in enumerate(equation.inputs) if atom in known)
    moved = _moving(equation, known)
    contract, batch = equation.params["dimension_numbers"]
    matrix = equation.inputs[1 - position]
    if len(contract[0]) != 1 or batch[0] or matrix.ndim != 2:
        raise Unknown("dot_general over several axes")
    axis, w_axis = contract[position][0], contract[1 - position][0]
    if any(s[axis] for s in moved.weights) or moved.extent[axis] != matrix.shape[1 - w_axis]:
        raise Unknown("dot_general of moved elements")
    diagonal_of = constant(matrix).diagonal()
    rest = [a for a in range(len(moved.extent)) if a != axis]
    order = [*rest, axis] if position == 0 else [axis, *rest]
    shape = [moved.extent[a] if a == axis else 1 for a in order]
    weights = {}
    for shift, weight in moved.weights.items():
        moved_weight = weight if np.ndim(weight) == 0 else weight.transpose(order)
        weights[tuple(shift[a] for a in order)] = moved_weight * diagonal_of.reshape(shape)
    return dataclasses.replace(
        moved,
        extent=tuple(moved.extent[a] for a in order),
        weights=weights,
        labels=tuple(moved.labels[a] for a in order),
        complete=moved.complete and matrix.shape == (1, 1),
    )


def _conv(equation: Equation, known: Known, constant: Constant) -> Moved:
    """Windows by the kernel's elements; features by its diagonal, or each by its own kernel."""
    moved, p = _moving(equation, known), equation.params
    numbers, groups = p["dimension_numbers"], p["feature_group_count"]
    kernel = equation.inputs[1]
    out_features, in_features = (kernel.shape[a] for a in numbers.rhs_spec[:2])
    plain = all(n == 1 for n in (*p["window_strides"], *p["lhs_dilation"], p["batch_group_count"]))
    square = out_features == in_features * groups and (groups == 1 or in_features == 1)
    features = numbers.lhs_spec[1]
    same = numbers.lhs_spec == numbers.out_spec and moved.extent[features] == out_features
    still = not any(s[features] for s in moved.weights)
    if equation.inputs[0] not in known or not (plain and square and same and still):
        raise Unknown("conv_general_dilated of this form")
    spatial = numbers.lhs_spec[2:]
    sizes = [kernel.shape[a] for a in numbers.rhs_spec[2:]]
    w = constant(kernel).transpose(numbers.rhs_spec)  # out, in, spatial
    own = np.arange(out_features)
    parts = []
    for place in itertools.product(*map(range, sizes)):
        at = w[(slice(None), slice(None), *place)]
        weight = at[own, own if groups == 1 else np.zeros_like(own)]
        shape = [out_features if a == features else 1 for a in range(len(moved.extent))]
        move = [0] * len(moved.extent)
        for axis, t, step, (low, _) in zip(
            spatial, place, p["rhs_dilation"], p["padding"], strict=True
        ):
            move[axis] = low - t * step
        for shift, before in moved.weights.items():
            target = tuple(a + b for a, b in zip(shift, move, strict=True))
            parts.append((target, before * weight.reshape(shape)))
    whole = in_features == 1 and (groups > 1 or out_features == 1)
    return dataclasses.replace(moved.having(parts), complete=moved.complete and whole)


def _reduce_sum(equation: Equation, known: Known, constant: Constant) -> Moved:
    """Over whole axes; or where the input had one element, stacked slices that are added up."""
    moved, axes = _moving(equation, known), equation.params["axes"]
    rest = [a for a in range(len(moved.extent)) if a not in axes]
    whole = [a for a in axes if moved.extent[a] > 1]
    for axis in whole:
        varies = any(np.ndim(w) and w.shape[axis] > 1 for w in moved.weights.values())
        if varies or any(s[axis] for s in moved.weights):
            raise Unknown("reduce_sum of weighted or moved elements")
        if any(factor[0] == FILLED for factor in moved.labels[axis]):
            raise Unknown("reduce_sum of copies")
    left = dataclasses.replace(
        moved,
        extent=tuple(moved.extent[a] for a in rest),
        labels=tuple(moved.labels[a] for a in rest),
        complete=moved.complete and not whole,
        summed=moved.summed.union(factor for a in whole for factor in moved.labels[a]),
    )
    return left.having(
        (tuple(s[a] for a in rest), w if np.ndim(w) == 0 else w.squeeze(tuple(axes)))
        for s, w in moved.weights.items()
    )


def _concatenate(equation: Equation, known: Known, constant: Constant) -> Moved:
    """Zeros beside a value, or slices along an axis where the input has one element."""
    axis, start = equation.params["dimension"], 0
    several: list[Moved] = []
    for atom in equation.inputs:
        if atom in known:
            move = tuple(start if a == axis else 0 for a in range(atom.ndim))
            several.append(_shifted(known[atom], move))
        start += atom.shape[axis]
    return _alike(several).having(part for one in several for part in one.weights.items())


def _stack(equation: Equation, known: Known, constant: Constant) -> Moved:
    """Values side by side along a new axis, where the input has one element."""
    axis = equation.params["axis"]
    several = [
        _with_axis(known[atom], axis, place)
        for place, atom in enumerate(equation.inputs)
        if atom in known
    ]
    return _alike(several).having(part for one in several for part in one.weights.items())


def _with_axis(moved: Moved, axis: int, place: int) -> Moved:
    """Put at a place along a new axis of one element."""
    weights = {}
    for s, w in moved.weights.items():
        wide = w if np.ndim(w) == 0 else w.reshape((*w.shape[:axis], 1, *w.shape[axis:]))
        weights[(*s[:axis], place, *s[axis:])] = wide
    return dataclasses.replace(
        moved,
        extent=(*moved.extent[:axis], 1, *moved.extent[axis:]),
        weights=weights,
        labels=(*moved.labels[:axis], (), *moved.labels[axis:]),
    )


TABLE: dict[str, Callable[[Equation, Known, Constant], Moved]] = {
    **dict.fromkeys(["add", "add_any", "sub"], _sum),
    **dict.fromkeys(["mul", "div", "neg"], _scale),
    **dict.fromkeys(["convert_element_type", "copy", "reduce_precision", "abs"], same),
    **dict.fromkeys(RESHAPES, _reshape),
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast_in_dim,
    "pad": _pad,
    "slice": _slice,
    "reduce_window_sum": _window,
    "cumsum": _cumsum,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "reduce_sum": _reduce_sum,
    "concatenate": _concatenate,
    "stack": _stack,
}
