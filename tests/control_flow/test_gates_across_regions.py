"""What is a gate, a signal or an attention weight stays one across loops, branches and remat.

The default rules ask for it: a gate gets nothing, a softmax that weighs values ends relevance.
"""

import jax
import jax.numpy as jnp
import pytest
from control_flow.programs import D, T, U, W, X, both, unrolled
from jax import lax
from support.networks import close

from lrpjax import Composite, plan, rules

COMPOSITE = Composite(dense=rules.Zero(), add=rules.Zero(), shift=rules.Zero())
sigmoid = jax.nn.sigmoid


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def gate(x):
    return sigmoid(x @ W)


def signal(x):
    return jnp.tanh(x @ U)


def weights(x):
    return jax.nn.softmax(x @ W @ x.T)


def gated(x):
    return gate(x) * signal(x)


def attended(x):
    return weights(x) @ (x @ U)


def branch(f):
    """A branch that is always taken, beside one that has a gate, or weights, too."""
    other = lambda x: jax.nn.softmax(f(x))
    return lambda x: lax.cond(x.sum() < 100.0, f, other, x)


def keeps(scan, x):
    """Interpolates between the carry and something new by a gate from outside."""
    g = gate(x[0])
    return scan(lambda c, a: (g * c + (1.0 - g) * signal(a), None), x[1], x)[0]


def slices(scan, x):
    """Gates from outside, one for each round."""
    body = lambda c, s: (s[0] * c + signal(s[1]), None)
    return scan(body, x[1], (gate(x), x))[0]


def carries(scan, x):
    """Each round makes the gate of the next."""
    body = lambda c, a: ((sigmoid(c[1] @ W + a), c[0] * c[1] + a @ U), None)
    return scan(body, (gate(x[0]), x[1]), x)[0][1]


def stacks(scan, x):
    """Each round makes a gate for later."""
    return scan(lambda c, a: (c, gate(a)), 0, x)[1] * signal(x)


def last(scan, x):
    """The last carry is a gate."""
    return scan(lambda c, a: (sigmoid(c @ W + a), None), gate(x[0]), x)[0] * signal(x[1])


def queries(scan, x):
    """A loop over queries, with weights that were made outside."""
    values, p = x @ U, weights(x)
    return scan(lambda c, row: (c, row @ values), 0, p)[1]


LOOPS = (keeps, slices, carries, stacks, last, queries)

#: {name: (the program in regions, the same without)}
REGIONS = {
    "remat of both": (jax.checkpoint(gated), gated),
    "a gate from remat": (lambda x: jax.checkpoint(gate)(x) * signal(x), gated),
    "a signal from remat": (lambda x: gate(x) * jax.checkpoint(signal)(x), gated),
    "a gate into remat": (lambda x: jax.checkpoint(lambda g: g * signal(x))(gate(x)), gated),
    "weights from remat": (lambda x: jax.checkpoint(weights)(x) @ (x @ U), attended),
    "weights into remat": (lambda x: jax.checkpoint(lambda p: p @ (x @ U))(weights(x)), attended),
    "scores into remat": (
        lambda x: jax.checkpoint(lambda s: jax.nn.softmax(s) @ (x @ U))(x @ W @ x.T),
        attended,
    ),
    "a gate from a branch": (lambda x: branch(gate)(x) * signal(x), gated),
    "a gate into the first branch": (
        lambda x: lax.cond(x.sum() > 99.0, lambda g: g * x, lambda g: g * signal(x), gate(x)),
        gated,
    ),
    "a gate into the second branch": (
        lambda x: lax.cond(x.sum() < 99.0, lambda g: g * signal(x), lambda g: g * x, gate(x)),
        gated,
    ),
    "weights from a branch": (lambda x: branch(weights)(x) @ (x @ U), attended),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_changes_nothing(name):
    inside, plain = REGIONS[name]
    close(*both(inside, plain, COMPOSITE, X), rtol=1e-9)


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_a_loop_changes_nothing(f):
    looped, plain = (lambda x: f(lax.scan, x)), (lambda x: f(unrolled, x))
    close(*both(looped, plain, COMPOSITE, X), rtol=1e-9)


def test_a_carry_that_is_a_gate_only_at_first_is_none():
    """From the second round on it is a signal like the other: half to each."""

    def f(scan, x):
        body = lambda c, a: ((c[1] @ W, c[0] * c[1] + a @ U), None)
        return scan(body, (gate(x[0]), x[1]), x)[0][1]

    (product,) = [u for u in plan(lambda x: f(lax.scan, x), None, X).units if u.kind == "product"]
    assert isinstance(product.rule, rules.Uniform) and product.spec.gate is None


def test_weights_that_a_loop_closes_over_weigh_values():
    """A mixture: each round adds one expert by its weight. The softmax ends relevance."""
    kernels = jnp.stack([W, U, W @ U])

    def f(x):
        p = jax.nn.softmax(x @ W)
        body = lambda c, s: (c + p[:, s[0], None] * (x @ s[1]), None)
        return lax.scan(body, jnp.zeros((T, D)), (jnp.arange(D), kernels))[0]

    units = plan(f, None, X).units
    (softmax,) = [u for u in units if u.kind == "softmax"]
    (product,) = [u for u in units if u.kind == "product"]
    assert softmax.weighs and isinstance(softmax.rule, rules.Stop)
    assert isinstance(product.rule, rules.SignalTakesAll)
