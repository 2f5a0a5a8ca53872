"""Flax modules, Linen and NNX, bound or not, are explained as they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.networks import CountingNnxNet, NnxNet, close, linen_net, normal

from lrpjax import (
    Composite,
    PlanError,
    audit,
    lrp,
    lrp_vjp,
    plan,
    rules,
    value_and_lrp,
)

X = normal(5, 4, seed=40)

#: No stabiliser, so that relevance is linear in the scale of the outputs.
EXACTLY = Composite(**dict.fromkeys(("conv", "dense", "pool", "add"), rules.Zero()))


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- Linen


@pytest.mark.smoke
def test_an_unbound_linen_module_takes_its_variables_first():
    module, variables, x = linen_net()
    expected = lrp(lambda x: module.apply(variables, x))(x)
    out, relevance = value_and_lrp(module)(variables, x)
    close(out, module.apply(variables, x))
    close(relevance, expected)
    close(jax.jit(lrp(module))(variables, x), expected)


def test_a_bound_linen_module_takes_its_inputs_alone():
    module, variables, x = linen_net()
    bound = module.bind(variables)
    expected = lrp(module, EXACTLY)(variables, x)
    close(lrp(bound, EXACTLY)(x), expected)
    close(lrp(bound.double, EXACTLY)(x), 2.0 * np.asarray(expected))
    assert [u.layer for u in plan(bound, None, x).units] == [
        u.layer for u in plan(module, None, variables, x).units
    ]


def test_a_module_that_keeps_a_set_needs_no_hash():
    module = nn.WeightNorm(nn.Dense(3))
    variables = module.init(jax.random.key(0), X)
    expected = lrp(lambda x: module.apply(variables, x))(X)
    assert np.abs(expected).max() > 0
    close(lrp(module.bind(variables))(X), expected, rtol=1e-5)  # its norms are in float32
    close(lrp(module)(variables, X), expected, rtol=1e-5)


class Scaled(nn.Module):
    """x·table·W: a module whose attribute is an array."""

    table: np.ndarray

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x * self.table)


def test_modules_that_keep_different_arrays_are_told_apart():
    modules = [Scaled(np.linspace(1.0, last, 4)) for last in (2.0, 3.0, 3.0)]
    variables = modules[0].init(jax.random.key(0), X)
    for module in modules:
        expected = lrp(lambda x, module=module: module.apply(variables, x))(X)
        close(lrp(module)(variables, X), expected)
        close(lrp(module.bind(variables))(X), expected)


def test_a_layer_in_float8_is_explained_at_its_own_precision():
    module = nn.Dense(3, dot_general_cls=nn.Fp8DirectDotGeneralOp)
    x = jnp.asarray(X, jnp.float32)
    bound = module.bind(module.init(jax.random.key(0), x))
    out, relevance = value_and_lrp(bound, "epsilon")(x)
    rounding = 2.0**-4 * np.abs(relevance).sum(-1)  # three bits of mantissa
    assert (np.abs(relevance.sum(-1) - out.max(-1)) <= rounding).all()
    assert np.isfinite(audit(bound, "epsilon", x).error)


def test_a_method_of_an_unbound_linen_module_is_explained_through_apply():
    module, variables, x = linen_net()
    method = lambda v, x: module.apply(v, x, method="double")
    expected = 2.0 * np.asarray(lrp(module, EXACTLY)(variables, x))
    close(lrp(method, EXACTLY, argnums=1)(variables, x), expected)


def test_keywords_reach_a_linen_module():
    module, variables, x = linen_net()
    close(lrp(module)(variables, x, train=False), lrp(module)(variables, x))


def test_batch_statistics_that_see_the_input_are_no_constants():
    """In training mode BatchNorm is a normalisation, and the samples of a batch share relevance."""
    norm, x = nn.BatchNorm(use_running_average=False, epsilon=0.1), X + 0.5
    variables = norm.init(jax.random.key(0), x)
    train = lambda v, x: norm.apply(v, x, mutable=["batch_stats"])
    y, relevance_of = lrp_vjp(
        lambda x: train(variables, x)[0],
        Composite(normalisation=rules.ConstantNormaliser(epsilon=0.0)),
        x,
    )
    given = normal(5, 4, seed=41)
    # y = A x with A = (I − 1/n) ν, and the relevance x ⊙ Aᵀ(R′ / y) reaches all samples.
    centring = np.eye(len(x)) - 1 / len(x)
    deviation = np.sqrt(x.var(0) + 0.1)
    close(y, centring @ x / deviation)
    close(relevance_of(given), x * (centring.T @ (given / np.asarray(y) / deviation)))


@pytest.mark.parametrize("remat", [nn.remat, lambda block: block])
def test_rematerialised_linen_blocks_change_nothing(remat):
    module, variables, x = linen_net(remat=remat is nn.remat)
    plain, _, _ = linen_net()
    close(lrp(module)(variables, x), lrp(plain)(variables, x))


# ---------------------------------------------------------------- NNX


def evaluated(make=NnxNet, seed=0):
    """A network in evaluation mode with statistics that do something."""
    model = make(seed)
    rng = np.random.default_rng(seed)
    for variable in (model.norm.mean, model.norm.bias, model.first.bias, model.last.bias):
        variable[...] = jnp.asarray(rng.normal(size=variable[...].shape), jnp.float32)
    model.norm.var[...] = jnp.asarray(0.5 + rng.random(6), jnp.float32)
    model.eval()
    return model


def by_hand(model):
    """The same network as a function of x."""
    first, norm, last = model.first, model.norm, model.last
    kernel, bias = np.asarray(first.kernel[...]), np.asarray(first.bias[...])
    factor = np.asarray(norm.scale[...]) / np.sqrt(np.asarray(norm.var[...]) + norm.epsilon)
    offset = np.asarray(norm.bias[...]) - np.asarray(norm.mean[...]) * factor
    head, last_bias = np.asarray(last.kernel[...]), np.asarray(last.bias[...])

    def f(x):
        return jax.nn.relu(x @ (kernel * factor) + (bias * factor + offset)) @ head + last_bias

    return f


def state_of(model):
    """All variables as NumPy arrays, random keys and counters included."""
    state = nnx.to_pure_dict(nnx.split(model)[1])
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    plain = lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf
    return jax.tree.map(lambda leaf: np.array(plain(leaf)), state)


@pytest.mark.smoke
def test_an_nnx_module_is_explained_as_the_function_it_computes():
    model = evaluated()
    expected = lrp(by_hand(model))(X)
    out, relevance = value_and_lrp(model)(X)
    close(out, by_hand(model)(X), rtol=1e-6)
    close(relevance, expected, rtol=1e-5)
    close(jax.jit(lrp(model))(X), relevance)
    close(jax.vmap(lrp(model))(X), relevance)
    close(lrp(lambda x: model(x))(X), relevance)


def test_later_changes_of_the_weights_are_seen():
    model = evaluated()
    explain = lrp(model)
    before = np.asarray(explain(X))
    model.first.kernel[...] = jnp.asarray(normal(4, 6, seed=41), jnp.float32)
    model.norm.mean[...] = jnp.zeros(6, jnp.float32)
    close(explain(X), lrp(by_hand(model))(X), rtol=1e-5)
    assert np.abs(np.asarray(explain(X)) - before).max() > 1e-3


def test_a_change_of_mode_is_seen():
    model = evaluated()
    explain, x = lrp(model), X.astype(np.float32)
    expected = np.asarray(explain(x))
    model.train()
    assert np.abs(np.asarray(explain(x)) - expected).max() > 1e-3
    assert "normalisation" in [unit.kind for unit in plan(model, None, x).units]
    model.eval()
    assert "normalisation" not in [unit.kind for unit in plan(model, None, x).units]
    close(explain(x), expected, rtol=1e-12)


def test_state_that_changes_inside_is_discarded():
    model = evaluated(CountingNnxNet)
    model.dropout.train()
    before = state_of(model)
    explained = (lrp(model)(X), value_and_lrp(model)(X), lrp_vjp(model, None, X))
    audit(model, None, X)
    plan(model, None, X)
    jax.block_until_ready(explained)
    after = state_of(model)
    jax.tree.map(np.testing.assert_array_equal, before, after)
    model(X)
    assert state_of(model)["calls"] == before["calls"] + 1


def test_dropout_in_training_is_a_constant_mask():
    model = evaluated()
    model.dropout.train()
    out, relevance = value_and_lrp(model, "epsilon")(X)
    graphdef, state = nnx.split(model)
    close(out, nnx.merge(graphdef, state)(X), rtol=1e-6)
    assert np.isfinite(np.asarray(relevance)).all() and np.abs(relevance).max() > 0


def test_a_method_of_an_nnx_module():
    model = evaluated()
    kernel, bias = np.asarray(model.first.kernel[...]), np.asarray(model.first.bias[...])
    close(lrp(model.hidden)(X), lrp(lambda x: jax.nn.relu(x @ kernel + bias))(X), rtol=1e-5)


def test_an_nnx_module_may_be_one_argument_of_a_jitted_function():
    model = evaluated()
    explained = nnx.jit(lambda model, x: lrp(model)(x))
    close(explained(model, X), lrp(model)(X), rtol=1e-6)


class RematNnxNet(NnxNet):
    """The same network, computed again in the backward pass."""

    def __call__(self, x):
        return nnx.remat(lambda model, x: NnxNet.__call__(model, x))(self, x)


def test_nnx_remat_changes_nothing():
    close(lrp(evaluated(RematNnxNet))(X), lrp(evaluated())(X))


def test_linen_and_nnx_agree_on_the_same_weights():
    dense, conv = nn.Dense(3), nn.Conv(4, (3, 3))
    x = normal(2, 5, 5, 2, seed=42)
    variables = conv.init(jax.random.key(0), x)
    hidden = conv.apply(variables, x).mean((1, 2))
    head = dense.init(jax.random.key(1), hidden)
    twin_conv = nnx.Conv(2, 4, (3, 3), rngs=nnx.Rngs(0))
    twin_dense = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    for twin, tree in ((twin_conv, variables), (twin_dense, head)):
        twin.kernel[...], twin.bias[...] = tree["params"]["kernel"], tree["params"]["bias"]
    linen = lambda x: dense.apply(head, nn.relu(conv.apply(variables, x)).mean((1, 2)))
    twin = lambda x: twin_dense(nnx.relu(twin_conv(x)).mean((1, 2)))
    for composite in ("default", "epsilon_alpha2_beta1_flat"):
        close(lrp(twin, composite)(x), lrp(linen, composite)(x))


def test_lrp_vjp_of_an_nnx_module_keeps_the_weights_it_was_made_with():
    model = evaluated()
    _, relevance_of = lrp_vjp(model, None, X)
    expected = np.asarray(lrp(model)(X, target=1))
    model.first.kernel[...] = jnp.zeros((4, 6), jnp.float32)
    close(relevance_of(1), expected)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="callable or a Flax module"):
        lrp(np.ones(3))(X)
    with pytest.raises(PlanError, match="argnums"):
        module, variables, _ = linen_net()
        lrp(module)(variables)
