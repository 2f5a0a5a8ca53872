"""Explanations of attention under JAX's transformations: jit, vmap, grad, lrp_vjp."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.transformer import MASKS, PARAMETERS, TOKENS, WIDTH, X, by_hand
from composition.derivatives import check_derivative
from support.networks import close, normal

from lrpjax import Composite, lrp, lrp_vjp, rules, value_and_lrp

P, MASK = PARAMETERS["layer0"]["attention"], MASKS["causal and padding"]
C = normal(*X.shape, seed=830)
PRESETS = ("attn_lrp", "cp_lrp", "default")

pytestmark = pytest.mark.usefixtures("x64")


def explain(preset, x, mask, c):
    """Relevance of one batch through one layer, starting with its outputs times c."""
    return lrp(by_hand, preset, argnums=1)(P, x, mask, target=lambda y: y * c)


def test_every_way_to_explain_a_batch_is_a_loop():
    def ways(preset):
        one = lambda x, mask, c: explain(preset, x[None], mask[None], c[None])[0]
        single = lambda x, mask: by_hand(P, x[None], mask[None])[0]
        mapped = lrp(jax.vmap(single), preset)
        last = lrp(jax.vmap(single, (2, 0), 2), preset)
        moved, start = np.moveaxis(X, 0, 2), np.moveaxis(C, 0, 2)
        return {
            "the batch": explain(preset, X, MASK, C),
            "vmap": jax.vmap(one)(X, MASK, C),
            "lrp of vmap": mapped(X, MASK, target=lambda y: y * C),
            "lrp of vmap of the last axis": jnp.moveaxis(
                last(moved, MASK, target=lambda y: y * start), 2, 0
            ),
        }

    found = jax.jit(lambda: {preset: ways(preset) for preset in PRESETS})()
    for preset in PRESETS:
        loop = [explain(preset, X[i : i + 1], MASK[i : i + 1], C[i : i + 1]) for i in range(2)]
        close(found[preset], dict.fromkeys(found[preset], np.concatenate(loop)))


def test_without_jit_it_is_the_same():
    compiled = explain("attn_lrp", X[:1], MASK[:1], C[:1])
    with jax.disable_jit():
        close(explain("attn_lrp", X[:1], MASK[:1], C[:1]), compiled)


def test_many_starts_by_one_forward_pass():
    """Indices and starting relevances, each as if it were explained alone."""
    network = lambda x: by_hand(P, x, MASK)[:, -1]
    alone = jax.jit(lambda x, start: lrp(network, "attn_lrp")(x, target=lambda _: start))
    out, relevance_of = lrp_vjp(network, "attn_lrp", X)
    starts = out * jnp.stack([np.eye(WIDTH)[2], np.eye(WIDTH)[5], normal(WIDTH, seed=831)])[:, None]
    expected = np.stack([alone(X, start) for start in starts])
    close(jax.vmap(relevance_of)(starts), expected)
    close(jax.vmap(relevance_of)(jnp.array([2, 5])), expected[:2])


def test_relevance_is_linear_in_its_start():
    _, relevance_of = lrp_vjp(lambda x: by_hand(P, x, MASK), "attn_lrp", X)
    a, b = normal(*X.shape, seed=832), normal(*X.shape, seed=833)
    combined = jax.jit(relevance_of)(jnp.asarray(2 * a - b))
    close(combined, 2 * relevance_of(jnp.asarray(a)) - relevance_of(jnp.asarray(b)))


@pytest.mark.parametrize("preset", ["attn_lrp", "cp_lrp"])
def test_relevance_is_differentiable(preset):
    """In the input, the weights, the start and every ε, against differences."""
    rule = rules.Uniform if preset == "attn_lrp" else rules.ValueOnly

    def relevance(parameters, x, c, epsilon):
        dense, attention = rules.Epsilon(epsilon), rule(epsilon)
        softmax = rules.SoftmaxTaylor() if preset == "attn_lrp" else rules.Stop()
        composite = Composite(dense=dense, attention=attention, softmax=softmax)
        explained = lrp(by_hand, composite, argnums=1)
        return explained(parameters, x, MASK, target=lambda y: y * c)

    check_derivative(relevance, (P, X, C, 0.05), rtol=1e-5)


def test_the_output_and_its_gradient_are_the_functions_own():
    def value_and_gradient(f):
        value, back = jax.vjp(f, X)
        return value, back(jnp.asarray(C))[0]

    @jax.jit
    def all_of_them():
        own = lambda x: by_hand(P, x, MASK)
        explained = lambda preset: lambda x: value_and_lrp(own, preset)(x)[0]
        found = {preset: value_and_gradient(explained(preset)) for preset in PRESETS}
        return found, value_and_gradient(own)

    found, (value, gradient) = all_of_them()
    for preset in PRESETS:
        close(found[preset], (value, gradient), rtol=1e-13)


EDGES = {
    "zeros": (np.zeros_like(X), MASK),
    "one token of zeros": (np.where(np.arange(TOKENS)[:, None] == 1, 0.0, X), MASK),
    "equal tokens": (np.ones_like(X), MASK),
    "one token to see": (X, np.broadcast_to(np.eye(TOKENS, dtype=bool), MASK.shape)),
    "large scores": (1e3 * X, MASK),
}


def test_no_edge_makes_a_nan():
    """Neither in relevance nor in its gradient."""

    @jax.jit
    def both(x, mask):
        found = {}
        for preset in ("attn_lrp", "cp_lrp"):
            relevance = lambda x, preset=preset: explain(preset, x, mask, C)
            value, back = jax.vjp(relevance, x)
            found[preset] = value, back(jnp.asarray(C))
        return found

    for name, (x, mask) in EDGES.items():
        for preset, numbers in both(x, mask).items():
            assert all(np.isfinite(a).all() for a in jax.tree.leaves(numbers)), (name, preset)


def test_a_token_that_sees_itself_alone_sends_nothing_to_its_query_and_key():
    """Its weight is one whatever they are: AttnLRP halves the relevance, CP-LRP doesn't."""
    x, mask = EDGES["one token to see"]
    attn, cp = (explain(preset, x, mask, C) for preset in ("attn_lrp", "cp_lrp"))
    close(2 * attn, cp, rtol=1e-9)


def test_nested_batches_are_a_loop():
    single = lambda x: by_hand(P, x[None], MASK[:1])[0]
    x = normal(2, 3, TOKENS, WIDTH, seed=834)
    found = lrp(jax.vmap(jax.vmap(single)), "attn_lrp")(x, target=1)
    alone = lrp(single, "attn_lrp")
    for i, j in ((0, 0), (1, 2)):
        close(found[i, j], alone(x[i, j], target=1))
