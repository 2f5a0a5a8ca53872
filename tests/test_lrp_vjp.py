"""`lrp_vjp`: one forward pass, and relevance for any start as a function that is a pytree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import (
    W1,
    W2,
    close,
    mlp,
    mlp_output,
    mlp_relevances,
    normal,
)

from lrpjax import PlanError, lrp, lrp_vjp, targets

X = normal(5, 4, seed=60)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def at(index):
    """The start of a logit's own."""
    return lambda z: np.where(np.arange(3) == index, z, 0.0)


def test_the_output_is_the_models_and_an_index_starts_with_its_logit():
    out, relevance_of = lrp_vjp(mlp, None, X)
    close(out, mlp_output(X))
    close(relevance_of(2), mlp_relevances(X, at(2)))
    close(relevance_of(), mlp_relevances(X))
    close(relevance_of(None), mlp_relevances(X))


@pytest.mark.smoke
def test_integer_starts_can_be_mapped_over():
    _, relevance_of = lrp_vjp(mlp, None, X)
    expected = np.stack([mlp_relevances(X, at(i)) for i in range(3)])
    close(jax.vmap(relevance_of)(jnp.arange(3)), expected)
    per_example = jnp.array([[0, 1, 2, 0, 1], [2, 2, 1, 1, 0]])
    rows = [[expected[i, n] for n, i in enumerate(row)] for row in np.asarray(per_example)]
    close(jax.vmap(relevance_of)(per_example), np.array(rows))


def test_a_float_start_is_the_relevance_itself():
    _, relevance_of = lrp_vjp(mlp, None, X)
    starts = normal(2, 5, 3, seed=61)
    expected = [
        np.stack([mlp_relevances(x[None], lambda z, r=r: r)[0] for x, r in zip(X, s, strict=True)])
        for s in starts
    ]
    close(relevance_of(starts[0]), expected[0])
    close(jax.vmap(relevance_of)(starts), np.stack(expected))
    close(relevance_of(starts[0]) + relevance_of(starts[1]), relevance_of(starts.sum(0)), 1e-8)


@pytest.mark.parametrize(
    "target",
    [targets.one_hot(1), targets.contrastive(np.arange(5) % 3), targets.all_outputs(), jnp.exp],
    ids=["one_hot", "contrastive", "all_outputs", "function"],
)
def test_targets_are_those_of_lrp(target):
    _, relevance_of = lrp_vjp(mlp, None, X)
    close(relevance_of(target), lrp(mlp)(X, target=target))


def test_a_named_target_with_a_traced_index_can_be_mapped_over():
    _, relevance_of = lrp_vjp(mlp, None, X)
    mapped = jax.vmap(lambda i: relevance_of(targets.contrastive(i)))(jnp.arange(3))
    close(mapped, np.stack([relevance_of(targets.contrastive(i)) for i in range(3)]))


def test_it_passes_through_jit():
    _, relevance_of = lrp_vjp(mlp, None, X)
    close(jax.jit(lambda f, i: f(i))(relevance_of, jnp.asarray(2)), mlp_relevances(X, at(2)))
    made_inside = jax.jit(lambda x: lrp_vjp(mlp, None, x))
    out, relevance_of = made_inside(X)
    close(out, mlp_output(X))
    close(relevance_of(0), mlp_relevances(X, at(0)))


def test_it_can_be_mapped_as_a_whole():
    def explain(x):
        _, relevance_of = lrp_vjp(mlp, None, x)
        return jax.vmap(relevance_of)(jnp.arange(3))

    expected = np.stack([mlp_relevances(X, at(i)) for i in range(3)], axis=1)
    close(jax.vmap(explain)(X), expected)


def test_several_arguments_aux_and_keywords():
    def f(x, w, *, bias):
        return jax.nn.relu(x @ w) @ W2 + bias, {"sum": jnp.sum(x)}

    bias = normal(3, seed=62)
    out, relevance_of, aux = lrp_vjp(f, "epsilon", X, W1, argnums=(0,), has_aux=True, bias=bias)
    close(out, f(X, W1, bias=bias)[0])
    close(aux["sum"], X.sum())
    (relevance,) = relevance_of(1)
    expected = lrp(f, "epsilon", has_aux=True)(X, W1, bias=bias, target=1)[0]
    close(relevance, expected)


def test_outputs_of_several_leaves_start_with_a_pytree():
    f = lambda x: {"z": mlp(x), "h": jnp.tanh(x)}
    out, relevance_of = lrp_vjp(f, None, X)
    starts = {"z": np.zeros((5, 3)), "h": np.asarray(out["h"])}
    close(relevance_of(starts), np.asarray(out["h"]))
    close(relevance_of({**starts, "z": out["z"]}), lrp(f)(X, target=targets.all_outputs()))
    with pytest.raises(PlanError, match="structure"):
        relevance_of(starts["z"])
    with pytest.raises(PlanError, match="2"):
        relevance_of(0)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.ones((5, 2)), "shape"),
        (1.0, "shape"),
        ([np.ones((5, 3))], "structure"),
        (3, "out of range"),
        (np.array([0, 1, 2, 3, 0]), "out of range"),
        (np.arange(3), "shape"),
        ("two", "target"),
    ],
)
def test_starts_that_fit_no_output_are_refused(start, message):
    _, relevance_of = lrp_vjp(mlp, None, X)
    with pytest.raises(PlanError, match=message):
        relevance_of(start)


def test_relevance_of_may_be_jitted_like_any_function():
    w, x = normal(4, 3), normal(4, seed=5)
    _, relevance_of = lrp_vjp(lambda x: x @ w, None, x)
    start = np.array([1.0, -2.0, 0.5])
    close(jax.jit(relevance_of)(start), relevance_of(start))
    close(jax.jit(relevance_of)(2), relevance_of(2))
