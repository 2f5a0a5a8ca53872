"""Composites are pytrees: passed, mapped, scanned, closed over, differentiated and learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from composition.counting import compilations, operations
from composition.nets import IMAGES, linen_residual
from support.networks import B1, B2, W1, W2, close, conv, largest, mlp, mlp_output, normal

from lrpjax import Composite, lrp, presets, rules

X = normal(3, 4, seed=80)
GAMMAS = np.array([0.0, 0.1, 0.25, 1.0, 8.0])


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def by_gamma(gamma):
    """The γ-rule on both layers of the MLP, in NumPy."""
    first = oracle.Affine(W1.T, B1, np.ones_like(W1.T))
    second = oracle.Affine(W2.T, B2, np.ones_like(W2.T))
    hidden, start = np.maximum(X @ W1 + B1, 0.0), largest(mlp_output(X))
    middle = [oracle.gamma(second, h, r, gamma) for h, r in zip(hidden, start, strict=True)]
    each = zip(X, middle, strict=True)
    return np.stack([oracle.gamma(first, x, r, gamma) for x, r in each])


BY_GAMMA = np.stack([by_gamma(gamma) for gamma in GAMMAS])


class Traced:
    """The MLP, counting how often Python runs it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return mlp(x)


# ---------------------------------------------------------------- one program for many


def test_all_gammas_share_one_program():
    """One trace of the model, one compilation; other numbers cost neither."""
    lrp(mlp, rules.Gamma())(X[:1])  # planning looks at relu's own values, once and for all
    f = Traced()
    explained = jax.jit(jax.vmap(lambda gamma: lrp(f, rules.Gamma(gamma))(X)))
    with compilations() as compiled:
        relevance = jax.block_until_ready(explained(GAMMAS))
    assert (f.calls, len(compiled)) == (1, 1)
    close(relevance, BY_GAMMA)
    with compilations() as compiled:
        close(explained(GAMMAS[::-1].copy()), BY_GAMMA[::-1])
    assert (f.calls, compiled) == (1, [])


def test_without_an_outer_jit_the_model_is_traced_once_too():
    f = Traced()
    close(jax.vmap(lambda gamma: lrp(f, rules.Gamma(gamma))(X))(GAMMAS), BY_GAMMA)
    assert f.calls == 1


def test_the_model_itself_is_run_once_for_all_gammas():
    """What the forward pass costs doesn't depend on γ, and is not mapped."""
    module, variables = linen_residual()

    def explain(gammas, variables, x):
        return jax.vmap(lambda gamma: lrp(module, rules.Gamma(gamma))(variables, x))(gammas)

    two, nine = (operations(explain, np.linspace(0, 1, n), variables, IMAGES) for n in (2, 9))
    assert two == nine


def stack(composites):
    """Composites of one structure as one with a leading axis on every number."""
    return jax.tree.map(lambda *numbers: jnp.stack(numbers), *composites)


def kernels(x):
    """A small network with every kind of rule that has numbers."""
    x = jnp.tanh(conv(x, KERNELS[0]))
    x = jax.nn.relu(conv(x, KERNELS[1]) + 0.1)
    return x.mean((1, 2)) @ HEAD + 0.1


KERNELS = 0.5 * normal(2, 3, 3, 2, 2, seed=81)
HEAD = normal(2, 3, seed=82)


def composite(bound, gamma, alpha, epsilon):
    return Composite(
        first=rules.ZBox(-bound, np.array([bound, 2 * bound]), epsilon=epsilon),
        conv=rules.Gamma(gamma, epsilon=epsilon),
        dense=rules.AlphaBeta(alpha, alpha - 1.0, epsilon=epsilon),
    )


def test_composites_of_one_structure_are_mapped_and_scanned_over():
    composites = [composite(2.0, 0.1, 1.0, 1e-6), composite(3.0, 2.0, 2.0, 0.1)]
    explain = lambda composite: lrp(kernels, composite)(IMAGES)
    loop = np.stack([explain(c) for c in composites])
    assert np.abs(loop[0] - loop[1]).max() > 0.1 * np.abs(loop).max()
    stacked = stack(composites)

    @jax.jit
    def ways(stacked):
        return {
            "vmap": jax.vmap(explain)(stacked),
            "lax.map": jax.lax.map(explain, stacked),
            "scan": jax.lax.scan(lambda _, c: (None, explain(c)), None, stacked)[1],
            "a Python loop": jnp.stack(
                [explain(jax.tree.map(lambda leaf, i=i: leaf[i], stacked)) for i in range(2)]
            ),
        }

    explained = ways(stacked)
    close(explained, dict.fromkeys(explained, loop))


