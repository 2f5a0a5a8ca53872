"""An explanation asked for by the program of each device itself."""

import functools

import jax
import numpy as np
import pytest
from devices import networks as n
from devices.comparing import AFFINE, check_equal, relevances
from devices.programs import SPLIT, mapped, two_layers
from jax import P

from lrpjax import lrp, lrp_vjp, value_and_lrp

WEIGHTS = (n.W1, n.B1, n.W2, n.B2)


@functools.cache
def on_one_device():
    return relevances(n.mlp, n.X, AFFINE)


def each(explain, *args):
    return {name: explain(composite, *args) for name, composite in AFFINE.items()}


def test_of_its_part_of_the_batch():
    explain = lambda x: each(lambda composite: lrp(n.mlp, composite)(x))
    check_equal(jax.jit(mapped(explain, in_specs=P("data")))(n.X), on_one_device())


def test_of_a_network_that_is_split_over_devices():
    def explain(x, *weights):
        return each(lambda composite: lrp(two_layers, composite)(x, *weights))

    check_equal(jax.jit(mapped(explain, in_specs=SPLIT))(n.X, *WEIGHTS), on_one_device())


def test_the_forward_pass_once_and_many_starts():
    program = mapped(two_layers, in_specs=SPLIT)
    out, relevance_of = lrp_vjp(lambda x: program(x, *WEIGHTS), "epsilon", n.X)
    np.testing.assert_allclose(out, n.mlp(n.X), rtol=1e-12)
    for target in (0, 3):
        expected = lrp(n.mlp, "epsilon")(n.X, target=target)
        np.testing.assert_allclose(relevance_of(target), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("of", ["output", "relevance"])
def test_gradients_go_through_a_split_network_as_through_one(of):
    program = mapped(two_layers, in_specs=SPLIT)

    def number(f):
        def explained(x):
            out, relevance = value_and_lrp(f, "epsilon_plus")(x, target=2)
            return (out if of == "output" else relevance**2).sum()

        return jax.jit(jax.grad(explained))(n.X)

    found, expected = number(lambda x: program(x, *WEIGHTS)), number(n.mlp)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
