"""Local response normalisation as the tests have it, and what the ways to write it share.

Unless a form says otherwise, y = x / (K + A·Σ x²)^BETA, the sum over five neighbours along the
last axis of an array of `SHAPE`.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from normalisation.formulas import Layer, along, window
from support.networks import normal

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


def like(values, x):
    """Numbers in the dtype of x: JAX keeps an array it has met in one precision for the other."""
    return np.asarray(values, x.dtype)


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


def one_by_one(u, matrix):
    """A matrix [out, in] as a 1×1 convolution, channels last."""
    kernel = like(matrix.T, u)[None, None]
    return lax.conv_general_dilated(
        u, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


lrn = divided(neighbours)
