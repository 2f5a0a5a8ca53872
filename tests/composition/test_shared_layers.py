"""A layer that is called twice: each call is a layer of its own, and the weights are the same."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from composition.derivatives import check_derivative
from flax import nnx
from support.networks import close, normal

from lrpjax import Composite, lrp, plan, rules

X = normal(3, 4, seed=90)
KERNELS = {"embed": normal(4, 5, seed=91), "shared": normal(5, 5, seed=92)}
BIASES = {"embed": 0.3 * normal(5, seed=93), "shared": 0.3 * normal(5, seed=94)}
CALLS = ["embed", "shared", "shared", "shared"]
LAYERS = ["embed", "shared", "shared#2", "shared#3"]


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


class LinenLoop(nn.Module):
    """A step that is taken three times, as a recurrent network's."""

    @nn.compact
    def __call__(self, x):
        shared = nn.Dense(5, name="shared")
        h = nn.relu(nn.Dense(5, name="embed")(x))
        return shared(nn.relu(shared(nn.relu(shared(h)))))


class NnxLoop(nnx.Module):
    """The same."""

    def __init__(self):
        self.embed = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
        self.shared = nnx.Linear(5, 5, rngs=nnx.Rngs(0))
        for name in KERNELS:
            getattr(self, name).kernel.set_value(jnp.asarray(KERNELS[name]))
            getattr(self, name).bias.set_value(jnp.asarray(BIASES[name]))

    def __call__(self, x):
        h = nnx.relu(self.embed(x))
        return self.shared(nnx.relu(self.shared(nnx.relu(self.shared(h)))))


VARIABLES = {"params": {n: {"kernel": KERNELS[n], "bias": BIASES[n]} for n in KERNELS}}


def unrolled(x, index, rule_of=lambda layer: oracle.epsilon):
    """One example in NumPy: (relevance of the input, {layer: relevance at its output})."""
    inputs, z = [], None
    for name in CALLS:
        inputs.append(x if z is None else np.maximum(z, 0.0))
        z = inputs[-1] @ KERNELS[name] + BIASES[name]
    relevance, taps = np.where(np.arange(5) == index, z, 0.0), {}
    for layer, name, h in reversed(list(zip(LAYERS, CALLS, inputs, strict=True))):
        taps[layer] = relevance
        affine = oracle.Affine(KERNELS[name].T, BIASES[name], np.ones_like(KERNELS[name].T))
        relevance = rule_of(layer)(affine, h, relevance)
    return relevance, taps


def unrolled_batch(index, rule_of=lambda layer: oracle.epsilon):
    each = [unrolled(x, index, rule_of) for x in X]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def relevance_fn(kind, composite=None, **options):
    """``(x, target) -> relevance`` of one of the two networks."""
    if kind == "nnx":
        explain = lrp(NnxLoop(), composite, **options)
        return lambda x, target: explain(x, target=target)
    explain = lrp(LinenLoop(), composite, **options)
    return lambda x, target: explain(VARIABLES, x, target=target)


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_relevance_is_that_of_the_unrolled_network(kind):
    relevance, taps = unrolled_batch(3)
    actual, tapped = relevance_fn(kind, "epsilon", taps=["embed", "shared"])(X, target=3)
    assert set(tapped) == set(LAYERS)
    close(actual, relevance)
    close(tapped, taps)
    close(jax.vmap(relevance_fn(kind, "epsilon"), (0, None))(X, 3), relevance)


def test_every_call_has_a_name_of_its_own():
    for planned in (plan(LinenLoop(), None, VARIABLES, X, argnums=1), plan(NnxLoop(), None, X)):
        assert [unit.layer for unit in planned.units if unit.kind == "dense"] == LAYERS


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_one_call_may_get_a_rule_of_its_own(kind):
    """A pattern without a number means every call; `#2` means the second."""
    layers = {"shared": rules.Gamma(0.5), "shared#2": rules.ZPlus()}
    composite = Composite(dense=rules.Epsilon(), layers=layers)
    table = {"embed": oracle.epsilon, "shared#2": oracle.zplus}
    gamma = lambda layer, x, r: oracle.gamma(layer, x, r, 0.5)
    expected, _ = unrolled_batch(3, lambda layer: table.get(layer, gamma))
    close(relevance_fn(kind, composite)(X, target=3), expected)


def test_derivatives_for_shared_weights_sum_over_its_calls():
    explain = lambda v, x: lrp(LinenLoop(), rules.Epsilon(0.1))(v, x, target=3)
    check_derivative(explain, (VARIABLES, X))


def test_one_function_for_two_inputs():
    """A twin network: both branches are explained through the same weights."""

    def twin(a, b):
        branch = lambda x: jax.nn.relu(x @ KERNELS["embed"] + BIASES["embed"])
        return jnp.concatenate([branch(a), branch(b)]) @ np.concatenate([KERNELS["shared"]] * 2)

    a, b = X[0], X[1]
    affine = oracle.Affine(KERNELS["embed"].T, BIASES["embed"], np.ones((5, 4)))
    hidden = [np.maximum(x @ KERNELS["embed"] + BIASES["embed"], 0.0) for x in (a, b)]
    z = sum(hidden) @ KERNELS["shared"]
    shares = oracle.quotient(np.where(np.arange(5) == 2, z, 0.0), z, oracle.EPSILON)
    at_branch = [h * (KERNELS["shared"] @ shares) for h in hidden]
    expected = [oracle.epsilon(affine, x, r) for x, r in zip((a, b), at_branch, strict=True)]
    close(lrp(twin, "epsilon", argnums=(0, 1))(a, b, target=2), tuple(expected))
