"""What isn't read isn't computed, and the relevance is the same as if it were.

The reference has no slice in its program: all of the output is explained, from a start that is
zero where the slice would have cut.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from support.networks import normal
from support.products import products

import lrpjax
from lrpjax import Composite, lrp, lrp_vjp, rules, value_and_lrp
from lrpjax.rewrite.narrow.boxes import part_of
from lrpjax.rewrite.run import bind
from lrpjax.rules.base import rule
from lrpjax.trace import trace

BATCH, TOKENS, WIDTH, HIDDEN = 3, 5, 4, 7


def weights(*shape, seed):
    return jnp.asarray(normal(*shape, seed=seed), jnp.float32) / 2


X = weights(BATCH, TOKENS, WIDTH, seed=900)
W1, W2 = weights(WIDTH, HIDDEN, seed=901), weights(HIDDEN, WIDTH, seed=902)
B1, B2 = weights(HIDDEN, seed=903), weights(WIDTH, seed=904)
SCALE, PLACES = weights(WIDTH, seed=905), weights(TOKENS, WIDTH, seed=906)
KERNEL = weights(3, 3, WIDTH, WIDTH, seed=907)
ATTENTION = nnx.MultiHeadAttention(2, WIDTH, decode=False, rngs=nnx.Rngs(0))
MASK = jnp.tril(jnp.ones((TOKENS, TOKENS), bool))


def mlp(x):
    return jax.nn.gelu(x @ W1 + B1, approximate=False) @ W2 + B2


def norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-3) * SCALE + B2


def block(x):
    x = x + PLACES
    x = x + ATTENTION(norm(x), mask=MASK)
    return norm(x + mlp(norm(x)))


def image(x):
    y = x.reshape(BATCH, TOKENS, WIDTH, 1) * jnp.ones((WIDTH,))
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(y, KERNEL, (1, 1), "SAME", dimension_numbers=numbers) + B2
    return jnp.maximum(y, 0) @ W1 + B1


MODELS = {"mlp": mlp, "norm, mlp": lambda x: mlp(norm(x)), "block": block, "image": image}
#: name -> the slice
SLICES = {
    "first": np.s_[:, 0],
    "last": np.s_[:, -1],
    "some": np.s_[:, 1:3],
    "an example": np.s_[1],
    "an example's last": np.s_[0:1, -1],
    "features": np.s_[..., 1:3],
}
COMPOSITES = ["epsilon", "epsilon_plus_flat", "epsilon_alpha2_beta1", "attn_lrp", "cp_lrp"]


def embedded(like, where):
    """A start for the whole output that is the slice's own values where it cuts."""
    return jnp.zeros_like(like).at[where].set(like[where])


