"""What `lrp` returns for all kinds of functions and arguments, and that it is a JAX function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from support.networks import (
    B1,
    B2,
    W1,
    W2,
    close,
    convnet,
    largest,
    mlp,
    mlp_output,
    mlp_relevances,
    normal,
)

from lrpjax import Composite, PlanError, lrp, rules, value_and_lrp

X = normal(5, 4, seed=20)
IMAGES = normal(3, 8, 8, 2, seed=21)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


@pytest.mark.smoke
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_relevance_is_that_of_the_formula(wrap):
    close(wrap(lrp(mlp))(X), mlp_relevances(X))


@pytest.mark.parametrize(
    "make",
    [
        lambda: functools.partial(lambda w, x: mlp(x) * w, 1.0),
        lambda: jax.jit(mlp),
        lambda: jax.jit(jax.jit(mlp)),
        lambda: jax.named_call(mlp, name="mlp"),
        lambda: type("Callable", (), {"__call__": lambda self, x: mlp(x)})(),
        lambda: type("Unhashable", (), {"__call__": lambda self, x: mlp(x), "__hash__": None})(),
        lambda: type("Holder", (), {"method": lambda self, x: mlp(x)})().method,
    ],
    ids=["partial", "jit", "jit of jit", "named_call", "callable", "unhashable", "method"],
)
def test_any_callable_will_do(make):
    close(lrp(make())(X), mlp_relevances(X))


def test_jit_and_eager_agree_on_a_convnet():
    close(jax.jit(lrp(convnet))(IMAGES), lrp(convnet)(IMAGES), rtol=1e-12)


@pytest.mark.smoke
def test_a_mapped_explanation_is_the_explanation_of_the_mapped_function_and_a_loop():
    loop = np.stack([lrp(mlp)(x) for x in X])
    close(loop, mlp_relevances(X))
    close(jax.vmap(lrp(mlp))(X), loop)
    close(lrp(jax.vmap(mlp))(X), loop)


@pytest.mark.parametrize("composite", ["default", "epsilon_alpha2_beta1_flat", "deep_taylor"])
def test_the_same_holds_for_a_convnet(composite):
    single = lambda image: convnet(image[None])[0]
    loop = np.stack([lrp(single, composite)(image) for image in IMAGES])
    close(jax.vmap(lrp(single, composite))(IMAGES), loop)
    close(lrp(jax.vmap(single), composite)(IMAGES), loop)
    close(lrp(convnet, composite)(IMAGES), loop)


def test_weights_may_be_mapped_over_too():
    weights = normal(3, 4, 2, seed=22)
    f = lambda x, w: x @ w
    expected = np.stack([lrp(f)(X, w) for w in weights])
    close(jax.vmap(lrp(f), (None, 0))(X, weights), expected)


@pytest.mark.parametrize("transform", [jax.jit, lambda f: lambda w: jax.vmap(f)(w[None])[0]])
def test_a_function_may_close_over_traced_weights(transform):
    explained = transform(lambda w: lrp(lambda x: jax.nn.relu(x @ w) @ W2)(X))
    close(explained(W1), lrp(lambda x: jax.nn.relu(x @ W1) @ W2)(X), rtol=1e-9)


# ---------------------------------------------------------------- inputs


def dense_share(w, x, start):
    """The ε-rule on one bias-free dense layer, for a batch."""
    layer = oracle.Affine(w.T, np.zeros(w.shape[1]), np.ones_like(w.T))
    return np.stack([oracle.epsilon(layer, a, r) for a, r in zip(x, start, strict=True)])


def two_branches(left, right):
    """Two dense layers, summed."""
    return left @ W1 + right @ W1[::-1]


def two_branch_relevance(left, right):
    """By the ε-rule: the sum shares its relevance first, then each layer does."""
    branches = [left @ W1, right @ W1[::-1]]
    shares = oracle.add_epsilon(branches, largest(sum(branches)))
    return dense_share(W1, left, shares[0]), dense_share(W1[::-1], right, shares[1])


LEFT, RIGHT = X, X[::-1] + 0.5


def test_relevance_has_the_structure_of_a_pytree_of_inputs():
    tree = {"left": LEFT, "nested": [RIGHT, None]}
    relevance = lrp(lambda p: two_branches(p["left"], p["nested"][0]))(tree)
    assert jax.tree.structure(relevance) == jax.tree.structure(tree)
    left, right = two_branch_relevance(LEFT, RIGHT)
    close(relevance, {"left": left, "nested": [right, None]})


def test_an_input_that_the_output_does_not_use_gets_zero():
    relevance = lrp(lambda p: p["used"] @ W1)({"used": X, "unused": np.ones(3)})
    np.testing.assert_array_equal(relevance["unused"], np.zeros(3))
    assert np.abs(relevance["used"]).max() > 0


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (None, lambda left, right: left),
        (1, lambda left, right: right),
        (-1, lambda left, right: right),
        ((0, 1), lambda left, right: (left, right)),
        ([1, 0], lambda left, right: (right, left)),
        ((1,), lambda left, right: (right,)),
    ],
)
def test_argnums_choose_the_explained_arguments(argnums, expected):
    actual = lrp(two_branches, argnums=argnums)(LEFT, RIGHT)
    if argnums in (None, 1, -1, (1,)):  # the other operand is a bias of the layer then
        other = {"b": LEFT @ W1} if argnums else {"b": RIGHT @ W1[::-1]}
        w, x = (W1[::-1], RIGHT) if argnums else (W1, LEFT)
        z = x @ w + other["b"]
        layers = [oracle.Affine(w.T, b, np.ones_like(w.T)) for b in other["b"]]
        each = zip(layers, x, largest(z), strict=True)
        share = np.stack([oracle.epsilon(layer, a, r) for layer, a, r in each])
        close(actual, expected(share, share))
    else:
        close(actual, expected(*two_branch_relevance(LEFT, RIGHT)))


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_argnums_out_of_range_are_refused(argnums):
    with pytest.raises(PlanError, match="argnums"):
        lrp(two_branches, argnums=argnums)(LEFT, RIGHT)


def test_a_python_number_is_an_input_too():
    assert float(lrp(lambda x: 3.0 * x)(2.0)) == pytest.approx(6.0)


@pytest.mark.parametrize("x", [np.ones(4) * 1j, True, "text", {"x": X, "flag": True}])
def test_what_is_no_array_of_numbers_cannot_be_explained(x):
    with pytest.raises(PlanError, match="an explained input is"):
        lrp(lambda x, w: w)(x, np.ones(3))


@pytest.mark.parametrize("x", [np.arange(4), 3, np.array([True, False]), None], ids=str)
def test_nothing_and_integers_that_are_only_compared_cannot_be_explained(x):
    with pytest.raises(PlanError, match="does not depend"):
        lrp(lambda x: jnp.where(1 if x is None else x > 0, 2.0, 1.0) + np.ones(1))(x)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: jnp.ones(3), "does not depend"),
        (lambda x: jax.lax.stop_gradient(x) @ W1, "does not depend"),
        (lambda x: jnp.argmax(x), "floating"),
        (lambda x: x.astype(complex), "floating"),
        (lambda x: None, "no array"),
    ],
    ids=["constant", "stopped", "integer", "complex", "nothing"],
)
def test_outputs_that_cannot_be_explained_are_refused(f, message):
    with pytest.raises(PlanError, match=message):
        lrp(f)(X)


# ---------------------------------------------------------------- other arguments


def configured(x, w, mode, train, *, scale=1.0, offset=None, double=False):
    """A function of arrays, strings, booleans and None."""
    assert isinstance(mode, str) and isinstance(train, bool) and isinstance(double, bool)
    z = x @ w if mode == "dense" else x
    z = z + 1.0 if train else z
    z = z if offset is None else z + offset
    return z * scale * (2.0 if double else 1.0)


def test_strings_and_booleans_stay_static_and_keywords_reach_the_function():
    explain = value_and_lrp(configured)
    out, _ = explain(X, W1, "dense", True, scale=np.float64(3.0), offset=B1, double=True)
    close(out, ((X @ W1) + 1.0 + B1) * 6.0)
    out, relevance = explain(X, W1, "identity", False)
    close(out, X)
    close(relevance, largest(X))
    out, relevance = explain(X, W1, mode="dense", train=False)
    close(relevance, dense_share(W1, X, largest(X @ W1)))


def test_a_static_argument_must_be_hashable():
    with pytest.raises(PlanError, match="hashable"):
        lrp(lambda x, options: x)(X, {1, 2})


@pytest.mark.parametrize("style", ["lrp", "value_and_lrp"])
def test_aux_comes_along(style):
    def f(x):
        hidden = jax.nn.relu(x @ W1 + B1)
        return hidden @ W2 + B2, {"hidden": hidden, "count": jnp.arange(3)}

    if style == "lrp":
        relevance, aux = lrp(f, has_aux=True)(X)
    else:
        (out, aux), relevance = value_and_lrp(f, has_aux=True)(X)
        close(out, mlp_output(X))
    close(relevance, mlp_relevances(X))
    close(aux["hidden"], np.maximum(X @ W1 + B1, 0.0))
    np.testing.assert_array_equal(aux["count"], np.arange(3))


def test_has_aux_needs_a_pair():
    with pytest.raises(PlanError, match="has_aux"):
        lrp(mlp, has_aux=True)(X)


# ---------------------------------------------------------------- types


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("inner", ["float16", "bfloat16", "float32", None])
def test_relevance_has_the_dtype_of_its_input(dtype, inner):
    x = jnp.asarray(X, dtype)
    w = jnp.asarray(W1, inner or dtype)
    relevance = lrp(lambda x: x.astype(w.dtype) @ w)(x)
    assert relevance.dtype == x.dtype
    exact = dense_share(np.asarray(w, np.float64), np.asarray(x, np.float64), largest(X @ W1))
    rounding = max(float(jnp.finfo(t).eps) for t in (x.dtype, w.dtype))
    np.testing.assert_allclose(
        np.asarray(relevance, np.float64), exact, atol=32 * rounding * np.abs(exact).max()
    )


# ---------------------------------------------------------------- composites as arguments


def test_a_composite_passes_through_jit_and_vmap():
    explain = lambda composite: lrp(mlp, composite)(X)
    gammas = np.array([0.0, 0.5, 4.0])
    expected = np.stack([explain(Composite(dense=rules.Gamma(float(g)))) for g in gammas])
    assert np.abs(expected[0] - expected[2]).max() > 1e-3
    stacked = Composite(dense=rules.Gamma(gammas, epsilon=np.full(3, 1e-6)))
    close(jax.vmap(explain)(stacked), expected)
    close(jax.jit(explain)(Composite(dense=rules.Gamma(0.5))), expected[1])


def test_the_numbers_of_a_rule_may_be_mapped_over():
    explain = lambda gamma: lrp(mlp, rules.Gamma(gamma))(X)
    gammas = jnp.array([0.1, 1.0])
    close(jax.vmap(explain)(gammas), np.stack([explain(g) for g in (0.1, 1.0)]))


def test_an_argument_is_named_once():
    with pytest.raises(PlanError, match="twice"):
        lrp(lambda x: x @ W1, argnums=(0, -1))(X)
