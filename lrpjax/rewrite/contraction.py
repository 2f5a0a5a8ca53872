"""Contractions as functions: with any weights, with none, and two stacked in one."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from lrpjax.trace import Equation

Array = Any


def contract(core: Equation, lhs: Array, rhs: Array) -> Array:
    """The core's contraction, with the model's precision and accumulation in the wide dtype."""
    p = core.params
    if core.name == "dot_general":
        return lax.dot_general(
            lhs,
            rhs,
            p["dimension_numbers"],
            precision=p["precision"],
            preferred_element_type=lhs.dtype,
            out_sharding=p.get("out_sharding"),
        )
    if is_pointwise(core):
        return _pointwise(core, lhs, rhs)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        p["window_strides"],
        p["padding"],
        p["lhs_dilation"],
        p["rhs_dilation"],
        p["dimension_numbers"],
        p["feature_group_count"],
        p["batch_group_count"],
        precision=p["precision"],
        preferred_element_type=lhs.dtype,
    )


def is_pointwise(core: Equation) -> bool:
    """Whether a convolution is a product at each position: a 1×1 kernel, channels last.

    As a ``dot_general`` its transpose needs no transposed copy of the weights (on CPU up to twice
    as fast at 7×7×2048).
    """
    p, rank = core.params, core.outputs[0].ndim
    numbers, kernel = p["dimension_numbers"], core.inputs[1].shape
    single = all(kernel[axis] == 1 for axis in numbers.rhs_spec[2:])
    groups = (p["feature_group_count"], p["batch_group_count"]) == (1, 1)
    plain = all(low == high == 0 for low, high in p["padding"]) and set(p["lhs_dilation"]) <= {1}
    same = numbers.lhs_spec == numbers.out_spec and numbers.lhs_spec[1] == rank - 1
    return bool(single and groups and plain and same)


def _pointwise(core: Equation, lhs: Array, rhs: Array) -> Array:
    p, numbers = core.params, core.params["dimension_numbers"]
    strides = dict(zip(numbers.lhs_spec[2:], p["window_strides"], strict=True))
    taken = lhs[tuple(slice(None, None, strides.get(axis, 1)) for axis in range(lhs.ndim))]
    matrix = jnp.squeeze(rhs, numbers.rhs_spec[2:])
    contracted = int(numbers.rhs_spec[1] > numbers.rhs_spec[0])
    return lax.dot_general(
        taken,
        matrix,
        (((lhs.ndim - 1,), (contracted,)), ((), ())),
        precision=p["precision"],
        preferred_element_type=lhs.dtype,
    )


def count_dot(core: Equation, operand: int, x: Array) -> Array:
    """A product with weights of one: a sum, at size 1 along the weights' own axes."""
    contract, batch = core.params["dimension_numbers"]
    free = [a for a in range(x.ndim) if a not in (*contract[operand], *batch[operand])]
    order = [*batch[operand], *free]
    summed = jnp.sum(x.transpose([*order, *contract[operand]]), tuple(range(len(order), x.ndim)))
    ours = len(batch[0])
    others = core.outputs[0].ndim - len(order)
    first = ours + (len(free) if operand == 0 else 0)
    return jnp.expand_dims(summed, tuple(range(first, first + others)))


def count_conv(core: Equation, operand: int, x: Array) -> Array:
    """A convolution with weights of one: one channel a group, at size 1 where all outputs share."""
    p = core.params
    numbers, groups = p["dimension_numbers"], p["feature_group_count"]
    axis, kernel = numbers.lhs_spec[1], list(core.inputs[1].shape)
    split = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    channels = jnp.sum(x.reshape(split), axis + 1)
    kernel[numbers.rhs_spec[0]], kernel[numbers.rhs_spec[1]] = groups, 1
    counts = contract(core, channels, jnp.ones(kernel, x.dtype))
    out_axis = numbers.out_spec[1]
    repeats = core.outputs[0].shape[out_axis] // groups
    if groups == 1 or repeats == 1:
        return counts
    wide = jnp.expand_dims(counts, out_axis + 1)
    shape = (*counts.shape[: out_axis + 1], repeats, *counts.shape[out_axis + 1 :])
    return jnp.broadcast_to(wide, shape).reshape(
        *counts.shape[:out_axis], groups * repeats, *counts.shape[out_axis + 1 :]
    )


def stack(a: Array, b: Array, axis: int, groups: int) -> Array:
    """Concatenate along an axis, group by group."""
    shape = a.shape
    split = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    stacked = jnp.concatenate([a.reshape(split), b.reshape(split)], axis + 1)
    return stacked.reshape(*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])


def unstack(both: Array, axis: int, groups: int) -> tuple[Array, Array]:
    """Undo :func:`stack`."""
    shape = both.shape
    n = shape[axis] // 2
    split = both.reshape(*shape[:axis], groups, 2, n // groups, *shape[axis + 1 :])
    half = (*shape[:axis], n, *shape[axis + 1 :])
    a, b = (lax.index_in_dim(split, i, axis + 1, keepdims=False) for i in (0, 1))
    return a.reshape(half), b.reshape(half)


def sum_to(c: Array, shape: tuple[int, ...]) -> Array:
    """Sum along the axes that a smaller shape has at size 1."""
    axes = tuple(i for i, (n, m) in enumerate(zip(c.shape, shape, strict=True)) if n != m)
    return jnp.sum(c, axes, keepdims=True) if axes else c
