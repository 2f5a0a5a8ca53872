"""The functions that every program here computes, in their own words for one device."""

import jax
import jax.numpy as jnp
from jax import lax
from support.networks import conv, normal

DEPTH = 2

X = normal(4, 8, seed=900)
W1, B1 = normal(8, 16, seed=901), 0.3 * normal(16, seed=902)
W2, B2 = normal(16, 8, seed=903), 0.3 * normal(8, seed=904)
DEEP1, DEEP2 = 0.5 * normal(DEPTH, 8, 16, seed=905), 0.5 * normal(DEPTH, 16, 8, seed=906)

IMAGES = normal(2, 4, 4, 4, seed=907)
KERNEL1, KERNEL2 = normal(3, 3, 4, 8, seed=908), normal(3, 3, 8, 4, seed=909)
SHIFT1, SHIFT2 = 0.3 * normal(8, seed=910), 0.3 * normal(4, seed=911)

TOKENS = normal(2, 4, 8, seed=912)
QUERY, KEY, VALUE = (0.5 * normal(8, 4, 3, seed=seed) for seed in (913, 914, 915))
OUT = 0.5 * normal(4, 3, 8, seed=916)
GAIN = 1 + 0.2 * normal(8, seed=917)


def mlp(x):
    """Two layers with a relu between: [b, 8] -> [b, 8]."""
    return jax.nn.relu(x @ W1 + B1) @ W2 + B2


def deep(x):
    """The same twice with other weights, a tanh behind each."""
    for w1, w2 in zip(DEEP1, DEEP2, strict=True):
        x = jnp.tanh(jax.nn.relu(x @ w1 + B1) @ w2 + B2)
    return x


def halves(x):
    """Half of the hidden neurons with a relu, half with a tanh."""
    hidden = x @ W1 + B1
    both = [jax.nn.relu(hidden[:, :8]), jnp.tanh(hidden[:, 8:])]
    return jnp.concatenate(both, axis=1) @ W2 + B2


def convnet(x):
    """Two convolutions and a mean: [b, h, w, 4] -> [b, 4]."""
    hidden = jax.nn.relu(conv(x, KERNEL1) + SHIFT1)
    return (conv(hidden, KERNEL2) + SHIFT2).mean((1, 2))


def rms_norm(x):
    """Each token over its root mean square, with a gain."""
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * GAIN


def attend(q, k, v):
    """Attention: q [b, t, h, d], k and v [b, s, h, d]."""
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / 3**0.5
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)


def transformer_block(x):
    """Attention of four heads and a layer with weights, each on a sum with what came before."""
    normed = rms_norm(x)
    q, k, v = (jnp.einsum("btw,whd->bthd", normed, w) for w in (QUERY, KEY, VALUE))
    x = x + jnp.einsum("bthd,hdw->btw", attend(q, k, v), OUT)
    return x + mlp(rms_norm(x))