@pytest.mark.parametrize("name", ["epsilon_gamma_box", "lrp_cmp", "deep_taylor"])
def test_presets_are_data_too(name):
    arguments = {"epsilon_gamma_box": (-3.0, 3.0), "deep_taylor": (-3.0, 3.0)}.get(name, ())
    preset = getattr(presets, name)(*arguments)
    doubled = jax.tree.map(lambda number: 2.0 * number, preset)
    loop = np.stack([lrp(kernels, c)(IMAGES) for c in (preset, doubled)])
    close(jax.vmap(lambda c: lrp(kernels, c)(IMAGES))(stack([preset, doubled])), loop)


# ---------------------------------------------------------------- ways to hand one over


def test_an_argument_of_jit_and_a_closure_are_the_same_as_a_plain_call():
    chosen = composite(2.0, 0.1, 2.0, 1e-3)
    expected = lrp(kernels, chosen)(IMAGES)
    assert np.abs(expected).max() > 0
    close(jax.jit(lambda c, x: lrp(kernels, c)(x))(chosen, IMAGES), expected)
    close(jax.jit(lrp(kernels, chosen))(IMAGES), expected)
    leaves, tree = jax.tree.flatten(chosen)
    close(lrp(kernels, jax.tree.unflatten(tree, leaves))(IMAGES), expected)
    assert jax.tree.unflatten(tree, leaves) == chosen


def test_a_composite_may_be_the_carry_of_a_scan():
    """γ doubles with every step."""

    def step(rule, x):
        return rules.Gamma(2.0 * rule.gamma, epsilon=rule.epsilon), lrp(mlp, rule)(x)

    start = jax.tree.map(jnp.asarray, rules.Gamma(0.25))
    last, relevance = jax.lax.scan(step, start, np.stack([X] * 3))
    close(relevance, np.stack([by_gamma(gamma) for gamma in (0.25, 0.5, 1.0)]))
    assert float(last.gamma) == 2.0


def test_a_composite_may_be_chosen_by_a_traced_condition():
    one, other = rules.Gamma(0.1), rules.Epsilon()
    branches = [lambda x, rule=rule: lrp(mlp, rule)(x) for rule in (one, other)]
    chosen = jax.jit(lambda i, x: jax.lax.switch(i, branches, x))
    for i in range(2):
        close(chosen(i, X), branches[i](X))


# ---------------------------------------------------------------- learning one


def test_the_gradient_of_a_composite_is_a_composite():
    """By central differences of every number in it."""
    chosen = jax.tree.map(jnp.asarray, composite(2.0, 0.3, 2.0, 0.1))
    loss = jax.jit(lambda c: jnp.sum(lrp(kernels, c)(IMAGES, target=1) ** 2))
    gradient = jax.jit(jax.grad(loss))(chosen)
    assert type(gradient) is Composite and gradient.pool is None
    flat, unravel = jax.flatten_util.ravel_pytree(chosen)
    steps = 1e-6 * np.eye(flat.size)
    differences = [(loss(unravel(flat + h)) - loss(unravel(flat - h))) / 2e-6 for h in steps]
    close(jax.flatten_util.ravel_pytree(gradient)[0], np.array(differences), rtol=1e-6)


def test_gamma_is_found_again_by_gradient_descent():
    """From relevance that another γ made."""
    wanted = by_gamma(0.7)
    loss = lambda rule: jnp.mean((lrp(mlp, rule)(X) - wanted) ** 2)
    optimiser = optax.adam(0.05)

    @jax.jit
    def learn(rule):
        def step(carry, _):
            rule, state = carry
            updates, state = optimiser.update(jax.grad(loss)(rule), state)
            return (optax.apply_updates(rule, updates), state), loss(rule)

        frozen = optax.apply_updates(rule, jax.tree.map(jnp.zeros_like, rule))
        return jax.lax.scan(step, (frozen, optimiser.init(frozen)), None, length=300)

    start = jax.tree.map(jnp.asarray, rules.Gamma(0.2))
    (learned, _), losses = learn(start)
    assert losses[-1] < 1e-4 * losses[0]
    assert float(learned.gamma) == pytest.approx(0.7, abs=0.02)
