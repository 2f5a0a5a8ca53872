"""The ways to write the sum of squares: families of forms {name: (function, layer)}."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from normalisation.formulas import Layer, along, window
from normalisation.lrn import (
    BAND,
    BETA,
    FIVE,
    LRN,
    SHAPE,
    A,
    C,
    K,
    N,
    divided,
    like,
    neighbours,
    one_by_one,
    padded,
)
from support.networks import normal

from lrpjax.models import LocalResponseNorm


def channel_conv(u):
    rows = u.reshape(-1, C, 1)
    numbers = ("NHC", "HIO", "NHC")
    ones = jnp.ones((5, 1, 1), u.dtype)
    return lax.conv_general_dilated(rows, ones, (1,), "SAME", dimension_numbers=numbers).reshape(
        u.shape
    )


def rows_convolved(u):
    convolve = lambda row: jnp.convolve(row, jnp.ones(5, u.dtype), "same")
    return jax.vmap(convolve)(u.reshape(-1, C)).reshape(u.shape)


def average(u, include):
    channels = jnp.moveaxis(u, -1, 1)[..., None]
    pooled = nn.avg_pool(channels, (5, 1, 1), padding="SAME", count_include_pad=include)
    return 5 * jnp.moveaxis(pooled[..., 0], 1, -1)


WINDOWS = {
    "reduce_window": (divided(neighbours), LRN),
    "padded reduce_window": (
        divided(lambda u: neighbours(padded(u), padding="VALID")),
        LRN,
    ),
    "dilated reduce_window": (
        divided(lambda u: neighbours(u, (1, 1, 1, 3), window_dilation=(1, 1, 1, 2))),
        Layer(A * along(SHAPE, {-1: window(C, 1, 1, step=2)}), K, BETA),
    ),
    "convolution with ones": (divided(channel_conv), LRN),
    "jnp.convolve of each row": (divided(rows_convolved), LRN),
    "average pooling": (divided(lambda u: average(u, True)), LRN),
    "average pooling of what there is": (
        divided(lambda u: average(u, False)),
        Layer(5 * A * BAND / BAND.sum(1, keepdims=True), K, BETA),
    ),
    "LocalResponseNorm": (LocalResponseNorm(5, 5 * A, BETA, K).__call__, LRN),
}


def cumulative(u):
    sums = jnp.cumsum(padded(u, 3, 2), axis=-1)
    return sums[..., 5:] - sums[..., :-5]


def backwards(u):
    sums = lax.cumsum(padded(u, 2, 3), axis=u.ndim - 1, reverse=True)
    return sums[..., :-5] - sums[..., 5:]


def flipped(u):
    """Nobody follows elements through a reversal: not in any table of forms."""
    sums = jnp.flip(jnp.cumsum(jnp.flip(padded(u, 2, 3), -1), axis=-1), -1)
    return sums[..., :-5] - sums[..., 5:]


def cumulative_with_a_zero(u):
    """The zero in front is concatenated, not padded."""
    sums = jnp.cumsum(padded(u), axis=-1)
    sums = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)
    return sums[..., 5:] - sums[..., :-5]


CUMULATIVE = {
    "cumsum": (divided(cumulative), LRN),
    "reverse cumsum": (divided(backwards), LRN),
    "cumsum behind a zero": (divided(cumulative_with_a_zero), LRN),
}


def first_channels(u):
    """The matrix from the left, channels first."""
    channels = jnp.moveaxis(u, -1, 0).reshape(C, -1)
    return jnp.moveaxis((like(FIVE, u) @ channels).reshape(C, *u.shape[:-1]), 0, -1)


MATRICES = {
    "banded matrix": (divided(lambda u: u @ like(FIVE, u)), LRN),
    "banded einsum": (
        lambda x: x * (K + jnp.einsum("oc,nhwc->nhwo", like(A * FIVE, x), x**2)) ** -BETA,
        LRN,
    ),
    "banded matrix from the left": (divided(first_channels), LRN),
    "banded 1×1 convolution": (divided(lambda u: one_by_one(u, FIVE)), LRN),
    "a window's weights": (
        divided(lambda u: u @ like(FIVE * normal(C, C, seed=7) ** 2, u).T),
        Layer(A * along(SHAPE, {-1: FIVE * normal(C, C, seed=7) ** 2}), K, BETA),
    ),
}


def looped(u):
    wide = padded(u)
    return sum(wide[..., i : i + C] for i in range(5))


def k_first(x):
    total = jnp.full(x.shape, K)
    wide = padded(jnp.square(x))
    for i in range(5):
        total = total + A * wide[..., i : i + C]
    return x / total**BETA


def k_last(x):
    wide = padded(jnp.square(x))
    total = A * wide[..., :C]
    for i in range(1, 5):
        total += A * wide[..., i : i + C]
    return x * (total + K) ** -BETA


def stacked(u, axis):
    wide = padded(u)
    return jnp.stack([wide[..., i : i + C] for i in range(5)], axis).sum(axis)


def concatenated(u):
    wide = padded(u)
    return jnp.concatenate([wide[None, ..., i : i + C] for i in range(5)]).sum(0)


def squared_slices(x):
    """Each slice is squared on its own."""
    wide = padded(x)
    total = sum(wide[..., i : i + C] ** 2 for i in range(5))
    return x / (K + A * total) ** BETA


def weighted_slices(x):
    """Each slice is scaled and squared on its own."""
    wide = padded(x)
    total = sum((w * wide[..., i : i + C]) ** 2 for i, w in enumerate(NEARNESS))
    return x / (K + total) ** BETA


def cropped(u):
    """The middle, and each neighbour padded by itself."""
    total = u
    for i in (1, 2):
        total = total + padded(u[..., i:], 0, i) + padded(u[..., :-i], i, 0)
    return total


def rolled(u):
    return sum(jnp.roll(u, i, axis=-1) for i in range(-2, 3))


NEARNESS = (0.2, 0.5, 0.7, 0.4, 0.1)
NEAR = sum(w**2 * np.eye(C, k=i - 2) for i, w in enumerate(NEARNESS))
RING = sum(np.roll(np.eye(C), i, axis=1) for i in range(-2, 3))

SLICES = {
    "loop of slices": (divided(looped), LRN),
    "loop of slices, k first": (k_first, LRN),
    "loop of slices, k last": (k_last, LRN),
    "stacked slices": (divided(lambda u: stacked(u, 0)), LRN),
    "slices stacked last": (divided(lambda u: stacked(u, -1)), LRN),
    "concatenated slices": (divided(concatenated), LRN),
    "squares of slices": (squared_slices, LRN),
    "squares of weighted slices": (
        weighted_slices,
        Layer(along(SHAPE, {-1: NEAR}), K, BETA),
    ),
    "cropped neighbours": (divided(cropped), LRN),
    "a ring": (divided(rolled), Layer(A * along(SHAPE, {-1: RING}), K, BETA)),
}


def depthwise(u):
    ones = jnp.ones((3, 3, 1, C), u.dtype)
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        u, ones, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=C
    )


def channels_first(x):
    """The layer of a network whose channels are axis 1."""
    z = jnp.moveaxis(x, -1, 1)
    wide = jnp.pad(z * z, ((0, 0), (2, 2), (0, 0), (0, 0)))
    total = sum(wide[:, i : i + C] for i in range(5))
    return jnp.moveaxis(z / (K + A * total) ** BETA, 1, -1)


def spatially(height, width, channels=None):
    matrices = {1: height, 2: width} | ({} if channels is None else {3: channels})
    return Layer(A * along(SHAPE, matrices), K, BETA)


THREES = window(3, 1, 1), window(4, 1, 1)

SPATIAL = {
    "window within a channel": (
        divided(lambda u: neighbours(u, (1, 3, 3, 1))),
        spatially(*THREES),
    ),
    "depthwise convolution": (divided(depthwise), spatially(*THREES)),
    "spatial average pooling": (
        divided(lambda u: 9 * nn.avg_pool(u, (3, 3), padding="SAME")),
        spatially(*THREES),
    ),
    "space and channels": (
        divided(lambda u: neighbours(u, (1, 3, 1, 3))),
        spatially(THREES[0], np.eye(4), window(C, 1, 1)),
    ),
    "first one axis, then the other": (
        divided(lambda u: neighbours(neighbours(u, (1, 3, 1, 1)), (1, 1, 2, 1))),
        spatially(THREES[0], window(4, 0, 1)),
    ),
    "channels first": (channels_first, LRN),
    "along the batch": (
        divided(lambda u: neighbours(u, (2, 1, 1, 1))),
        Layer(A * along(SHAPE, {0: window(2, 0, 1)}), K, BETA),
    ),
    "even window": (
        divided(lambda u: neighbours(u, (1, 1, 1, 4))),
        Layer(A * along(SHAPE, {-1: window(C, 1, 2)}), K, BETA),
    ),
    "window of what came before": (
        divided(lambda u: neighbours(u, (1, 1, 1, 4), ((0, 0),) * 3 + ((3, 0),))),
        Layer(A * along(SHAPE, {-1: window(C, 3, 0)}), K, BETA),
    ),
    "window of a window": (
        divided(lambda u: neighbours(neighbours(u, (1, 1, 1, 3)), (1, 1, 1, 2))),
        Layer(A * along(SHAPE, {-1: window(C, 0, 1) @ window(C, 1, 1)}), K, BETA),
    ),
    "the middle twice": (
        divided(lambda u: neighbours(u) + u),
        Layer(A * (BAND + np.eye(N)), K, BETA),
    ),
    "neighbours alone": (
        divided(lambda u: neighbours(u) - u),
        Layer(A * (BAND - np.eye(N)), K, BETA),
    ),
}
