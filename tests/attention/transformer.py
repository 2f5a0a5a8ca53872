"""A pre-norm transformer of two layers, as a JAX function and once more in NumPy.

The attention is left open, so that every library's and every spelling can stand there. The NumPy
one explains itself, layer by layer and head by head, from attention.formulas alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from support.networks import normal

BATCH, TOKENS, WIDTH, HEADS, HIDDEN, CLASSES, LAYERS = 2, 5, 8, 2, 12, 3, 2
DEPTH = WIDTH // HEADS
SCALE = DEPTH**-0.5


def projections(seed):
    """Kernels and biases of one attention layer, in the shapes that Flax gives them."""
    shapes = dict.fromkeys(("query", "key", "value"), ((WIDTH, HEADS, DEPTH), (HEADS, DEPTH)))
    shapes["out"] = (HEADS, DEPTH, WIDTH), (WIDTH,)
    return {
        name: {
            "kernel": 0.5 * normal(*kernel, seed=seed + i),
            "bias": 0.3 * normal(*bias, seed=seed + i),
        }
        for i, (name, (kernel, bias)) in enumerate(shapes.items())
    }


def _norm(seed):
    return {"scale": 1 + 0.3 * normal(WIDTH, seed=seed), "bias": 0.3 * normal(WIDTH, seed=seed + 1)}


def _linear(rows, columns, seed):
    return {
        "kernel": 0.5 * normal(rows, columns, seed=seed),
        "bias": 0.3 * normal(columns, seed=seed),
    }


def _layer(seed):
    return {
        "norm1": _norm(seed),
        "attention": projections(seed + 10),
        "norm2": _norm(seed + 20),
        "up": _linear(WIDTH, HIDDEN, seed + 30),
        "down": _linear(HIDDEN, WIDTH, seed + 31),
    }


PARAMETERS = {f"layer{i}": _layer(400 + 100 * i) for i in range(LAYERS)} | {
    "norm": _norm(700),
    "head": _linear(WIDTH, CLASSES, 710),
}
X = normal(BATCH, TOKENS, WIDTH, seed=720)

_CAUSAL = np.broadcast_to(np.tril(np.ones((TOKENS, TOKENS), bool)), (BATCH, TOKENS, TOKENS))
_PADDING = np.arange(TOKENS) < np.array([TOKENS, 3])[:, None]  # the second text has three tokens
MASKS = {
    "none": np.ones_like(_CAUSAL),
    "causal": _CAUSAL,
    "padding": np.broadcast_to(_PADDING[:, None], _CAUSAL.shape),
    "causal and padding": _CAUSAL & _PADDING[:, None],
}

# ---------------------------------------------------------------- in JAX


def layer_norm(p, x):
    average, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return p["scale"] * (x - average) * jax.lax.rsqrt(variance + 1e-6) + p["bias"]


def by_hand(p, x, mask):
    """Attention in einsums: x [b, t, width], mask [b, t, s]."""
    q, k, v = (
        jnp.einsum("btw,whd->bthd", x, p[name]["kernel"]) + p[name]["bias"]
        for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * SCALE
    weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -jnp.inf))
    mixed = jnp.einsum("bhts,bshd->bthd", weights, v)
    return jnp.einsum("bthd,hdw->btw", mixed, p["out"]["kernel"]) + p["out"]["bias"]


def transformer(x, p, mask, attend=by_hand):
    """Logits of every token: [b, t, width] -> [b, t, classes]."""
    for i in range(LAYERS):
        layer = p[f"layer{i}"]
        x = x + attend(layer["attention"], layer_norm(layer["norm1"], x), mask)
        hidden = layer_norm(layer["norm2"], x) @ layer["up"]["kernel"] + layer["up"]["bias"]
        hidden = jax.nn.gelu(hidden)
        x = x + (hidden @ layer["down"]["kernel"] + layer["down"]["bias"])
    return layer_norm(p["norm"], x) @ p["head"]["kernel"] + p["head"]["bias"]
