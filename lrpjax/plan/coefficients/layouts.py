"""Changes of layout of a value whose elements are followed, and the same changes undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lrpjax.plan.axes import axis_groups
from lrpjax.plan.coefficients.factors import FILLED, Label, split
from lrpjax.plan.coefficients.moved import Moved, Unknown, broadcast
from lrpjax.trace import Equation

RESHAPES = frozenset({"reshape", "squeeze", "expand_dims"})


def transposed(moved: Moved, order: Sequence[int]) -> Moved:
    """With its axes in another order."""
    weights = {
        tuple(s[axis] for axis in order): w if np.ndim(w) == 0 else w.transpose(order)
        for s, w in moved.weights.items()
    }
    return dataclasses.replace(
        moved,
        extent=tuple(moved.extent[axis] for axis in order),
        weights=weights,
        labels=tuple(moved.labels[axis] for axis in order),
    )


def reshaped(moved: Moved, old_shape: tuple[int, ...], new_shape: tuple[int, ...]) -> Moved:
    """Axes may be merged or split where nothing has moved along them."""
    extent = list(new_shape)
    labels: list[Label] = [()] * len(new_shape)
    carried: dict[int, int] = {}  # an axis after → the same axis before
    for group, after in axis_groups(old_shape, new_shape):
        before = [a for a in group if old_shape[a] > 1 or moved.extent[a] > 1]
        long = [a for a in after if new_shape[a] > 1] or list(after[:1])
        if len(before) == 1 and len(long) == 1:
            carried[long[0]] = before[0]
            extent[long[0]], labels[long[0]] = moved.extent[before[0]], moved.labels[before[0]]
            continue
        if any(s[a] for s in moved.weights for a in before):
            raise Unknown("reshape")
        shares = split((f for a in before for f in moved.labels[a]), [new_shape[a] for a in long])
        if shares is None or any(moved.extent[a] != old_shape[a] for a in before):
            raise Unknown("reshape")
        for axis, label in zip(long, shares, strict=True):
            labels[axis] = label
    weights = {}
    for shift, weight in moved.weights.items():
        if np.ndim(weight):
            weight = broadcast(weight, moved.extent).reshape(extent)
        target = tuple(shift[carried[a]] if a in carried else 0 for a in range(len(extent)))
        weights[target] = weight
    return dataclasses.replace(moved, extent=tuple(extent), weights=weights, labels=tuple(labels))


def broadcasted(
    moved: Moved, shape: tuple[int, ...], out: tuple[int, ...], dims: Sequence[int]
) -> Moved:
    """New axes, and axes of one element repeated: what was summed over comes back."""
    place = {axis: i for i, axis in enumerate(dims)}
    extent, labels = list(out), []
    for axis, size in enumerate(out):
        i = place.get(axis)
        if i is not None and shape[i] == size:
            extent[axis] = moved.extent[i]
            labels.append(moved.labels[i])
        elif i is not None and (moved.extent[i] > 1 or any(s[i] for s in moved.weights)):
            raise Unknown("broadcast_in_dim of a cut axis")
        else:
            labels.append(((FILLED, 1, size),) if size > 1 else ())
    weights = {}
    for shift, weight in moved.weights.items():
        if np.ndim(weight):
            weight = weight.reshape(
                [weight.shape[place[a]] if a in place else 1 for a in range(len(out))]
            )
        target = tuple(shift[place[a]] if a in place else 0 for a in range(len(out)))
        weights[target] = weight
    return dataclasses.replace(moved, extent=tuple(extent), weights=weights, labels=tuple(labels))


def undone(moved: Moved, equation: Equation) -> Moved:
    """From the layout of a transpose's or a reshape's result back to that of its operand."""
    if equation.name == "transpose":
        return transposed(moved, np.argsort(equation.params["permutation"]).tolist())
    if equation.name in RESHAPES:
        return reshaped(moved, equation.outputs[0].shape, equation.inputs[0].shape)
    return moved
