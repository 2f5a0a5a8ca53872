"""Around a relevance function: remat, donation, compiling ahead of time, leak checks, NNX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import operations
from composition.nets import IMAGES, linen_residual
from flax import nnx
from support.networks import NnxNet, close, mlp, mlp_output, mlp_relevance, mlp_relevances, normal

from lrpjax import lrp, lrp_vjp, rules

X = normal(5, 4, seed=140)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- remat


def test_a_checkpointed_explanation_is_the_same_and_so_is_its_gradient():
    plain = lrp(mlp, rules.Gamma(0.25, epsilon=0.1))
    again = jax.checkpoint(plain, policy=jax.checkpoint_policies.nothing_saveable)
    gradient = lambda f: jax.grad(lambda x: jnp.sum(f(x) ** 2))
    one, other = jax.jit(lambda x: [(f(x), gradient(f)(x)) for f in (plain, again)])(X)
    close(other, one)
    counts = [operations(gradient(f), X)["dot"] for f in (plain, again)]
    assert counts[1] > counts[0], "what was not saved is computed again"


# ---------------------------------------------------------------- donation


def test_a_donated_input_becomes_the_relevance():
    explain = jax.jit(lrp(mlp), donate_argnums=0)
    for _ in range(2):
        x = jnp.array(X)
        close(explain(x), mlp_relevances(X))
        assert x.is_deleted()


def test_a_donated_input_leaves_the_weights_alone():
    module, variables = linen_residual()
    variables = jax.tree.map(jnp.array, variables)
    expected = np.asarray(lrp(module)(variables, IMAGES, target=1))
    explain = jax.jit(lambda v, x: lrp(module)(v, x, target=1), donate_argnums=1)
    for _ in range(2):
        close(explain(variables, jnp.array(IMAGES)), expected)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(variables))


# ---------------------------------------------------------------- other ways to run it


def test_it_is_compiled_ahead_of_time_for_shapes_alone():
    shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
    compiled = jax.jit(lrp(mlp)).lower(shape).compile()
    close(compiled(X), mlp_relevances(X))
    assert jax.eval_shape(lrp(mlp), shape) == shape


def test_its_jaxpr_is_a_program_like_any_other():
    closed = jax.make_jaxpr(lrp(mlp))(X)
    close(jax.core.eval_jaxpr(closed.jaxpr, closed.consts, X)[0], mlp_relevances(X))


def test_no_tracer_leaks_and_nothing_is_ever_nan():
    zeros = np.where(np.arange(4) < 2, 0.0, X)

    @jax.jit
    def explained(x):
        _, relevance_of = lrp_vjp(mlp, rules.Epsilon(0.1), x)
        gradient = jax.grad(lambda x: jnp.sum(lrp(mlp, rules.Epsilon(0.1))(x) ** 2))(x)
        return jax.vmap(relevance_of)(jnp.arange(3)), gradient

    with jax.checking_leaks(), jax.debug_nans(True):
        pulled, gradient = explained(zeros)
    rows = [mlp_relevance(x, np.eye(3)[1] * mlp_output(x), 0.1) for x in zeros]
    close(pulled[1], np.stack(rows))
    assert np.isfinite(gradient).all()


def test_inside_loops_whose_carry_is_the_input():
    """Three steps along the relevance, against the formula in a Python loop."""
    explain = lrp(mlp, rules.Epsilon(0.1))
    step = lambda x: x + 0.1 * explain(x, target=1)
    expected = X
    for _ in range(3):
        starts = np.where(np.arange(3) == 1, mlp_output(expected), 0.0)
        rows = zip(expected, starts, strict=True)
        expected = expected + 0.1 * np.stack([mlp_relevance(x, r, 0.1) for x, r in rows])
    close(jax.lax.scan(lambda x, _: (step(x), None), X, length=3)[0], expected)
    close(jax.lax.fori_loop(0, 3, lambda _, x: step(x), X), expected)


# ---------------------------------------------------------------- NNX's transforms


def net(seed):
    """Dense layers and a BatchNorm, ready to be explained."""
    model = NnxNet(seed)
    model.norm.bias.set_value(jnp.asarray(normal(6, seed=seed)))
    model.eval()
    return model


def test_nnx_transforms_take_a_model_as_their_argument():
    model = net(0)
    expected = np.stack([lrp(model)(x) for x in X])
    explain = lambda model, x: lrp(model)(x)
    ways = {
        "nnx.jit": nnx.jit(explain)(model, X),
        "nnx.vmap": nnx.jit(nnx.vmap(explain, in_axes=(None, 0)))(model, X),
        "of nnx.vmap": lrp(nnx.vmap(model))(X),
    }
    close(ways, dict.fromkeys(ways, expected))


def test_nnx_vmap_over_an_ensemble():
    models = [net(seed) for seed in range(3)]
    loop = np.stack([lrp(model)(X) for model in models])
    graphdef, _ = nnx.split(models[0])
    states = [nnx.state(model) for model in models]
    ensemble = nnx.merge(graphdef, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))
    close(nnx.jit(nnx.vmap(lambda m, x: lrp(m)(x), in_axes=(0, None)))(ensemble, X), loop)
