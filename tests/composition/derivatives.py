"""Forward and reverse derivatives, against a central difference of values."""

import jax
import jax.numpy as jnp
import numpy as np
from support.networks import close, normal


def check_derivative(f, arguments, seed=0, step=1e-6, rtol=1e-5, reverse=True):
    """Compare `jvp` along one random direction with a difference of values, and `vjp` with it.

    `f` takes pytrees of numbers to one array. One compiled program for all of it.
    """
    leaves, tree = jax.tree.flatten(arguments)
    direction = [normal(*np.shape(leaf), seed=seed + i) for i, leaf in enumerate(leaves)]
    direction = tuple(map(jnp.asarray, direction))
    weights = jnp.asarray(normal(*jax.eval_shape(f, *arguments).shape, seed=99))

    @jax.jit
    def compare(leaves):
        g = lambda *leaves: f(*jax.tree.unflatten(tree, leaves))
        along = lambda h: g(*(x + h * d for x, d in zip(leaves, direction, strict=True)))
        ends = jax.vmap(along)(jnp.array([step, -step]))
        forward = jax.jvp(g, leaves, direction)[1]
        back = jax.vjp(g, *leaves)[1](weights) if reverse else ()
        return (ends[0] - ends[1]) / (2 * step), forward, list(map(jnp.vdot, back, direction))

    difference, forward, backward = compare(tuple(map(jnp.asarray, leaves)))
    close(forward, difference, rtol=rtol)
    if reverse:
        close(sum(backward), jnp.vdot(weights, forward), rtol=1e-9)


def jacobian_by_differences(f, x, step=1e-6):
    """The matrix of central differences of a function of one vector, an axis per input last."""
    steps = step * np.concatenate([np.eye(x.size), -np.eye(x.size)])
    forth, back = np.split(np.asarray(jax.jit(jax.vmap(f))(x + steps)), 2)
    return np.moveaxis((forth - back) / (2 * step), 0, -1)