def results(function):
    """The shapes of the results of all products in an explanation of X."""
    return [equation.outvars[0].aval.shape for equation in products(function, X)]


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("cut", SLICES)
@pytest.mark.parametrize("name", MODELS)
def test_relevance_is_that_of_the_whole_output_started_at_the_slice(name, cut, composite):
    model, where = MODELS[name], SLICES[cut]
    out, relevance_of = lrp_vjp(model, composite, X)
    wanted = relevance_of(embedded(out, where))
    part, relevance_of_part = lrp_vjp(lambda x: model(x)[where], composite, X)
    np.testing.assert_allclose(part, out[where], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(relevance_of_part(part), wanted, rtol=2e-4, atol=1e-5)


def test_a_position_s_products_have_one_row():
    rows = {shape[1] for shape in results(lrp(lambda x: mlp(norm(x))[:, 0])) if len(shape) == 3}
    assert rows == {1}


def test_an_example_s_products_have_one_example():
    shapes = results(lrp(lambda x: mlp(x)[1]))
    assert {shape[0] for shape in shapes} == {1}


def test_attention_s_keys_and_values_stay_whole():
    shapes = results(lrp(lambda x: block(x)[:, 0]))
    assert (BATCH, 1, HIDDEN) in shapes  # the first layer of the perceptron
    assert (BATCH, TOKENS, HIDDEN) not in shapes
    assert (BATCH, TOKENS, 2, WIDTH // 2) in shapes  # keys and values


def test_two_slices_compute_what_lies_between():
    def f(x):
        y = mlp(x)
        return y[:, 1] + 2 * y[:, 3]

    assert {s[1] for s in results(lrp(f)) if len(s) == 3} == {3}
    out, relevance_of = lrp_vjp(mlp, None, X)
    start = jnp.zeros_like(out).at[:, 1].set(out[:, 1]).at[:, 3].set(2 * out[:, 3])
    sums = out[:, 1] + 2 * out[:, 3]
    got = lrp_vjp(f, None, X)[1](sums)
    np.testing.assert_allclose(got, relevance_of(start), rtol=2e-4, atol=1e-5)


def test_what_is_read_elsewhere_as_well_is_computed():
    out = lrp(lambda x: (mlp(x)[:, 0], mlp(x).sum()), has_aux=True)(X)
    np.testing.assert_allclose(out[1], mlp(X).sum(), rtol=1e-5)


def test_a_convolution_keeps_its_bias():
    """The slice stands behind the layer, not between it and its bias."""
    composite = Composite(conv=rules.Epsilon(0.25), dense=rules.Epsilon())

    def conv(x):
        return image(x)[:, :, 0]

    out, relevance_of = lrp_vjp(image, composite, X)
    got = lrp_vjp(conv, composite, X)[1](out[:, :, 0])
    np.testing.assert_allclose(
        got, relevance_of(embedded(out, np.s_[:, :, 0])), rtol=2e-4, atol=1e-5
    )
    assert [u.kind for u in lrpjax.plan(conv, composite, X).units].count("dense") == 1


def test_bounds_for_each_element_stay():
    low, high = X.min(0) - jnp.ones_like(X), X.max(0) + jnp.ones_like(X)
    composite = Composite(dense=rules.Epsilon(), first=rules.ZBox(low, high))
    out, relevance_of = lrp_vjp(mlp, composite, X)
    got = lrp_vjp(lambda x: mlp(x)[1], composite, X)[1](out[1])
    np.testing.assert_allclose(got, relevance_of(embedded(out, np.s_[1])), rtol=2e-4, atol=1e-5)


@rule
class Levelled(rules.Rule):
    """The ε-rule, less the mean over the whole layer: not position by position."""

    def affine(self, layer, relevance):
        split = rules.Epsilon().affine(layer, relevance)
        (given,) = split.relevance
        return dataclasses.replace(split, relevance=(given - given.mean(),))


def test_a_user_s_rule_sees_the_whole_layer():
    composite = Composite(dense=Levelled())
    out, relevance_of = lrp_vjp(mlp, composite, X)
    got = lrp_vjp(lambda x: mlp(x)[:, 0], composite, X)[1](out[:, 0])
    np.testing.assert_allclose(got, relevance_of(embedded(out, np.s_[:, 0])), 2e-4, 1e-5)
    assert np.abs(got[:, 1:]).min() > 0


def test_an_empty_slice():
    out, relevance_of = lrp_vjp(lambda x: mlp(x)[:, 0:0], None, X)
    assert out.shape == (BATCH, 0, WIDTH)
    np.testing.assert_array_equal(relevance_of(out), jnp.zeros_like(X))


def test_taps_and_reports_are_of_the_program_as_it_is_written():
    def f(x):
        return mlp(x)[:, 0]

    layer = lrpjax.plan(f, None, X).units[0].layer
    _, taps = lrp(f, taps=[layer])(X)
    assert taps[layer].shape == (BATCH, TOKENS, HIDDEN)
    ledger = lrpjax.audit(f, None, X)
    assert ledger.rows[0].layer == layer


def test_mapped_and_compiled():
    def f(x):
        return block(x)[:, 0]

    many = jnp.stack([X, 2 * X])
    wanted = jnp.stack([lrp(f, "attn_lrp")(x) for x in many])
    got = jax.jit(jax.vmap(lrp(f, "attn_lrp")))(many)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", [np.s_[:, 0], np.s_[:]], ids=["narrow", "whole"])
def test_outputs_have_the_derivatives_of_their_author(where):
    """Inlined, the maximum that softmax subtracts would have a derivative; relu at 0 another."""

    def f(w, x):
        return jax.nn.softmax(jax.nn.relu(x @ w) @ W2)[where]

    zeros = jnp.zeros_like(X)

    def explained(w, x):
        return value_and_lrp(lambda x: f(w, x))(x)[0].sum(-1)[0].sum()

    def as_argument(w, x):
        return value_and_lrp(f, argnums=1)(w, x)[0].sum(-1)[0].sum()

    def author(w, x):
        return f(w, x).sum(-1)[0].sum()

    for x in (X, zeros):
        wanted = jax.grad(author, (0, 1))(W1, x)
        for function in (explained, as_argument):
            for a, b in zip(jax.grad(function, (0, 1))(W1, x), wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def random_box(random, shape):
    """A part of an array; half of the axes are whole."""
    spans = []
    for size in shape:
        start = int(random.integers(0, size))
        part = (start, int(random.integers(start + 1, size + 1)))
        spans.append(part if random.integers(2) else (0, size))
    return tuple(spans)


EQUATIONS = {
    "add": (lambda a: a + PLACES, X),
    "select": (lambda a: jnp.where(a > 0, a, 2 * a), X),
    "softmax": (lambda a: jnp.exp(a) / jnp.exp(a).sum(-1, keepdims=True), X),
    "transpose": (lambda a: a.transpose(2, 0, 1), X),
    "merged axes": (lambda a: a.reshape(BATCH, TOKENS, 2, 2), X),
    "axes of one": (lambda a: a.reshape(BATCH, 1, TOKENS, WIDTH), X),
    "squeeze": (lambda a: lax.squeeze(a[:, :1], (1,)), X),
    "broadcast": (lambda a: jnp.broadcast_to(a[:, None, :1], (BATCH, 2, 1, WIDTH)), X),
    "slice": (lambda a: a[1:, 2:4], X),
    "strided": (lambda a: a[:, ::2], X),
    "sum": (lambda a: a.sum(1), X),
    "max": (lambda a: a.max((0, 2)), X),
    "product": (lambda a: jnp.einsum("bti,bsi->bts", a, a + 1), X),
    "weights first": (lambda a: jnp.einsum("io,bti->obt", W1, a), X),
    "cast": (lambda a: a.astype(jnp.float16), X),
    "reverse": (lambda a: a[:, ::-1], X),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_part_of_a_result_comes_from_parts_of_operands(name):
    """Each equation of a program, run on the parts that the table says it needs."""
    function, x = EQUATIONS[name]
    traced = trace(function, [x], [None], [0])
    known = dict(zip(traced.region.inputs, (x, *traced.constants), strict=True))
    random, tried = np.random.default_rng(0), 0
    for equation in traced.region.equations:
        inputs = [known.get(atom, getattr(atom, "value", None)) for atom in equation.inputs]
        (out,) = bind(equation, inputs)
        known[equation.outputs[0]] = out
        for _ in range(20):
            box = random_box(random, out.shape)
            part = part_of(equation, box)
            if part is None:
                continue
            tried += 1
            cut = [
                jnp.asarray(a)[tuple(slice(*span) for span in spans)]
                for a, spans in zip(inputs, part.operands, strict=True)
            ]
            got = equation.primitive.bind(*cut, **part.params)
            np.testing.assert_allclose(got, out[tuple(slice(*span) for span in box)], 1e-5, 1e-6)
    assert tried >= (0 if name in ("strided", "reverse") else 4)
