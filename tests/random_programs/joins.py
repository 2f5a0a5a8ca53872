"""Two dependent values made one: sums, maxima, concatenations, selections."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from random_programs.program import size


def add(shape, pick, new):
    """Sums and differences, plain, weighted, of three, with a constant and a scale."""
    t = new(*shape, scale=0.3)
    functions = [
        lambda p, x, y: x + y,
        lambda p, x, y: x - y,
        lambda p, x, y: x + (y + p[t]),
        lambda p, x, y: 0.3 * x + 0.7 * y,
        lambda p, x, y: x + y + jnp.tanh(x),
        lambda p, x, y: (x + y - p[t]) * 1.5,
        lambda p, x, y: 1.0 - x - y,
        lambda p, x, y: (x + y) / 2 + y[..., :1],
    ]
    return pick(functions)


def larger(shape, pick, new):
    """The larger, or smaller, of each pair of elements."""
    functions = [
        lambda p, x, y: jnp.maximum(x, y),
        lambda p, x, y: jnp.minimum(x, y),
        lambda p, x, y: jnp.stack([x, y]).max(0),
    ]
    return pick(functions)


def concatenate(shape, pick, new):
    """One behind the other, side by side, or one written into the other."""
    axis = -1 - pick(range(len(shape)))

    def updated(p, x, y):
        return lax.dynamic_update_slice(x, y[..., :1], (0,) * x.ndim)

    functions = [
        lambda p, x, y: jnp.concatenate([x, y], axis),
        lambda p, x, y: jnp.stack([x, y], axis),
        lambda p, x, y: jnp.concatenate([y[..., :1], jnp.ones_like(x[..., :1]), x], -1),
        lambda p, x, y: x.at[..., 0].set(y[..., -1]),
        updated,
    ]
    return pick(functions)


def selected(shape, pick, new):
    """Elements of one or the other, by a constant mask or by one's sign."""
    mask = np.arange(size(shape)).reshape(shape) % 2 == 0
    functions = [
        lambda p, x, y: jnp.where(mask, x, y),
        lambda p, x, y: jnp.where(y > 0, x, 0.0),
        lambda p, x, y: x * lax.stop_gradient(jnp.tanh(y)),
    ]
    return pick(functions)


JOINS = {"add": add, "larger": larger, "concatenate": concatenate, "selected": selected}
