"""Sums and maxima: what takes in several elements without weights; scales and shifts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from random_programs.contractions import as_images, normalised, with_channel


def axis_of(shape, pick):
    """An axis of an example, counted from the last."""
    return -1 - pick(range(len(shape)))


def reduction(shape, pick, new):
    """A sum or mean over one axis, or over all but the last."""
    axis, keep = axis_of(shape, pick), pick([False, True]) or len(shape) == 1
    function = pick([jnp.mean, jnp.sum])
    everything = pick([False, False, True]) and len(shape) > 1
    axes = tuple(range(-len(shape), -1)) if everything else axis
    return lambda p, x: function(x, axis=axes, keepdims=keep)


def cumulative_sum(shape, pick, new):
    """A running sum, from either end."""
    axis, reverse = axis_of(shape, pick), pick([False, True])
    return lambda p, x: lax.cumsum(x, axis=x.ndim + axis, reverse=reverse) / shape[axis]


def average_pool(shape, pick, new):
    """Windows of an image averaged, with the padding counted or not."""
    if len(shape) < 2:
        return with_channel(average_pool, shape, pick, new)
    rank = min(len(shape) - 1, 2)
    settings = {"strides": (pick([2, 1]),) * rank, "padding": pick(["VALID", "SAME"])}
    settings["count_include_pad"] = pick([True, False])
    window = tuple(min(2, n) for n in shape[-rank - 1 : -1])
    return _windowed(shape, rank, lambda x: nn.avg_pool(x, window, **settings))


def max_pool(shape, pick, new):
    """The largest, or smallest, of each window of an image."""
    if len(shape) < 2:
        return with_channel(max_pool, shape, pick, new)
    rank = min(len(shape) - 1, 2)
    strides, padding = (pick([2, 1]),) * rank, pick(["VALID", "SAME"])
    window = tuple(min(pick([2, 3]), n) for n in shape[-rank - 1 : -1])
    function = pick([nn.max_pool, nn.max_pool, min_pool])
    return _windowed(shape, rank, lambda x: function(x, window, strides, padding))


def min_pool(x, window, strides, padding):
    """The smallest of each window, a bare primitive."""
    sizes, steps = (1, *window, 1), (1, *strides, 1)
    return lax.reduce_window(x, np.asarray(np.inf, x.dtype), lax.min, sizes, steps, padding)


def _windowed(shape, rank, pool):
    image = shape[-rank - 1 :]

    def layer(p, x):
        y = pool(as_images(x, len(image)))
        return y.reshape(*x.shape[: x.ndim - len(image)], *y.shape[1:])

    return layer


def resize(shape, pick, new):
    """A linear map whose matrix the program counts out: a resized axis, or an identity."""
    n = pick([2, 4, 3])
    if pick([True, False]):
        return lambda p, x: jax.image.resize(x, (*x.shape[:-1], n), "linear")
    return lambda p, x: x @ jnp.eye(shape[-1], n, dtype=x.dtype)


def maximum(shape, pick, new):
    """Maxima along an axis, running maxima, sorting."""
    axis = axis_of(shape, pick)
    count = min(2, shape[-1])
    keep = len(shape) == 1
    functions = [
        lambda p, x: x.max(axis, keepdims=keep),
        lambda p, x: x.min(axis, keepdims=keep),
        lambda p, x: jnp.sort(x, axis),
        lambda p, x: lax.cummax(x, axis=x.ndim + axis),
        lambda p, x: lax.cummin(x, axis=x.ndim + axis),
        lambda p, x: lax.top_k(x, count)[0],
        lambda p, x: x.max(tuple(range(-len(shape), 0)), keepdims=True),
    ]
    return pick(functions)


def scale_shift(shape, pick, new):
    """Constants that multiply and add, with no layer in front to fold into."""
    channels = shape[-1]
    s, t = new(channels, around=1.0), new(*shape, scale=0.3)
    mask = np.arange(channels) % 3 != 1
    functions = [
        normalised(channels, pick, new),
        lambda p, x: x * p[s],
        lambda p, x: x + p[t],
        lambda p, x: p[t] - x,
        lambda p, x: -x,
        lambda p, x: x * 0.5 - 0.1,
        lambda p, x: x * mask.astype(x.dtype) / 0.8,
        lambda p, x: x / (0.5 + jnp.abs(p[s])),
        lambda p, x: (x * p[s] + p[t]) * 2.0 - p[s],
    ]
    return pick(functions)


SUMS = {
    "reduction": reduction,
    "cumulative_sum": cumulative_sum,
    "average_pool": average_pool,
    "max_pool": max_pool,
    "maximum": maximum,
    "resize": resize,
    "scale_shift": scale_shift,
}
