"""A second call runs what the first one compiled, whatever numbers and weights it has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import compilations
from composition.nets import IMAGES, LinenResidual, NnxResidual, linen_residual, load, nnx_residual
from flax import nnx
from support.networks import close, normal

from lrpjax import Composite, lrp, lrp_vjp, rules, targets, value_and_lrp

TRACES = []


class LinenCounted(LinenResidual):
    """The network, noting every time that Python runs it."""

    def __call__(self, x):
        TRACES.append(1)
        return super().__call__(x)


class NnxCounted(NnxResidual):
    """The same."""

    def __call__(self, x):
        TRACES.append(1)
        return super().__call__(x)


def counted(f):
    """What f returns, how often it ran the network's Python, and what XLA compiled."""
    TRACES.clear()
    with compilations() as compiled:
        result = jax.block_until_ready(f())
    return result, len(TRACES), len(compiled)


XS = [jnp.asarray(normal(*IMAGES.shape, seed=130 + i), jnp.float32) for i in range(2)]
VARIABLES = [
    jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), linen_residual(seed)[1])
    for seed in range(2)
]
COMPOSITES = [
    Composite(conv=rules.Gamma(gamma), dense=rules.Epsilon(), first=rules.ZBox(-4.0, 3.0 + gamma))
    for gamma in (0.25, 0.5)
]


def of_linen(i):
    """A fresh transform of a fresh module."""
    return lrp(LinenCounted(), COMPOSITES[i])(VARIABLES[i], XS[i], target=i)


def of_bound_linen(i):
    return lrp(LinenCounted().bind(VARIABLES[i]), COMPOSITES[i])(XS[i], target=i)


def of_nnx(i):
    """Another network of the same structure, with other weights."""
    return value_and_lrp(nnx_residual(i, NnxCounted), COMPOSITES[i])(XS[i], target=i)


def pulled_back(i):
    out, relevance_of = lrp_vjp(LinenCounted(), COMPOSITES[i], VARIABLES[i], XS[i])
    return out, relevance_of(i), relevance_of(targets.contrastive(i))


def mapped(i):
    explain = jax.vmap(lrp(LinenCounted(), COMPOSITES[i]), (None, 0))
    return explain(VARIABLES[i], XS[i][:, None])


CALLS = {
    "linen": of_linen,
    "bound linen": of_bound_linen,
    "nnx": of_nnx,
    "lrp_vjp": pulled_back,
    "vmap": mapped,
}


@pytest.mark.parametrize("name", CALLS)
def test_other_numbers_are_the_same_program(name):
    """Other inputs, weights, statistics, rule numbers and targets; nothing is kept of the old."""
    call = CALLS[name]
    first, traced, compiled = counted(lambda: call(0))
    assert traced >= 1 and compiled >= 1, "the counters count"
    second, traced, compiled = counted(lambda: call(1))
    assert (traced, compiled) == (0, 0)
    close(second, jax.jit(lambda: call(1))(), rtol=1e-4)  # all numbers are constants there
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), first, second)
    assert min(jax.tree.leaves(difference)) > 1e-3


def test_weights_that_change_after_lrp_was_built_are_seen_in_a_compiled_program():
    """A training loop: the same model, its weights changed in place."""
    model = nnx_residual(0, NnxCounted)
    explain = lrp(model, COMPOSITES[0])
    inside = nnx.jit(lambda model, x: lrp(model, COMPOSITES[0])(x))
    for i in range(2):
        load(model, VARIABLES[i])
        expected = lrp(LinenResidual(), COMPOSITES[0])(VARIABLES[i], XS[0])
        results, traced, compiled = counted(lambda: [explain(XS[0]), inside(model, XS[0])])
        close(results, [expected, expected], rtol=1e-4)
    assert (traced, compiled) == (0, 0)
