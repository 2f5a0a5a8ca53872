"""What moves, copies or drops elements, and what ends relevance."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from random_programs.program import size
from random_programs.sums import axis_of


def lead(x, shape):
    """The batch axes in front of an example of a shape."""
    return x.shape[: x.ndim - len(shape)]


def reshape(shape, pick, new):
    """Axes merged, split, swapped, added or dropped."""
    total = size(shape)
    splits = [(total // n, n) for n in (2, 3, 4) if total % n == 0] or [(total,)]
    split = pick(splits)
    functions = [
        lambda p, x: x.reshape(*lead(x, shape), total),
        lambda p, x: x.reshape(*lead(x, shape), *split),
        lambda p, x: jnp.moveaxis(x, -1, -len(shape)),
        lambda p, x: jnp.expand_dims(x, -2),
        lambda p, x: x.reshape(*lead(x, shape), *(n for n in shape if n > 1)),
        lambda p, x: jnp.swapaxes(x, -1, -len(shape)).reshape(*lead(x, shape), total),
    ]
    return pick(functions)


def part(shape, pick, new):
    """Slices, plain, strided, backwards and at a computed place; a split with its parts swapped."""
    axis = axis_of(shape, pick)
    n = shape[axis]
    half = max(1, n // 2)
    start = np.int32(n - half)
    functions = [
        lambda p, x: lax.slice_in_dim(x, 0, half, axis=x.ndim + axis),
        lambda p, x: lax.slice_in_dim(x, n - half, n, axis=x.ndim + axis),
        lambda p, x: lax.slice_in_dim(x, 0, n, 2, axis=x.ndim + axis),
        lambda p, x: jnp.flip(x, axis),
        lambda p, x: lax.dynamic_slice_in_dim(x, start, half, axis=x.ndim + axis),
        lambda p, x: jnp.concatenate(jnp.split(x, [half], axis)[::-1], axis),
        lambda p, x: jnp.roll(x, 1, axis),
    ]
    return pick(functions)


def pad(shape, pick, new):
    """Padding with zeros, another number, inside, negative, or with copies."""
    axis = axis_of(shape, pick)
    edges = lambda x, low, high: [
        (low, high) if i == x.ndim + axis else (0, 0) for i in range(x.ndim)
    ]

    def bare(value, low, high, inside):
        def layer(p, x):
            config = [(*edge, inside * (edge != (0, 0))) for edge in edges(x, low, high)]
            return lax.pad(x, np.asarray(value, x.dtype), config)

        return layer

    functions = [
        lambda p, x: jnp.pad(x, edges(x, 1, 0)),
        lambda p, x: jnp.pad(x, edges(x, 0, 1), constant_values=0.5),
        bare(0.0, 1, 1, 1),
        bare(-0.5, 0, 1, 0),
        bare(0.0, -1, 1, 0) if shape[axis] > 1 else bare(0.0, 1, 0, 0),
        lambda p, x: jnp.pad(x, edges(x, 1, 1), mode="edge"),
        lambda p, x: jnp.pad(x, edges(x, 1, 0), mode="wrap"),
    ]
    return pick(functions)


def gather(shape, pick, new):
    """Elements taken by constant indices, repeated and left out; written into constants."""
    axis, n = axis_of(shape, pick), shape[-1]
    rows = np.array([shape[axis] - 1, 0, 0])
    where = np.broadcast_to(np.arange(n)[::-1], (*shape[:-1], n))
    t = new(*shape)
    keep = np.arange(n) % 2 == 0

    def written(p, x):
        return jnp.broadcast_to(p[t], x.shape).at[..., 0].set(x[..., 0])

    def updated(p, x):
        start = (0,) * x.ndim
        return lax.dynamic_update_slice(x, jnp.broadcast_to(p[t], x.shape)[..., :1], start)

    functions = [
        lambda p, x: jnp.take(x, rows, axis),
        lambda p, x: jnp.take_along_axis(x, np.broadcast_to(where, x.shape), -1),
        lambda p, x: x[..., keep],
        lambda p, x: x.at[..., 0].set(0.3),
        written,
        updated,
        lambda p, x: x[..., np.array([n - 1, 0]), None],
    ]
    return pick(functions)


def copies(shape, pick, new):
    """Broadcasts, repeats, tiles, stacks of one value, and primitives that only hand on."""
    functions = [
        lambda p, x: jnp.repeat(x, 2, -1),
        lambda p, x: jnp.broadcast_to(x[..., None], (*x.shape, 2)),
        lambda p, x: jnp.tile(x, 2),
        lambda p, x: jnp.stack([x, x], -1),
        lambda p, x: lax.optimization_barrier(x),
        lambda p, x: jnp.copy(x),
        lambda p, x: lax.reduce_precision(x, 11, 52) if x.dtype == "float64" else x,
        lambda p, x: jax.device_put(x),
    ]
    return pick(functions)


def constant_mask(shape, pick, new):
    """A select by a constant mask: of zeros, of a constant, of another part of the input."""
    mask = np.arange(size(shape)).reshape(shape) % 3 != 0
    t = new(*shape)
    functions = [
        lambda p, x: jnp.where(mask, x, 0.0),
        lambda p, x: jnp.where(mask, x, p[t]),
        lambda p, x: jnp.where(mask, x, jnp.flip(x, -1)),
        lambda p, x: jnp.where(mask, jnp.tanh(x), x),
        lambda p, x: lax.select_n(jnp.broadcast_to(mask.astype(np.int32), x.shape), x, -x, 2.0 * x),
    ]
    return pick(functions)


def stopped(shape, pick, new):
    """Branches where relevance ends: beside a live value, as a factor, as a predicate, an index."""
    stop = lax.stop_gradient
    w = new(shape[-1], shape[-1])
    functions = [
        lambda p, x: x + stop(jnp.tanh(x)),
        lambda p, x: jnp.concatenate([x, stop(x)], -1),
        lambda p, x: x * stop(jax.nn.sigmoid(x @ p[w])),
        lambda p, x: jnp.where(jnp.flip(x, -1) > 0, x, 0.5 * x),
        lambda p, x: x - stop(x).mean(-1, keepdims=True),
        lambda p, x: x * stop(jax.nn.softmax(x)),
        lambda p, x: x + jnp.asarray(p[w])[jnp.argmax(x, -1)],
        lambda p, x: x + (x > 0).astype(x.dtype),
        lambda p, x: jnp.maximum(x, stop(jnp.flip(x, -1))),
    ]
    return pick(functions)


ROUTES = {
    "reshape": reshape,
    "part": part,
    "pad": pad,
    "gather": gather,
    "copies": copies,
    "constant_mask": constant_mask,
    "stopped": stopped,
}
