"""Local response normalisation in every way that people write it, each with its matrix.

A family is a dictionary of forms {name: (function, layer)}; all functions take one array of
`SHAPE`, and the layer is the same function in `normalisation.formulas`. The ways to write the sum
of squares are in `normalisation.sums`; the ways to write all else are here.
"""

import jax
import jax.numpy as jnp
from jax import lax
from normalisation.formulas import Layer, along
from normalisation.lrn import (
    BAND,
    BETA,
    LRN,
    SHAPE,
    A,
    C,
    K,
    divided,
    like,
    lrn,
    neighbours,
    one_by_one,
    per_channel,
)
from normalisation.sums import CUMULATIVE, MATRICES, SLICES, SPATIAL, WINDOWS, cumulative, looped
from support.networks import normal


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
        lambda x: x / (like(ROWS, x) + A * neighbours(x * x)) ** BETA,
        Layer(A * BAND, per_channel(ROWS), BETA),
    ),
    "beta of each channel": (
        lambda x: x / (K + A * neighbours(x * x)) ** like(ROWS, x),
        Layer(A * BAND, K, per_channel(ROWS)),
    ),
    "weights in front of the sum": (
        lambda x: x / (K + neighbours(like(COLUMNS, x) * x**2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS), K, BETA),
    ),
    "weights behind the sum": (
        lambda x: x / (K + like(COLUMNS, x) * neighbours(x**2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS)[:, None], K, BETA),
    ),
    "scaled before it is squared": (
        lambda x: x / (K + neighbours((like(COLUMNS, x) * x) ** 2)) ** BETA,
        Layer(BAND * per_channel(COLUMNS) ** 2, K, BETA),
    ),
    "a scaled x times x": (
        lambda x: x / (K + neighbours(A * x * x)) ** BETA,
        LRN,
    ),
    "a channel's weight times x, times x": (
        lambda x: x / (K + neighbours((like(COLUMNS, x) * x) * x)) ** BETA,
        Layer(BAND * per_channel(COLUMNS), K, BETA),
    ),
    "squares of absolutes": (
        lambda x: x / (K + A * neighbours(jnp.abs(x) ** 2)) ** BETA,
        LRN,
    ),
    "scale and shift": (
        lambda x: lrn(x) * like(SCALE, x) + like(SHIFT, x),
        Layer(A * BAND, K, BETA, per_channel(SCALE), per_channel(SHIFT)),
    ),
    "shift": (
        lambda x: lrn(x) - like(SHIFT, x),
        Layer(A * BAND, K, BETA, 1.0, per_channel(-SHIFT)),
    ),
    "negated": (lambda x: -x / (K + A * neighbours(x * x)) ** BETA, Layer(A * BAND, K, BETA, -1.0)),
    "scale in front": (
        lambda x: (like(SCALE, x) * x) * (K + A * neighbours(x * x)) ** -BETA,
        Layer(A * BAND, K, BETA, per_channel(SCALE)),
    ),
    "scale in the normaliser": (
        lambda x: x * (like(SCALE, x) * (K + A * neighbours(x * x)) ** -BETA) + like(SHIFT, x),
        Layer(A * BAND, K, BETA, per_channel(SCALE), per_channel(SHIFT)),
    ),
}

GAMMA = normal(C, C, seed=12) ** 2
SIGNED = 0.1 * normal(C, C, seed=13)
FLOOR = 12.0 + ROWS  # more than what the negative weights take away


def gdn(matrix, x):
    """Generalised divisive normalisation with a trained matrix [out, in]."""
    return x / jnp.sqrt(like(FLOOR, x) + x**2 @ matrix.T)


def gdn_layer(matrix):
    return Layer(along(SHAPE, {-1: matrix}), per_channel(FLOOR), 0.5)


TRAINED = {
    "GDN": (lambda x: gdn(like(GAMMA, x), x), gdn_layer(GAMMA)),
    "GDN of a reparametrised matrix": (
        lambda x: gdn(jnp.square(like(normal(C, C, seed=12), x)), x),
        gdn_layer(GAMMA),
    ),
    "GDN of any sign": (lambda x: gdn(like(SIGNED, x), x), gdn_layer(SIGNED)),
    "GDN by 1×1 convolution": (
        lambda x: x / jnp.sqrt(like(FLOOR, x) + one_by_one(x**2, GAMMA)),
        gdn_layer(GAMMA),
    ),
    "GDN by 1×1 convolution of any sign": (
        lambda x: x / jnp.sqrt(like(FLOOR, x) + one_by_one(x**2, SIGNED)),
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
