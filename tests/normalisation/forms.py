"""Local response normalisation in every way that people write it, each with its matrix.

A family is a dictionary of forms {name: (function, layer)}; all functions take one array of
`SHAPE`, and the layer is the same function in `normalisation.formulas`. Unless a form says
otherwise, y = x / (K + A·Σ x²)^BETA, the sum over five neighbours along the last axis.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from normalisation.formulas import Layer, along, window
from support.networks import normal

from lrpjax.models import LocalResponseNorm

SHAPE = (2, 3, 4, 8)
N, C = int(np.prod(SHAPE)), SHAPE[-1]
K, A, BETA = 2.0, 0.3, 0.75
FIVE = window(C, 2, 2)
BAND = along(SHAPE, {-1: FIVE})
LRN = Layer(A * BAND, K, BETA)


def inputs(seed=1, shape=SHAPE):
    """Numbers of both signs, with zeros, lone ones and rows of nothing among them."""
    x = normal(*shape, seed=seed)
    flat = x.reshape(-1, shape[-1])
    flat[0] = 0
    flat[1, 1:] = 0
    flat[2, shape[-1] // 2 :] = 0
    flat[3, ::2] = 0
    flat[4] *= 1e-3
    flat[5] *= 5
    return x


def per_channel(values):
    """An array over the channels, at every element: [n]."""
    return np.broadcast_to(values, SHAPE).ravel()


def divided(total):
    """Of the sum of squares that `total` makes of x², the usual function."""
    return lambda x: x / (K + A * total(x * x)) ** BETA


def neighbours(u, sizes=(1, 1, 1, 5), padding="SAME", **options):
    """Σ over a window, as XLA has it."""
    return lax.reduce_window(u, 0.0, lax.add, sizes, (1,) * u.ndim, padding, **options)


def padded(u, before=2, after=2):
    return jnp.pad(u, ((0, 0),) * (u.ndim - 1) + ((before, after),))


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
    "flipped cumsum": (divided(flipped), LRN),
    "cumsum behind a zero": (divided(cumulative_with_a_zero), LRN),
}


def one_by_one(u, matrix):
    """A matrix [out, in] as a 1×1 convolution, channels last."""
    kernel = jnp.asarray(matrix.T, u.dtype)[None, None]
    return lax.conv_general_dilated(
        u, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def first_channels(u):
    """The matrix from the left, channels first."""
    channels = jnp.moveaxis(u, -1, 0).reshape(C, -1)
    return jnp.moveaxis((jnp.asarray(FIVE, u.dtype) @ channels).reshape(C, *u.shape[:-1]), 0, -1)


MATRICES = {
    "banded matrix": (divided(lambda u: u @ FIVE.astype(u.dtype)), LRN),
    "banded einsum": (
        lambda x: x * (K + jnp.einsum("oc,nhwc->nhwo", A * FIVE, x**2)) ** -BETA,
        LRN,
    ),
    "banded matrix from the left": (divided(first_channels), LRN),
    "banded 1×1 convolution": (divided(lambda u: one_by_one(u, FIVE)), LRN),
    "a window's weights": (
        divided(lambda u: u @ (FIVE * normal(C, C, seed=7) ** 2).T.astype(u.dtype)),
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


def of_denominator(f, beta=BETA):
    """A spelling of the power: f(x, d) with d = K + A·Σ x²."""
    return lambda x: f(x, K + A * neighbours(x**2)), Layer(A * BAND, K, beta)


POWERS = {
    "times a negative power": of_denominator(lambda x, d: x * d**-BETA),
    "a negative power times": of_denominator(lambda x, d: jnp.power(d, -BETA) * x),
    "times the inverse of a power": of_denominator(lambda x, d: x * (1 / d**BETA)),
    "a power of the inverse": of_denominator(lambda x, d: x * jnp.reciprocal(d) ** BETA),
    "exp of a log": of_denominator(lambda x, d: x * jnp.exp(-BETA * jnp.log(d))),
    "divided by exp of a log": of_denominator(lambda x, d: x / jnp.exp(BETA * jnp.log(d))),
    "exp2 of a log2": of_denominator(lambda x, d: x * jnp.exp2(-BETA * jnp.log2(d))),
    "square roots": of_denominator(lambda x, d: x / (jnp.sqrt(d) * jnp.sqrt(jnp.sqrt(d)))),
    "inverse square roots": of_denominator(
        lambda x, d: x * (lax.rsqrt(d) * jnp.sqrt(lax.rsqrt(d)))
    ),
    "square root": of_denominator(lambda x, d: x / jnp.sqrt(d), 0.5),
    "inverse square root": of_denominator(lambda x, d: x * lax.rsqrt(d), 0.5),
    "no power": of_denominator(lambda x, d: x / d, 1.0),
    "square": of_denominator(lambda x, d: x / (d * d), 2.0),
    "integer power": of_denominator(lambda x, d: x * d**-3, 3.0),
    "log1p": (
        lambda x: x * K**-BETA * jnp.exp(-BETA * jnp.log1p(A / K * neighbours(x**2))),
        LRN,
    ),
    "k in the numerator": (
        lambda x: x / K**BETA / (1 + A / K * neighbours(x**2)) ** BETA,
        LRN,
    ),
    "the paper's parameters": (
        lambda x: x / (1 + 0.7 * neighbours(x**2)) ** BETA,
        Layer(0.7 * BAND, 1.0, BETA),
    ),
}

lrn = divided(neighbours)


def of_one(x):
    """The same on an image without a batch."""
    return x / (K + A * neighbours(x * x, (1, 1, 5))) ** BETA


WRAPPED = {
    "jit": (jax.jit(lrn), LRN),
    "nested jit": (
        jax.jit(lambda x: x / jax.jit(lambda d: d**BETA)(K + A * jax.jit(neighbours)(x * x))),
        LRN,
    ),
    "vmap": (jax.vmap(of_one), LRN),
    "vmap along the second axis": (jax.vmap(of_one, 1, 1), LRN),
    "vmap along the channels' neighbour": (jax.vmap(of_one, 2, 2), LRN),
    "vmap of vmap": (
        jax.vmap(jax.vmap(lambda x: x / (K + A * neighbours(x * x, (1, 5))) ** BETA)),
        LRN,
    ),
    "vmap of slices": (jax.vmap(divided(looped)), LRN),
    "checkpoint": (jax.checkpoint(lrn), LRN),
    "jit of checkpoint": (jax.jit(jax.checkpoint(divided(cumulative))), LRN),
}

ROWS, COLUMNS = 0.2 + normal(C, seed=8) ** 2, 0.2 + normal(C, seed=9) ** 2
SCALE, SHIFT = 1.5 + normal(C, seed=10), normal(C, seed=11)

CONSTANTS = {
    "k of each channel": (
        lambda x: x / (ROWS + A * neighbours(x * x)) ** BETA,
        Layer(A * BAND, per_channel(ROWS), BETA),
    ),
    "beta of each channel": (
        lambda x: x / (K + A * neighbours(x * x)) ** ROWS,
        Layer(A * BAND, K, per_channel(ROWS)),
    ),
    "weights in front of the sum": (
        lambda x: x / (K + neighbours(COLUMNS * x**2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS), K, BETA),
    ),
    "weights behind the sum": (
        lambda x: x / (K + COLUMNS * neighbours(x**2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS)[:, None], K, BETA),
    ),
    "scaled before it is squared": (
        lambda x: x / (K + neighbours((COLUMNS * x) ** 2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS) ** 2, K, BETA),
    ),
    "a scaled x times x": (
        lambda x: x / (K + neighbours(A * x * x)) ** BETA,
        LRN,
    ),
    "a channel's weight times x, times x": (
        lambda x: x / (K + neighbours((COLUMNS * x) * x)) ** BETA,
        Layer(BAND * per_channel(COLUMNS), K, BETA),
    ),
    "squares of absolutes": (
        lambda x: x / (K + A * neighbours(jnp.abs(x) ** 2)) ** BETA,
        LRN,
    ),
    "scale and shift": (
        lambda x: lrn(x) * SCALE + SHIFT,
        Layer(A * BAND, K, BETA, per_channel(SCALE), per_channel(SHIFT)),
    ),
    "shift": (lambda x: lrn(x) - SHIFT, Layer(A * BAND, K, BETA, 1.0, per_channel(-SHIFT))),
    "negated": (lambda x: -x / (K + A * neighbours(x * x)) ** BETA, Layer(A * BAND, K, BETA, -1.0)),
    "scale in front": (
        lambda x: (SCALE * x) * (K + A * neighbours(x * x)) ** -BETA,
        Layer(A * BAND, K, BETA, per_channel(SCALE)),
    ),
    "scale in the normaliser": (
        lambda x: x * (SCALE * (K + A * neighbours(x * x)) ** -BETA) + SHIFT,
        Layer(A * BAND, K, BETA, per_channel(SCALE), per_channel(SHIFT)),
    ),
}

GAMMA = normal(C, C, seed=12) ** 2
SIGNED = 0.1 * normal(C, C, seed=13)
FLOOR = 12.0 + ROWS  # more than what the negative weights take away


def gdn(matrix, x):
    """Generalised divisive normalisation with a trained matrix [out, in]."""
    return x / jnp.sqrt(jnp.asarray(FLOOR) + x**2 @ matrix.T)


def gdn_layer(matrix):
    return Layer(along(SHAPE, {-1: matrix}), per_channel(FLOOR), 0.5)


TRAINED = {
    "GDN": (lambda x: gdn(jnp.asarray(GAMMA), x), gdn_layer(GAMMA)),
    "GDN of a reparametrised matrix": (
        lambda x: gdn(jnp.square(jnp.asarray(normal(C, C, seed=12))), x),
        gdn_layer(GAMMA),
    ),
    "GDN of any sign": (lambda x: gdn(jnp.asarray(SIGNED), x), gdn_layer(SIGNED)),
    "GDN by 1×1 convolution": (
        lambda x: x / jnp.sqrt(FLOOR + one_by_one(x**2, jnp.asarray(GAMMA))),
        gdn_layer(GAMMA),
    ),
    "GDN by 1×1 convolution of any sign": (
        lambda x: x / jnp.sqrt(FLOOR + one_by_one(x**2, jnp.asarray(SIGNED))),
        gdn_layer(SIGNED),
    ),
}

#: The ways to write the sum, and the ways to write all else.
SUMS = {
    "windows": WINDOWS,
    "cumulative sums": CUMULATIVE,
    "matrices": MATRICES,
    "slices": SLICES,
    "spatial": SPATIAL,
    "trained": TRAINED,
}
REST = {"powers": POWERS, "wrapped": WRAPPED, "constants": CONSTANTS}
FAMILIES = SUMS | REST
