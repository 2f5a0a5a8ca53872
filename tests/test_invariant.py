"""The invariant of the rules, unit by unit: R′ = y ⊙ c′ with bounded c′ gives R = x ⊙ c, c bounded.

It is what keeps relevance from blowing up in deep networks. Rules that break it by design say so
in the plan, and the tests measure both: those that say nothing keep it, those that do break it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import conv, normal

from lrpjax import Composite, lrp, plan, rules

W, B = normal(6, 4, seed=160), 0.5 * normal(4, seed=161)
KERNEL = normal(2, 2, 1, 3, seed=162)
SHIFT, SCALE = normal(6, seed=163), 1.0 + normal(6, seed=164) ** 2

relu = jax.nn.relu


def dense(x):
    return x @ W + B


def unbiased(x):
    return x @ W


def convolved(x):
    return conv(x.reshape(1, 2, 3, 1), KERNEL)


FUNCTIONS = {
    "dense": dense,
    "dense without bias": unbiased,
    "dense, relu": lambda x: relu(dense(x)),
    "dense, relu6": lambda x: jax.nn.relu6(dense(x)),
    "dense, gelu": lambda x: jax.nn.gelu(dense(x)),
    "conv": lambda x: convolved(x).ravel(),
    "conv, relu": lambda x: relu(convolved(x)).ravel(),
    "mean": lambda x: x.reshape(2, 3).mean(1),
    "scale": lambda x: x * SCALE,
    "shift": lambda x: jnp.tanh(x) * SCALE + SHIFT,
    "direct shift": lambda x: x + SHIFT,
    "add": lambda x: jnp.concatenate([x[:3] + x[3:], jnp.tanh(x[:3]) - x[::2]]),
    "add of a constant": lambda x: jnp.tanh(x[:3]) + SHIFT[:3] + x[3:],
    "relu": relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "exp": jnp.exp,
    "softplus": jax.nn.softplus,
    "hard sigmoid": lambda x: jax.nn.relu6(x + 3) / 6,
    "elu": jax.nn.elu,
    "cube root": jnp.cbrt,
    "sign": jnp.sign,
    "max": lambda x: x.reshape(2, 3).max(1),
    "maximum": lambda x: jnp.maximum(x[:3], x[3:]),
    "sort": jnp.sort,
    "route": lambda x: jnp.pad(x.reshape(2, 3).T, 1, constant_values=2.0),
    "where": lambda x: jnp.where(x > 0, x, 0.1 * x),
}

one, nothing = rules.AlphaBeta(1.0, 0.0), Composite()


def both(rule):
    return Composite(conv=rule, dense=rule)


KEEP = [
    *((name, both(rules.Epsilon())) for name in ("dense", "dense without bias", "conv")),
    *((name, both(rules.Zero())) for name in ("dense", "conv", "dense, relu")),
    *((name, both(rules.Gamma(0.25))) for name in ("dense", "dense without bias", "conv, relu")),
    *((name, both(rules.Gamma(10.0))) for name in ("dense", "conv")),
    *((name, both(rules.ZPlus())) for name in ("dense, relu", "dense, relu6", "conv, relu")),
    *((name, both(one)) for name in ("dense, relu", "conv, relu")),
    *((name, both(rules.Stop())) for name in ("dense", "conv")),
    ("mean", nothing),
    ("mean", Composite(pool=rules.Gamma())),
    ("scale", nothing),
    ("scale", Composite(scale=rules.Epsilon())),
    ("shift", nothing),
    ("direct shift", Composite(shift=rules.Epsilon())),
    ("add", nothing),
    ("add", Composite(add=rules.Ratio())),
    ("add of a constant", Composite(add=rules.Zero())),
    ("add of a constant", Composite(add=rules.Ratio())),
    *(
        (name, nothing)
        for name in (
            "relu",
            "tanh",
            "gelu",
            "silu",
            "sigmoid",
            "exp",
            "softplus",
            "hard sigmoid",
            "elu",
            "where",
            "max",
            "maximum",
            "sort",
            "route",
        )
    ),
    *((name, Composite(elementwise=rules.Pass())) for name in ("relu", "tanh", "gelu", "where")),
]
BREAK = [
    *((name, both(rules.Flat())) for name in ("dense", "conv")),
    *((name, both(rules.WSquare())) for name in ("dense", "conv")),
    *((name, both(rules.ZBox(-2.0, 3.0))) for name in ("dense", "conv")),
    *((name, both(rules.ZPlus())) for name in ("dense", "dense without bias", "dense, gelu")),
    ("conv", both(one)),
    *((name, both(rules.AlphaBeta(2.0, 1.0))) for name in ("dense", "dense, relu", "conv, relu")),
    ("shift", Composite(shift=rules.Pass())),
    ("direct shift", nothing),
    ("add", Composite(add=rules.Even())),
    *(
        (name, Composite(elementwise=rules.Pass()))
        for name in ("sigmoid", "exp", "softplus", "hard sigmoid", "cube root", "sign")
    ),
]


def identify(case):
    """A readable test name."""
    name, composite = case
    leaves = [r for r in vars(composite).values() if isinstance(r, rules.Rule)]
    return f"{name}-{type(leaves[0]).__name__ if leaves else 'default'}"


def points(f):
    """Inputs that tempt a rule: tiny, partly zero, and where outputs nearly cancel."""
    base = normal(40, 6, seed=165)
    sizes = 10.0 ** np.random.default_rng(166).choice([0, -2, -4, -6, -np.inf], size=(40, 6))
    found = [base, base * sizes, 1e-6 * base, np.zeros((1, 6))]
    gradient = jax.jit(jax.vmap(jax.jacrev(f)))
    value = jax.jit(jax.vmap(f))
    for output in range(value(base).reshape(40, -1).shape[1]):
        x = base
        for _ in range(8):  # Newton's steps to where this output is zero, then a little aside
            slope = np.asarray(gradient(x)).reshape(40, -1, 6)[:, output]
            size = np.maximum((slope**2).sum(1, keepdims=True), 1e-3)
            x = x - np.asarray(value(x)).reshape(40, -1)[:, output, None] * slope / size
        found.append(x + 1e-7 * normal(40, 6, seed=167))
    return np.concatenate(found)


def largest_coefficient(f, composite):
    """The largest |R/x| over all the points, infinite where an input of zero has relevance."""
    x = points(f)
    outputs = jax.eval_shape(f, x[0]).shape
    draws = np.random.default_rng(168).uniform(-1, 1, size=(len(x), *outputs))
    draws[::2] = 1.0

    def explain(x, c):
        return lrp(f, composite)(x, target=lambda y: y * c)

    relevance = np.asarray(jax.vmap(explain)(x, draws))
    assert np.isfinite(relevance).all()
    if (np.abs(relevance[x == 0]) > 1e-12).any():
        return np.inf
    return (np.abs(relevance[x != 0]) / np.abs(x[x != 0])).max()


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """So that only the rules' own behaviour is seen near zero."""


@pytest.mark.parametrize("case", KEEP, ids=identify)
def test_rules_keep_the_invariant_where_the_plan_is_silent(case):
    f, composite = FUNCTIONS[case[0]], case[1]
    assert "unbounded" not in str(plan(f, composite, np.zeros(6)))
    assert largest_coefficient(f, composite) < 200


@pytest.mark.parametrize("case", BREAK, ids=identify)
def test_rules_that_the_plan_warns_of_do_break_it(case):
    f, composite = FUNCTIONS[case[0]], case[1]
    assert largest_coefficient(f, composite) > 1e3
    assert "unbounded" in str(plan(f, composite, np.zeros(6)))
