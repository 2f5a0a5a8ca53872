"""Taps: the relevance at a layer's output, after all that folds into the layer."""

import jax
import numpy as np
import oracle
import pytest
from support.networks import B1, B2, W1, W2, close, largest, mlp_output, mlp_relevances, normal

from lrpjax import PlanError, lrp, lrp_vjp, value_and_lrp

X = normal(5, 4, seed=20)
PARAMETERS = {"first": {"kernel": W1, "bias": B1}, "head": {"kernel": W2, "bias": B2}}


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def net(x, parameters):
    return dense(parameters["head"], jax.nn.relu(dense(parameters["first"], x)))


def hidden_relevance():
    """What the head gives to the hidden layer, which the relu passes on to the first."""
    layer = oracle.Affine(W2.T, B2, np.ones_like(W2.T))
    hidden = np.maximum(X @ W1 + B1, 0.0)
    starts = largest(mlp_output(X))
    each = zip(hidden, starts, strict=True)
    return np.stack([oracle.epsilon(layer, x, start) for x, start in each])


def test_a_tap_is_the_relevance_at_the_output_of_the_layer_with_its_bias():
    relevance, taps = lrp(net, taps=["first", "head"])(X, PARAMETERS)
    close(relevance, mlp_relevances(X))
    assert set(taps) == {"first", "head"}
    close(taps["first"], hidden_relevance())
    close(taps["head"], largest(mlp_output(X)))


def test_a_pattern_may_match_several_layers():
    _, taps = lrp(net, taps=["[fh]*d"])(X, PARAMETERS)
    assert set(taps) == {"head"}
    _, taps = lrp(net, taps=["*"])(X, PARAMETERS)
    assert {"first", "head"} < set(taps)


def test_taps_come_with_the_value_and_with_lrp_vjp():
    out, (_, taps) = value_and_lrp(net, taps=["first"])(X, PARAMETERS)
    close(out, mlp_output(X))
    close(taps["first"], hidden_relevance())
    _, relevance_of = lrp_vjp(net, None, X, PARAMETERS, taps=["first"])
    relevance, taps = relevance_of(None)
    close(relevance, mlp_relevances(X))
    close(taps["first"], hidden_relevance())


def test_taps_are_mapped_with_the_explanation():
    explain = jax.vmap(lrp(net, taps=["first"]), (0, None))
    _, taps = explain(X, PARAMETERS)
    close(taps["first"], hidden_relevance())


def test_taps_see_into_a_rematerialised_region():
    hidden = jax.checkpoint(lambda p, x: jax.nn.relu(dense(p, x)))

    def f(x, p):
        return dense(p["head"], hidden(p["first"], x))

    _, taps = lrp(f, taps=["first"])(X, PARAMETERS)
    close(taps["first"], hidden_relevance())


def test_every_use_of_a_shared_layer_has_its_own_tap():
    p = {"shared": {"kernel": W1 @ W1.T, "bias": normal(4, seed=5)}}
    f = lambda x, p: dense(p["shared"], jax.nn.relu(dense(p["shared"], x)))
    _, both = lrp(f, taps=["shared"])(X, p)
    assert set(both) == {"shared", "shared#2"}
    _, second = lrp(f, taps=["shared#2"])(X, p)
    assert set(second) == {"shared#2"}
    final = f(X, p)
    close(both["shared#2"], largest(np.asarray(final)))


def test_a_tap_that_matches_nothing_is_refused():
    with pytest.raises(PlanError, match=r"nowhere.*first.*head"):
        lrp(net, taps=["nowhere"])(X, PARAMETERS)


def test_taps_are_a_sequence():
    with pytest.raises(PlanError, match="sequence"):
        lrp(net, taps="first")(X, PARAMETERS)
