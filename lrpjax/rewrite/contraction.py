"""Contractions as functions: with any weights, with none, and two stacked in one."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from lrpjax import _compat
from lrpjax.trace import Equation

Array = Any


def contract(core: Equation, lhs: Array, rhs: Array) -> Array:
    """The core's contraction, with the model's precision and accumulation in the wide dtype."""
    p = core.params
    if core.name == "dot_general" and _is_dense(core, lhs, rhs):
        return _dense(core, lhs, rhs)
    if core.name == "dot_general":
        return lax.dot_general(
            lhs,
            rhs,
            p["dimension_numbers"],
            precision=p["precision"],
            preferred_element_type=lhs.dtype,
            out_sharding=p.get("out_sharding"),
        )
    if has_lone_windows(core):
        return _lone_windows(core, lhs, rhs)
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


def _is_dense(core: Equation, lhs: Array, rhs: Array) -> bool:
    """Whether a product is one of rows with a matrix of weights, written with more axes than two.

    The heads of attention have axes of their own: (features, heads, width) in front of them,
    (heads, width, features) behind. XLA copies such weights before it multiplies with their
    transpose; a matrix it does not.
    """
    ((on_lhs, on_rhs), (batch, _)) = core.params["dimension_numbers"]
    n = len(on_lhs)
    rows = tuple(on_lhs) == tuple(range(lhs.ndim - n, lhs.ndim))
    matrix = tuple(on_rhs) == tuple(range(n)) and rhs.ndim > 2
    return rows and matrix and not batch and not any(map(_compat.has_sharding, (lhs, rhs)))


def _dense(core: Equation, lhs: Array, rhs: Array) -> Array:
    n = len(core.params["dimension_numbers"][0][0])
    free = lhs.shape[: lhs.ndim - n], rhs.shape[n:]
    summed = math.prod(rhs.shape[:n])
    product = lax.dot_general(
        lhs.reshape(*free[0], summed),
        rhs.reshape(summed, math.prod(free[1])),
        (((len(free[0]),), (0,)), ((), ())),
        precision=core.params["precision"],
        preferred_element_type=lhs.dtype,
    )
    return product.reshape(*free[0], *free[1])


def has_lone_windows(core: Equation) -> bool:
    """Whether a convolution's windows don't overlap, a 1×1 kernel's say, with channels last.

    It is a ``dot_general`` then, whose transpose needs no transposed copy of the weights (on CPU
    up to twice as fast at 7×7×2048) and no zeros between the positions of a stride (a Vision
    Transformer's patches: twenty times).
    """
    p, rank = core.params, core.outputs[0].ndim
    numbers, kernel = p["dimension_numbers"], core.inputs[1].shape
    sizes = (kernel[axis] for axis in numbers.rhs_spec[2:])
    lone = all(size <= step for size, step in zip(sizes, p["window_strides"], strict=True))
    groups = (p["feature_group_count"], p["batch_group_count"]) == (1, 1)
    padded = any(low or high for low, high in p["padding"])
    dilated = {*p["lhs_dilation"], *p["rhs_dilation"]} - {1}
    same = numbers.lhs_spec == numbers.out_spec and numbers.lhs_spec[1] == rank - 1
    return bool(lone and groups and same and not padded and not dilated)


def _lone_windows(core: Equation, lhs: Array, rhs: Array) -> Array:
    p, numbers = core.params, core.params["dimension_numbers"]
    outputs, inputs, *spatial = numbers.rhs_spec
    if all(rhs.shape[axis] == 1 for axis in spatial):
        matrix, contracted = jnp.squeeze(rhs, spatial), int(inputs > outputs)
    else:
        matrix = rhs.transpose(*spatial, inputs, outputs).reshape(-1, rhs.shape[outputs])
        contracted = 0
    return lax.dot_general(
        _windows(core, lhs),
        matrix,
        (((lhs.ndim - 1,), (contracted,)), ((), ())),
        precision=p["precision"],
        preferred_element_type=lhs.dtype,
    )


def _windows(core: Equation, x: Array) -> Array:
    """What each window holds, in the order of the kernel's spatial axes, where channels stand."""
    numbers, kernel = core.params["dimension_numbers"], core.inputs[1].shape
    sizes = {
        axis: (core.outputs[0].shape[axis], step, kernel[of])
        for axis, of, step in zip(
            numbers.lhs_spec[2:], numbers.rhs_spec[2:], core.params["window_strides"], strict=True
        )
    }
    for axis in sorted(sizes, reverse=True):  # the axes in front keep their places
        count, step, size = sizes[axis]
        if size == 1:
            x = lax.slice_in_dim(x, 0, (count - 1) * step + 1, step, axis)
            x = jnp.expand_dims(x, axis + 1)
            continue
        config = [(0, count * step - n if a == axis else 0, 0) for a, n in enumerate(x.shape)]
        x = lax.pad(x, jnp.zeros((), x.dtype), config)
        x = x.reshape(*x.shape[:axis], count, step, *x.shape[axis + 1 :])
        x = lax.slice_in_dim(x, 0, size, axis=axis + 1)
    order = sorted(sizes)
    within = [axis + order.index(axis) + 1 for axis in numbers.lhs_spec[2:]]
    outside = [axis for axis in range(x.ndim - 1) if axis not in within]
    x = x.transpose(*outside, *within, x.ndim - 1)
    return x.reshape(*x.shape[: len(outside)], -1)


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
