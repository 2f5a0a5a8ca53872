"""Attention layers that compute the same from the same weights, in each library's own words.

Each takes projections as attention.transformer holds them, x [b, t, width] and mask [b, t, s].
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from attention.transformer import HEADS, SCALE, WIDTH, by_hand
from flax import nnx


def _between_projections(core):
    """A layer from what happens between q, k, v [b, t, h, d] and the mixed values, the same."""

    def attend(p, x, mask):
        q, k, v = (
            jnp.einsum("btw,whd->bthd", x, p[name]["kernel"]) + p[name]["bias"]
            for name in ("query", "key", "value")
        )
        mixed = core(q, k, v, mask[:, None])
        return jnp.einsum("bthd,hdw->btw", mixed, p["out"]["kernel"]) + p["out"]["bias"]

    return attend


def _head(q, k, v, mask):
    """One head in matrices, for vmap."""
    return jax.nn.softmax(q @ k.T * SCALE, where=mask) @ v


def _mapped(q, k, v, mask):
    """Heads and examples by vmap, each along an axis of its own."""
    heads = jax.vmap(_head, (1, 1, 1, None), 1)
    return jax.vmap(heads)(q, k, v, mask[:, 0])


def _matmul(q, k, v, mask):
    """Heads in front, matrix products behind, the softmax without its shift."""
    q, k, v = (a.swapaxes(1, 2) for a in (q, k, v))
    e = jnp.where(mask, jnp.exp(q @ k.swapaxes(2, 3) * SCALE), 0)
    return (e / e.sum(-1, keepdims=True) @ v).swapaxes(1, 2)


def _heads_behind(q, k, v, mask):
    """The scores as [b, t, s, h], so that the softmax runs along an inner axis."""
    scores = jnp.einsum("bthd,bshd->btsh", q, k) * SCALE
    weights = jax.nn.softmax(jnp.where(mask[:, 0, :, :, None], scores, -1e30), axis=2)
    return jnp.einsum("btsh,bshd->bthd", weights, v)


def _query_first(q, k, v, mask):
    """The query scaled, log-softmax and its exponential."""
    scores = jnp.einsum("bthd,bshd->bhts", q * SCALE, k)
    weights = jnp.exp(jax.nn.log_softmax(jnp.where(mask, scores, -jnp.inf)))
    return jnp.einsum("bhts,bshd->bthd", weights, v)


def linen_module(p, x, mask):
    layer = nn.MultiHeadDotProductAttention(HEADS, dtype=x.dtype)
    return layer.apply({"params": p}, x, mask=mask[:, None])


def nnx_module(p, x, mask):
    layer = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=nnx.Rngs(0))
    for name, parameters in p.items():
        for leaf, value in parameters.items():
            setattr(getattr(layer, name), leaf, nnx.Param(value))
    return layer(x, mask=mask[:, None])


_jax_nn = functools.partial(jax.nn.dot_product_attention, implementation="xla")

#: Each with where it scales the scores.
DOUBLE = {
    "einsum": (by_hand, "scores"),
    "vmap": (_between_projections(_mapped), "scores"),
    "matmul": (_between_projections(_matmul), "scores"),
    "heads behind": (_between_projections(_heads_behind), "scores"),
    "log_softmax": (_between_projections(_query_first), "query"),
    "remat": (jax.checkpoint(by_hand), "scores"),
    "linen module": (linen_module, "query"),
    "linen function": (
        _between_projections(lambda *a: nn.dot_product_attention(*a[:3], mask=a[3])),
        "query",
    ),
}
#: These cast the logits to float32, whatever the model's dtype, and take the softmax there.
SINGLE = {
    "jax.nn": (_between_projections(lambda *a: _jax_nn(*a[:3], mask=a[3])), "scores"),
    "nnx module": (nnx_module, "scores"),
    "nnx function": (
        _between_projections(lambda *a: nnx.dot_product_attention(*a[:3], mask=a[3])),
        "scores",
    ),
}
