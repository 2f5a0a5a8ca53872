"""Normalisations over whole axes: Flax's layers and what people write, each with its matrix.

Families of forms {name: (function, layer)}, all functions of one float64 array of `SHAPE`. The
functions hold float64 parameters, so they are made when double precision is on.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from normalisation.formulas import Layer, OfNorm, along, blocks, full, mean
from support.networks import normal

SHAPE = (2, 3, 4, 8)
N, C = int(np.prod(SHAPE)), SHAPE[-1]
E = 1e-2
SCALE, BIAS = 1.5 + normal(C, seed=30), normal(C, seed=31)


def every(values):
    """An array over the channels, at every element: [n]."""
    return np.broadcast_to(values, SHAPE).ravel()


def over(matrices, centred=True, affine=True, k=E):
    """The layer with the mean and the mean square over these axes."""
    average = mean(along(SHAPE, matrices))
    scale, shift = (every(SCALE), every(BIAS)) if affine else (1.0, 0.0)
    return Layer(average, k, 0.5, scale, shift, average if centred else None)


CHANNELS = {3: full(C)}
SPACE = {1: full(3), 2: full(4)}
GROUPS = SPACE | {3: blocks(C, 2)}
LAYER, RMS = over(CHANNELS), over(CHANNELS, centred=False)
RMS = Layer(RMS.sums, RMS.k, RMS.beta, RMS.scale, 0.0)
GROUP, INSTANCE = over(GROUPS), over(SPACE)


def linen():
    """Linen modules, with parameters of their own."""

    def bound(module, **parameters):
        return lambda x: module.apply({"params": parameters}, x)

    both = {"scale": jnp.asarray(SCALE), "bias": jnp.asarray(BIAS)}
    slow = {"use_fast_variance": False}
    plain = nn.LayerNorm(E, use_scale=False, use_bias=False)
    return {
        "LayerNorm": (bound(nn.LayerNorm(E), **both), LAYER),
        "LayerNorm, slow variance": (bound(nn.LayerNorm(E, **slow), **both), LAYER),
        "LayerNorm without parameters": (bound(plain), over(CHANNELS, affine=False)),
        "RMSNorm": (bound(nn.RMSNorm(E), scale=both["scale"]), RMS),
        "GroupNorm": (bound(nn.GroupNorm(2, epsilon=E), **both), GROUP),
        "GroupNorm, slow variance": (bound(nn.GroupNorm(2, epsilon=E, **slow), **both), GROUP),
        "InstanceNorm": (bound(nn.InstanceNorm(epsilon=E), **both), INSTANCE),
    }


def with_parameters(layer):
    """An NNX layer with the parameters of the tests."""
    layer.scale[...] = jnp.asarray(SCALE)
    if getattr(layer, "bias", None) is not None:
        layer.bias[...] = jnp.asarray(BIAS)
    return layer


def nnx_layers():
    """NNX modules."""
    options = {"epsilon": E, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    slow = {"use_fast_variance": False}
    train = {"epsilon": E, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    batch = nnx.BatchNorm(C, use_running_average=False, **train)
    made = {
        "LayerNorm": (nnx.LayerNorm(C, **options), LAYER),
        "LayerNorm, slow variance": (nnx.LayerNorm(C, **slow, **options), LAYER),
        "RMSNorm": (nnx.RMSNorm(C, **options), RMS),
        "GroupNorm": (nnx.GroupNorm(C, 2, **options), GROUP),
        "GroupNorm, slow variance": (nnx.GroupNorm(C, 2, **slow, **options), GROUP),
        "InstanceNorm": (nnx.InstanceNorm(C, **options), INSTANCE),
        "BatchNorm that trains": (batch, over(SPACE | {0: full(2)})),
    }
    return {name: (with_parameters(layer), matrix) for name, (layer, matrix) in made.items()}


def moments(x, axis=-1):
    return x.mean(axis, keepdims=True), x.var(axis, keepdims=True)


def by_variance(x):
    average, variance = moments(x)
    return (x - average) / jnp.sqrt(variance + E)


def by_squares(x):
    """The variance as E[x²] − E[x]²."""
    average = jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(x**2, -1, keepdims=True) - average**2
    return (x - average) * lax.rsqrt(variance + E)


def by_residuals(x):
    """The centred values are squared, summed and divided."""
    centred = x - jnp.sum(x, axis=-1, keepdims=True) / C
    total = jnp.sum(centred * centred, axis=-1, keepdims=True)
    return SCALE * centred / jnp.sqrt(total / C + E) + BIAS


def without_keepdims(x):
    centred = x - x.mean(-1)[..., None]
    return centred * (jnp.mean(centred**2, axis=-1) + E)[..., None] ** -0.5


def grouped(x):
    wide = x.reshape(*SHAPE[:-1], 2, C // 2)
    average, variance = moments(wide, (1, 2, 4))
    return ((wide - average) / jnp.sqrt(variance + E)).reshape(SHAPE) * SCALE + BIAS


def channels_first(x):
    z = jnp.moveaxis(x, -1, 1)
    average, variance = moments(z, (2, 3))
    return jnp.moveaxis((z - average) / jnp.sqrt(variance + E), 1, -1)


def of_repeated_blocks(x):
    """The mean square of each half of the channels, spread again over them."""
    total = jnp.mean((x**2).reshape(*SHAPE[:-1], 2, C // 2), axis=-1)
    return x / jnp.sqrt(E + jnp.repeat(total, C // 2, axis=-1))


PLAIN = over(CHANNELS, affine=False)
HALVES = mean(along(SHAPE, {3: blocks(C, 2)}))


def by_hand():
    """What people write."""
    halves = Layer(HALVES, E, 0.5)
    by_std = lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + E)
    return {
        "jnp.var": (by_variance, PLAIN),
        "jnp.std": (by_std, OfNorm(PLAIN.sums, mean=PLAIN.mean, e=E)),
        "difference of means": (by_squares, PLAIN),
        "sum of residuals": (by_residuals, LAYER),
        "without keepdims": (without_keepdims, PLAIN),
        "standardize": (lambda x: jax.nn.standardize(x, epsilon=E), PLAIN),
        "groups by reshape": (grouped, GROUP),
        "channels first": (channels_first, over(SPACE, affine=False)),
        "halves of the channels": (of_repeated_blocks, halves),
        "root mean square": (
            lambda x: SCALE * (x * lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + E)),
            RMS,
        ),
    }


def mapped():
    """The same under vmap, which moves x and its sums each in its own way."""
    last = jax.vmap(jax.vmap(lambda x: x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + E), 2, 2))
    return {
        "vmap of vmap": (jax.vmap(jax.vmap(lambda x: by_variance(x))), PLAIN),
        "vmap of the second axis": (jax.vmap(lambda x: by_residuals(x), 1, 1), LAYER),
        "vmap of the third axis": (jax.vmap(lambda x: by_squares(x), 2, 2), PLAIN),
        "vmap of the last axis": (last, over({2: full(4)}, False, False)),
    }


def l2():
    """L2 normalisation; all but the first two stand zeros."""
    norm = lambda x: jnp.linalg.norm(x, axis=-1, keepdims=True)
    total = lambda x: jnp.sum(x * x, axis=-1, keepdims=True)
    sums = along(SHAPE, CHANNELS)
    alone = Layer(sums, 0.0, 0.5)

    def guarded(x):
        n = norm(x)
        return x / jnp.where(n == 0, 1, n)

    def twice_guarded(x):
        squares = total(x)
        safe = jnp.where(squares > 0, squares, 1.0)
        return jnp.where(squares > 0, x / jnp.sqrt(safe), 0.0)

    return {
        "norm": (lambda x: x / norm(x), alone),
        "rsqrt": (lambda x: x * lax.rsqrt(total(x)), alone),
        "norm + e": (lambda x: x / (norm(x) + E), OfNorm(sums, e=E)),
        "sum + e": (lambda x: x / jnp.sqrt(total(x) + E), Layer(sums, E, 0.5)),
        "max(norm, e)": (lambda x: x / jnp.maximum(norm(x), 1e-12), alone),
        "clip(norm)": (lambda x: x / jnp.clip(norm(x), 1e-12), alone),
        "max(sum, e)": (lambda x: x * lax.rsqrt(jnp.maximum(total(x), 1e-24)), alone),
        "where(norm)": (guarded, alone),
        "where(sum), where(y)": (twice_guarded, alone),
    }


#: All families; the functions that make them need double precision.
FAMILIES = {"linen": linen, "nnx": nnx_layers, "by hand": by_hand, "mapped": mapped, "l2": l2}
