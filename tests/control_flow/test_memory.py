"""Temporary memory of explaining 64 rematerialised layers in a loop, beside their gradient's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.compiling import as_users_do
from support.networks import normal

from lrpjax import lrp

BATCH, TOKENS, WIDTH, HEADS, CLASSES = 4, 32, 64, 4, 10
SHAPES = {
    "query": (WIDTH, HEADS, WIDTH // HEADS),
    "key": (WIDTH, HEADS, WIDTH // HEADS),
    "value": (WIDTH, HEADS, WIDTH // HEADS),
    "out": (HEADS, WIDTH // HEADS, WIDTH),
    "up": (WIDTH, 4 * WIDTH),
    "down": (4 * WIDTH, WIDTH),
}
X = jax.ShapeDtypeStruct((BATCH, TOKENS, WIDTH), jnp.float32)


def normalised(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def perceptron(h, p):
    return h + jax.nn.gelu(normalised(h) @ p["up"]) @ p["down"]


def transformer(h, p):
    y = normalised(h)
    q, k, v = (jnp.einsum("btd,dhk->bthk", y, p[name]) for name in ("query", "key", "value"))
    weights = jax.nn.softmax(jnp.einsum("bthk,bshk->bhts", q, k) / 4.0, -1)
    mixed = jnp.einsum("bhts,bshk->bthk", weights, v)
    return perceptron(h + jnp.einsum("bthk,hkd->btd", mixed, p["out"]), p)


def network(block, policy=None):
    """[batch, tokens, width] -> [batch, classes], one block for each of the stacked weights."""
    body = jax.checkpoint(lambda h, p: (block(h, p), None), policy=policy)

    def f(parameters, x):
        head = jnp.asarray(normal(WIDTH, CLASSES, seed=660), x.dtype)
        return lax.scan(body, x, parameters)[0].mean(1) @ head

    return f


def temporary(f, depth):
    """Bytes of temporary memory of a compiled function of parameters and x."""
    shapes = {k: jax.ShapeDtypeStruct((depth, *s), jnp.float32) for k, s in SHAPES.items()}
    return as_users_do(f, shapes, X).memory_analysis().temp_size_in_bytes


@functools.cache
def of_gradient(block, depth):
    f = network(block)
    return temporary(jax.grad(lambda ps, x: f(ps, x).max(-1).sum(), argnums=1), depth)


@functools.cache
def of_explanation(block, composite, depth):
    return temporary(lrp(network(block), composite, argnums=1), depth)


@pytest.mark.parametrize("composite", ["default", "attn_lrp"])
def test_a_further_layer_costs_what_it_costs_the_gradient(composite):
    """One carry, and nothing else, is kept for each layer."""
    more = of_explanation(transformer, composite, 64) - of_explanation(transformer, composite, 32)
    assert more == of_gradient(transformer, 64) - of_gradient(transformer, 32)
    assert more == 32 * 4 * np.prod(X.shape)


@pytest.mark.parametrize("composite", ["default", "cp_lrp"])
def test_64_layers_need_no_more_memory_than_their_gradient(composite):
    assert of_explanation(transformer, composite, 64) <= of_gradient(transformer, 64)


@pytest.mark.parametrize(
    ("block", "composite", "activations"),
    [(transformer, "attn_lrp", 3), (perceptron, "default", 1)],
    ids=lambda p: getattr(p, "__name__", p),
)
def test_what_one_block_needs_beyond_the_gradient_does_not_grow(block, composite, activations):
    """Some hidden activations of one block are alive at once, however many blocks there are."""
    hidden = 4 * BATCH * TOKENS * 4 * WIDTH
    excess = of_explanation(block, composite, 64) - of_gradient(block, 64)
    assert excess <= activations * hidden


def test_a_policy_says_what_is_kept():
    """Nothing, products, or all: by layer, at least the wide product, then what is between."""
    policies = jax.checkpoint_policies
    each = [policies.nothing_saveable, policies.dots_saveable, policies.everything_saveable]
    nothing, products, everything = (
        temporary(lrp(network(perceptron, policy), argnums=1), 16) for policy in each
    )
    narrow = 16 * 4 * np.prod(X.shape)
    assert products - nothing >= 4 * narrow
    assert everything - products >= narrow
