"""One softmax, written in every way that programs write it.

Each function takes logits [2, 3, 4] and gives the weights in the same layout. KEEP says which
logits a mask leaves.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn import log_softmax, softmax
from support.networks import normal

SHAPE = (2, 3, 4)
KEEP = normal(*SHAPE, seed=740) > -0.4
KEEP[..., 0] = True  # at least one of each row
ONE = np.broadcast_to(np.arange(SHAPE[-1]) == 2, SHAPE)
SHARED = np.array([True, False, True, True])


def shifted(x):
    return x - lax.stop_gradient(x.max(-1, keepdims=True))


def over_its_sum(e):
    return e / e.sum(-1, keepdims=True)


def times_its_reciprocal(e, reciprocal=lambda total: 1 / total):
    return e * reciprocal(e.sum(-1, keepdims=True))


def less_logsumexp(logsumexp):
    return lambda x: jnp.exp(x - logsumexp(x))


def swapped(f):
    """Heads in front, as attention moves them."""
    return lambda x: f(x.transpose(1, 0, 2)).transpose(1, 0, 2)


def masked_exponentials(x, keep):
    return over_its_sum(jnp.where(keep, jnp.exp(shifted(x)), 0))


#: Along the last axis, without a mask.
PLAIN = {
    "jax.nn": softmax,
    "jit": jax.jit(softmax),
    "remat": jax.checkpoint(softmax),
    "jit in remat in jit": jax.jit(jax.checkpoint(jax.jit(softmax))),
    "no shift": lambda x: over_its_sum(jnp.exp(x)),
    "constant shift": lambda x: over_its_sum(jnp.exp(x - 3.0)),
    "stopped shift": lambda x: over_its_sum(jnp.exp(shifted(x))),
    "live shift": lambda x: over_its_sum(jnp.exp(x - x.max(-1, keepdims=True))),
    "shift by the mean": lambda x: over_its_sum(jnp.exp(x - x.mean(-1, keepdims=True))),
    "computed twice": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1)[..., None],
    "shifted twice": lambda x: jnp.exp(shifted(x)) / jnp.exp(shifted(x)).sum(-1, keepdims=True),
    "sum by einsum": lambda x: jnp.exp(x) / jnp.einsum("abc->ab", jnp.exp(x))[..., None],
    "sum of a transpose": lambda x: jnp.exp(x) / jnp.exp(x).transpose(2, 0, 1).sum(0)[..., None],
    "e * (1 / sum)": lambda x: times_its_reciprocal(jnp.exp(shifted(x))),
    "reciprocal": lambda x: times_its_reciprocal(jnp.exp(x), jnp.reciprocal),
    "sum ** -1": lambda x: times_its_reciprocal(jnp.exp(x), lambda total: total**-1),
    "sum ** -1.0": lambda x: times_its_reciprocal(jnp.exp(x), lambda total: total**-1.0),
    "(1 / sum) * e": lambda x: (1 / jnp.exp(x).sum(-1, keepdims=True)) * jnp.exp(x),
    "exp(log_softmax)": lambda x: jnp.exp(log_softmax(x)),
    "exp(x - log(sum))": less_logsumexp(lambda x: jnp.log(jnp.exp(x).sum(-1, keepdims=True))),
    "exp(x - logsumexp)": less_logsumexp(lambda x: jax.nn.logsumexp(x, -1, keepdims=True)),
    "transposed": swapped(softmax),
    "e * (1 / sum), transposed": swapped(lambda x: times_its_reciprocal(jnp.exp(x))),
    "reshaped": lambda x: softmax(x.reshape(6, 4)).reshape(SHAPE),
    "vmap": jax.vmap(softmax),
    "vmap along 1": jax.vmap(softmax, 1, 1),
    "vmap of vmap": jax.vmap(jax.vmap(softmax)),
    "vmap of e * (1 / sum)": jax.vmap(lambda x: times_its_reciprocal(jnp.exp(x)), 1, 1),
    "vmap of exp(log_softmax)": jax.vmap(lambda x: jnp.exp(log_softmax(x)), 1, 1),
    "vmap of computed twice": jax.vmap(lambda x: jnp.exp(x) / jnp.exp(x).sum(-1)[:, None], 1, 1),
    "remat of vmap": jax.checkpoint(jax.vmap(softmax, 1, 1)),
}
#: Along other axes: the function and its axes.
AXES = {
    "first": (lambda x: softmax(x, 0), 0),
    "middle": (lambda x: softmax(x, axis=1), 1),
    "two": (lambda x: softmax(x, axis=(0, 2)), (0, 2)),
    "two, no shift": (lambda x: jnp.exp(x) / jnp.exp(x).sum((1, 2), keepdims=True), (1, 2)),
    "two, one sum at a time": (
        lambda x: jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True).sum(2, keepdims=True),
        (1, 2),
    ),
    "all": (lambda x: softmax(x, axis=(0, 1, 2)), (0, 1, 2)),
    "all, flat": (lambda x: softmax(x.reshape(-1)).reshape(SHAPE), (0, 1, 2)),
    "exp(log_softmax) of the middle": (lambda x: jnp.exp(log_softmax(x, 1)), 1),
    "e * (1 / sum) of the first": (lambda x: jnp.exp(x) * (1 / jnp.exp(x).sum(0)), 0),
    "vmap over the last": (jax.vmap(lambda x: softmax(x, 0), 2, 2), 0),
    "vmap over the middle": (jax.vmap(lambda x: softmax(x, 0), 1, 1), 0),
    "vmap of two": (jax.vmap(lambda x: softmax(x, (0, 1)), 2, 2), (0, 1)),
}
#: With masks: the function and what its mask leaves.
MASKED = {
    "where=": (lambda x: softmax(x, where=KEEP), KEEP),
    "where= broadcast": (lambda x: softmax(x, where=SHARED), np.broadcast_to(SHARED, SHAPE)),
    "where= by vmap": (
        lambda x: jax.vmap(lambda x, m: softmax(x, where=m), 1, 1)(x, KEEP),
        KEEP,
    ),
    "-inf before": (lambda x: softmax(jnp.where(KEEP, x, -jnp.inf)), KEEP),
    "-1e9 before": (lambda x: softmax(jnp.where(KEEP, x, -1e9)), KEEP),
    "the lowest number before": (
        lambda x: softmax(jnp.where(KEEP, x, jnp.finfo(x.dtype).min)),
        KEEP,
    ),
    "turned round": (lambda x: softmax(jnp.where(~KEEP, -1e30, x)), KEEP),
    "two before": (
        lambda x: softmax(jnp.where(KEEP, jnp.where(SHARED, x, -1e30), -1e30)),
        KEEP & SHARED,
    ),
    "exp(log_softmax)": (lambda x: jnp.exp(log_softmax(jnp.where(KEEP, x, -jnp.inf))), KEEP),
    "exp(log_softmax), where=": (lambda x: jnp.exp(log_softmax(x, where=KEEP)), KEEP),
    "0 after exp": (lambda x: masked_exponentials(x, KEEP), KEEP),
    "0 after exp, by vmap": (lambda x: jax.vmap(masked_exponentials, 1, 1)(x, KEEP), KEEP),
    "before and after": (lambda x: jnp.where(KEEP, softmax(jnp.where(KEEP, x, -1e30)), 0), KEEP),
}
#: Masks that are added: a shift in front of the softmax.
ADDED = {
    "-inf": (lambda x: softmax(x + np.where(KEEP, 0.0, -np.inf)), KEEP),
    "-1e9": (lambda x: softmax(x + np.where(KEEP, 0.0, -1e9)), KEEP),
    "-1e30, e * (1 / sum)": (
        lambda x: times_its_reciprocal(jnp.exp(shifted(x + np.where(KEEP, 0.0, -1e30)))),
        KEEP,
    ),
}
#: With masks that leave one logit of each row: its weight is 1, whatever it is.
ALONE = {
    "where=": lambda x: softmax(x, where=ONE),
    "-inf before": lambda x: softmax(jnp.where(ONE, x, -jnp.inf)),
    "-1e9 before": lambda x: softmax(jnp.where(ONE, x, -1e9)),
    "0 after exp": lambda x: masked_exponentials(x, ONE),
    "exp(log_softmax)": lambda x: jnp.exp(log_softmax(jnp.where(ONE, x, -jnp.inf))),
    "-inf added": lambda x: softmax(x + np.where(ONE, 0.0, -np.inf)),
    "one logit": lambda x: softmax(x[..., :1]) * ONE,
}
