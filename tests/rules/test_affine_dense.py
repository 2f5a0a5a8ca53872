"""Every affine rule on layers made of dot products equals the formula on the dense matrix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx
from rule_cases import RULES, SIGNS, agree, check_layer, random_like, start
from rule_layers import function, linen, nnx_module

from lrpjax import lrp, rules


def einsum(equation, x_shape, w_shape, bias_shape=(), x_first=True):
    """An einsum of x and a weight, in either order, plus a bias."""

    def f(x, w, b):
        return jnp.einsum(equation, *((x, w) if x_first else (w, x))) + b

    return function(x_shape, f, w_shape, bias_shape)


def weight_normalised(x, v, g):
    """A dense layer whose matrix is computed from two parameters."""
    return x @ (v / jnp.linalg.norm(v, axis=0) * g)


LAYERS = {
    "x@W": lambda: function((2, 5), lambda x, w: x @ w, (5, 4)),
    "x@W+b": lambda: function((2, 5), lambda x, w, b: x @ w + b, (5, 4), (4,)),
    "b+dot": lambda: function((2, 5), lambda x, w, b: b + jnp.dot(x, w), (5, 4), (4,)),
    "dot-b": lambda: function((2, 5), lambda x, w, b: jnp.dot(x, w) - b, (5, 4), (4,)),
    "b-dot": lambda: function((2, 5), lambda x, w, b: b - jnp.dot(x, w), (5, 4), (4,)),
    "W@x": lambda: function((5,), lambda x, w: w @ x, (4, 5)),
    "W@X+b": lambda: function((5, 3), lambda x, w, b: w @ x + b[:, None], (4, 5), (4,)),
    "x@W.T": lambda: function((2, 5), lambda x, w, b: x @ w.T + b, (4, 5), (4,)),
    "tensordot": lambda: function(
        (2, 3, 4), lambda x, w, b: jnp.tensordot(x, w, ((2, 1), (0, 1))) + b, (4, 3, 5), (5,)
    ),
    "weight norm": lambda: function((2, 5), weight_normalised, (5, 4), (4,)),
    "bi,ij->bj": lambda: einsum("bi,ij->bj", (2, 5), (5, 4), (4,)),
    "ij,bj->bi": lambda: einsum("ij,bj->bi", (2, 6), (4, 6), (4,), x_first=False),
    "bthd,hdf->btf": lambda: einsum("bthd,hdf->btf", (2, 3, 2, 4), (2, 4, 5), (5,)),
    "bti,hij->bthj": lambda: einsum("bti,hij->bthj", (2, 3, 4), (2, 4, 3), (2, 3)),
    "bti,hij->hbjt": lambda: einsum("bti,hij->hbjt", (2, 3, 4), (2, 4, 3), (2, 1, 3, 1)),
    "bhi,hij->bhj": lambda: einsum("bhi,hij->bhj", (2, 3, 4), (3, 4, 2), (3, 2)),
    "hji,bhi->bjh": lambda: einsum("hji,bhi->bjh", (2, 3, 4), (3, 2, 4), (2, 1), False),
    "bi,bij->bj": lambda: einsum("bi,bij->bj", (2, 5), (2, 5, 4)),
    "linen.Dense": lambda: linen((2, 5), nn.Dense(4)),
    "linen.Dense without bias": lambda: linen((2, 3, 5), nn.Dense(4, use_bias=False)),
    "linen.DenseGeneral": lambda: linen((2, 3, 4), nn.DenseGeneral((2, 3), axis=(-2, -1))),
    "linen.DenseGeneral batched": lambda: linen(
        (2, 3, 4), nn.DenseGeneral(5, axis=-1, batch_dims=(0,), use_bias=False)
    ),
    "linen.Einsum": lambda: linen((2, 3, 4), nn.Einsum((2, 4, 3), "bti,hij->bthj")),
    "nnx.Linear": lambda: nnx_module((2, 5), lambda rngs: nnx.Linear(5, 4, rngs=rngs)),
    "nnx.Linear without bias": lambda: nnx_module(
        (2, 5), lambda rngs: nnx.Linear(5, 4, use_bias=False, rngs=rngs)
    ),
    "nnx.LinearGeneral": lambda: nnx_module(
        (2, 3, 4), lambda rngs: nnx.LinearGeneral((3, 4), (2, 3), axis=(1, 2), rngs=rngs)
    ),
    "nnx.LinearGeneral first axis": lambda: nnx_module(
        (2, 3, 4), lambda rngs: nnx.LinearGeneral(3, (2, 2), axis=1, use_bias=False, rngs=rngs)
    ),
    "nnx.Einsum": lambda: nnx_module(
        (2, 3, 4), lambda rngs: nnx.Einsum("bti,ijk->btjk", (4, 2, 3), (2, 3), rngs=rngs)
    ),
}

FIRST, SECOND = "x@W+b", "nnx.Linear without bias"


def covering():
    """Every rule on one layer, half of them on another, one in rotation on the rest."""
    names = list(RULES)
    cases = [(FIRST, rule, "signed") for rule in names]
    cases += [(SECOND, rule, "relu") for rule in names[1::2]]
    for index, layer in enumerate(name for name in LAYERS if name not in (FIRST, SECOND)):
        cases.append((layer, names[(3 * index + 1) % len(names)], SIGNS[index % 3]))
    smoke = {(FIRST, rule) for rule in ("epsilon", "gamma", "alpha2_beta1")}
    return [
        pytest.param(*case, marks=[pytest.mark.smoke] if case[:2] in smoke else [])
        for case in cases
    ]


@pytest.mark.parametrize(("layer", "rule", "sign"), covering())
def test_rule_equals_its_formula_on_the_dense_matrix(layer, rule, sign):
    check_layer(LAYERS[layer](), *RULES[rule], sign)


@pytest.mark.parametrize("rule", ["gamma", "zplus", "alpha2_beta1"])
def test_signed_rules_take_their_short_cuts_only_behind_a_relu(rule):
    check_layer(LAYERS["x@W+b"](), *RULES[rule], "relu", seed=7)


def test_box_bounds_may_differ_for_every_input_element():
    layer = LAYERS["x@W+b"]()
    low, high = -1 - random_like((2, 5), 3) ** 2, 1 + random_like((2, 5), 4) ** 2

    def formula(affine, x, r):
        return oracle.zbox(affine, x, r, low.ravel(), high.ravel())

    check_layer(layer, rules.ZBox(low, high), formula)


def test_pass_on_a_square_dense_layer_is_the_identity():
    layer = function((2, 4), lambda x, w: x @ w, (4, 4))
    relevance = random_like((2, 4), 2)
    explained = layer.explain(rules.Pass())
    agree(explained(random_like((2, 4), 1), target=start(relevance)), relevance)


def test_stop_leaves_nothing_for_the_input():
    explained = LAYERS["x@W"]().explain(rules.Stop())
    relevance = explained(random_like((2, 5), 1), target=start(random_like((2, 4), 2)))
    np.testing.assert_array_equal(relevance, np.zeros((2, 5)))


def test_a_rules_numbers_may_be_mapped_over():
    layer = LAYERS["x@W+b"]()
    x, relevance = random_like((2, 5), 1), random_like((2, 4), 2)
    gammas = np.array([0.0, 0.3, 2.0])

    def explain(gamma):
        return layer.explain(rules.Gamma(gamma))(x, target=start(relevance))

    mapped = jax.vmap(explain)(gammas)
    for value, gamma in zip(mapped, gammas, strict=True):
        affine = layer.affine()
        agree(value, oracle.gamma(affine, x.ravel(), relevance.ravel(), gamma).reshape(2, 5))


def test_the_largest_logit_is_where_relevance_starts_unless_told():
    layer = LAYERS["x@W+b"]()
    x = random_like((2, 5), 1)
    out = layer.output(x)
    first = np.where(out == out.max(-1, keepdims=True), out, 0.0)
    expected = oracle.epsilon(layer.affine(), x.ravel(), first.ravel()).reshape(2, 5)
    agree(layer.explain(rules.Epsilon())(x, target=None), expected)


def test_a_layer_used_twice_is_explained_twice():
    weights = random_like((5, 5), 3)
    x, relevance = random_like((2, 5), 1), random_like((2, 5), 2)
    shared = jax.jit(lambda x: x @ weights)
    layer = oracle.affine(lambda x: x @ weights, (2, 5))
    middle = layer.W @ x.ravel()
    inner = oracle.gamma(layer, middle, relevance.ravel())
    expected = oracle.gamma(layer, x.ravel(), inner).reshape(2, 5)
    explained = lrp(lambda x: shared(shared(x)), rules.Gamma(0.25))
    agree(explained(x, target=start(relevance)), expected)
