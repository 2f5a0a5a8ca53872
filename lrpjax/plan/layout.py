"""Where the axes of a linear core go: to its weights, and through the changes of layout behind it.

The functions work on shapes when a plan is made (NumPy arrays of ones) and on traced arrays when
it is run: the same walk both times.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from lrpjax.plan.axes import axis_groups
from lrpjax.plan.specs import Fold
from lrpjax.trace import Equation


def squash(array: Any, varies: frozenset[int]) -> Any:
    """Keep one element along each axis on which a constant doesn't vary."""
    index = tuple(slice(None) if axis in varies else slice(0, 1) for axis in range(array.ndim))
    return array[index]


def pull(array: Any, equation: Equation) -> Any:
    """Move an array from behind a change of layout to in front of it.

    ``array`` may have size 1 on any axis of the layout's output; scalars stay what they are.
    """
    if array.ndim == 0:
        return array
    if equation.name == "transpose":
        return array.transpose(_inverse(equation))
    before, after = equation.inputs[0].shape, equation.outputs[0].shape
    wide, shape = list(array.shape), [1] * len(before)
    for old, new in axis_groups(before, after):
        if any(array.shape[axis] > 1 for axis in new):
            for axis in new:
                wide[axis] = after[axis]
            for axis in old:
                shape[axis] = before[axis]
    library = np if isinstance(array, np.ndarray) else jnp
    return library.broadcast_to(array, wide).reshape(shape)


def _inverse(equation: Equation) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argsort(equation.params["permutation"]))


def to_core(array: Any, folds: tuple[Fold, ...]) -> Any:
    """Move an array from behind a chain of folds to the layout of the core's own output."""
    for fold in reversed(folds):
        if fold.is_layout:
            array = pull(array, fold.equation)
    return array


@dataclasses.dataclass(frozen=True)
class CoreAxes:
    """What the axes of a linear core mean.

    Attributes:
        features: axis of the core's output → axis of its weights, for output features.
        batch: axes of the input along which the map is the same, and apart.
        contraction: one axis of the input and of the weights that is summed over, or None.
        groups: blocks of the contraction axis that belong to different output features.
    """

    features: dict[int, int]
    batch: tuple[int, ...]
    contraction: tuple[int, int] | None = None
    groups: int = 1


def core_axes(core: Equation, operand: int) -> CoreAxes:
    """The meaning of the axes of a core whose dependent input is ``operand``."""
    return _AXES.get(core.name, _no_axes)(core, operand)


def _dot_axes(core: Equation, operand: int) -> CoreAxes:
    contract, batch = core.params["dimension_numbers"]
    weights = 1 - operand
    free = [
        [a for a in range(atom.ndim) if a not in contract[i] and a not in batch[i]]
        for i, atom in enumerate(core.inputs)
    ]
    offset = len(batch[0]) + (len(free[0]) if weights == 1 else 0)
    features = dict(enumerate(batch[weights]))
    features.update({offset + i: axis for i, axis in enumerate(free[weights])})
    pair = (contract[operand][0], contract[weights][0]) if contract[0] else None
    return CoreAxes(features, tuple(free[operand]), pair)


def _conv_axes(core: Equation, operand: int) -> CoreAxes:
    numbers, groups = core.params["dimension_numbers"], core.params["feature_group_count"]
    if operand != 0 or core.params["batch_group_count"] != 1:
        return CoreAxes({}, ())
    return CoreAxes(
        {numbers.out_spec[1]: numbers.rhs_spec[0]},
        (numbers.lhs_spec[0],),
        (numbers.lhs_spec[1], numbers.rhs_spec[1]),
        groups,
    )


def _reduce_axes(core: Equation, operand: int) -> CoreAxes:
    axes = core.params.get("axes", ())
    return CoreAxes({}, tuple(a for a in range(core.inputs[0].ndim) if a not in axes))


def _cumsum_axes(core: Equation, operand: int) -> CoreAxes:
    axis = core.params["axis"]
    return CoreAxes({}, tuple(a for a in range(core.inputs[0].ndim) if a != axis))


def _window_axes(core: Equation, operand: int) -> CoreAxes:
    p = core.params
    settings = zip(
        p["window_dimensions"], p["window_strides"], p["padding"], p["base_dilation"], strict=True
    )
    apart = [i for i, s in enumerate(settings) if s == (1, 1, (0, 0), 1)]
    return CoreAxes({}, tuple(apart))


def _no_axes(core: Equation, operand: int) -> CoreAxes:
    return CoreAxes({}, ())


_AXES = {
    "dot_general": _dot_axes,
    "conv_general_dilated": _conv_axes,
    "reduce_sum": _reduce_axes,
    "cumsum": _cumsum_axes,
    "reduce_window_sum": _window_axes,
}
