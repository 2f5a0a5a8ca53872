"""Inputs in dicts, tuples and classes, several arguments and aux, together with transforms."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from support.networks import close, normal

from lrpjax import lrp, lrp_vjp, value_and_lrp

WEIGHTS = {name: normal(3, 4, seed=100 + i) for i, name in enumerate("abc")}
X = {name: normal(5, 3, seed=110 + i) for i, name in enumerate("abc")}
HEAD = normal(4, 2, seed=120)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def score(a, b, c):
    """Three dense layers, a sum, a relu and a head: [..., 3] each -> [..., 2]."""
    return jax.nn.relu(a @ WEIGHTS["a"] + b @ WEIGHTS["b"] + c @ WEIGHTS["c"]) @ HEAD


def by_hand(a, b, c, index):
    """The ε-rule for one example in NumPy: relevance of a, b and c."""
    xs = {"a": a, "b": b, "c": c}
    layer = lambda w: oracle.Affine(w.T, np.zeros(w.shape[1]), np.ones_like(w.T))
    summands = {name: xs[name] @ WEIGHTS[name] for name in xs}
    hidden = np.maximum(sum(summands.values()), 0.0)
    start = np.where(np.arange(2) == index, hidden @ HEAD, 0.0)
    at_sum = oracle.epsilon(layer(HEAD), hidden, start)
    shares = oracle.add_epsilon(list(summands.values()), at_sum)
    return tuple(
        oracle.epsilon(layer(WEIGHTS[n]), xs[n], r) for n, r in zip("abc", shares, strict=True)
    )


EACH = [by_hand(*row, 1) for row in zip(*X.values(), strict=True)]
A, B, C = (np.stack(column) for column in zip(*EACH, strict=True))


class Pair(NamedTuple):
    """A container of the user's own."""

    left: jax.Array
    right: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sample:
    """Another one, with something static in it."""

    values: dict
    name: str = dataclasses.field(metadata={"static": True})


STRUCTURES = {
    "dict": (lambda a, b, c: {"a": a, "b": b, "c": c}, lambda t: (t["a"], t["b"], t["c"])),
    "tuple": (lambda a, b, c: (a, b, c), lambda t: t),
    "nested": (
        lambda a, b, c: {"x": [a, None, (b,)], "y": Pair(c, {})},
        lambda t: (t["x"][0], t["x"][2][0], t["y"].left),
    ),
    "classes": (
        lambda a, b, c: Sample({"pair": Pair(a, b), "c": c}, "left"),
        lambda t: (*t.values["pair"], t.values["c"]),
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_relevance_has_the_inputs_structure_under_jit_and_vmap(name):
    make, leaves = STRUCTURES[name]
    tree, expected = make(*X.values()), make(A, B, C)
    explain = lrp(lambda tree: score(*leaves(tree)), "epsilon")
    mapped = jax.vmap(lambda tree: explain(tree, target=1))(tree)
    for relevance in (explain(tree, target=1), mapped):
        assert jax.tree.structure(relevance) == jax.tree.structure(tree)
        close(relevance, expected)


def test_a_part_of_a_structure_may_be_shared_by_all_that_are_mapped():
    """`c` is the same for all; relevance has an axis for each."""
    c = X["c"][0]
    each = [by_hand(a, b, c, 1) for a, b in zip(X["a"], X["b"], strict=True)]
    explain = lrp(lambda tree: score(tree["a"], *tree["rest"]), "epsilon")
    axes = {"a": 0, "rest": (0, None)}
    tree = {"a": X["a"], "rest": (X["b"], c)}
    relevance = jax.vmap(lambda tree: explain(tree, target=1), (axes,))(tree)
    a, b, c = (np.stack(column) for column in zip(*each, strict=True))
    close(relevance, {"a": a, "rest": (b, c)})


def with_aux(pair, options, c):
    """(outputs, aux): two of the inputs in a tuple, and one that is not explained between."""
    out = score(*pair, c) * options["scale"]
    return out, {"count": jnp.arange(2), "c": c}


def test_several_arguments_and_aux_under_jit_and_vmap():
    arguments = ((X["a"], X["b"]), {"scale": 1.0}, X["c"])
    options = {"argnums": (2, 0), "has_aux": True}
    expected, aux = (C, (A, B)), {"count": np.arange(2), "c": X["c"]}

    @jax.jit
    def explained(*arguments):
        relevance = lambda *a: lrp(with_aux, "epsilon", **options)(*a, target=1)
        (out, inner), valued = value_and_lrp(with_aux, "epsilon", **options)(*arguments, target=1)
        value, relevance_of, other = lrp_vjp(with_aux, "epsilon", *arguments, **options)
        mapped = jax.vmap(relevance, (0, None, 0))(*arguments)
        pairs = [(valued, inner), (relevance_of(1), other), relevance(*arguments)]
        return (out, value), pairs, mapped

    outs, pairs, (mapped, mapped_aux) = explained(*arguments)
    close(outs, (score(*X.values()),) * 2)
    for relevance, inner in pairs:
        close(relevance, expected)
        close(inner, aux)
    close(mapped, expected)
    close(mapped_aux, {"count": np.stack([np.arange(2)] * 5), "c": X["c"]})


def test_relevance_with_aux_is_differentiated_as_grad_with_aux_is():
    explain = lrp(with_aux, "epsilon", argnums=(0, 2), has_aux=True)

    def loss(c):
        (_, relevance), aux = explain((X["a"], X["b"]), {"scale": 1.0}, c, target=1)
        return jnp.sum(relevance**2), aux

    def plain(c):
        rows = zip(X["a"], X["b"], c, strict=True)
        return np.sum(np.stack([by_hand(*row, 1)[2] for row in rows]) ** 2)

    gradient, aux = jax.grad(loss, has_aux=True)(X["c"])
    close(aux["c"], X["c"])
    step, moves = 1e-6, np.zeros((3, *X["c"].shape))
    places = ([0, 1, 2], [0, 1, 4], [0, 2, 1])
    moves[places] = step
    differences = [(plain(X["c"] + move) - plain(X["c"] - move)) / (2 * step) for move in moves]
    close(gradient[places[1:]], np.array(differences), rtol=1e-5)
