"""What must hold for every network of covered primitives, on small random ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st
from support.random_nets import build, example, networks

from lrpjax import Composite, audit, lrp, plan, presets, rules, targets, value_and_lrp

COMPOSITES = {
    "default": None,
    "epsilon_plus_flat": "epsilon_plus_flat",
    "epsilon_alpha2_beta1": "epsilon_alpha2_beta1",
    "deep_taylor": "deep_taylor",
    "gamma": presets.attn_lrp(0.25),
    "zero": Composite(**dict.fromkeys(("conv", "dense", "pool", "add", "shift"), rules.Zero())),
    "box": presets.epsilon_gamma_box(-4.0, 4.0),
    "sums": Composite(dense=rules.WSquare(), conv=rules.Flat(), add=rules.Ratio()),
}
composites = st.sampled_from(list(COMPOSITES))


@given(networks(), composites, st.sampled_from([np.float32, np.float64]))
def test_the_ledger_closes_and_nothing_is_nan(network, composite, dtype):
    with jax.enable_x64(dtype is np.float64):
        ledger = audit(build(network), COMPOSITES[composite], example(network, dtype))
    rounding = 1e-5 if dtype is np.float32 else 1e-12
    note(str(ledger))
    assert ledger.not_finite == () and np.isfinite(ledger.inputs)
    assert ledger.error <= rounding
    absorbed = sum(row.bias + row.stabiliser + row.stopped + row.remainder for row in ledger.rows)
    largest = sum(row.magnitude for row in ledger.rows)
    assert abs(absorbed - ledger.absorbed) <= rounding * largest


@given(networks(), composites)
def test_the_value_is_the_models_and_maps_agree_with_loops(network, composite):
    f, x = build(network), example(network)
    chosen = COMPOSITES[composite]
    single = lambda x: f(x[None])[0]

    def everything(x):
        out, whole = value_and_lrp(f, chosen)(x)
        mapped = jax.vmap(lrp(single, chosen))(x)
        loop = jnp.stack([lrp(single, chosen)(a) for a in x])
        return out, f(x), whole, mapped, loop

    with jax.enable_x64(True):
        out, own, whole, mapped, loop = map(np.asarray, jax.jit(everything)(x))
    np.testing.assert_allclose(out, own, rtol=1e-12, atol=1e-12)
    size = np.abs(loop).max()
    np.testing.assert_allclose(mapped, loop, rtol=1e-7, atol=1e-9 * size)
    np.testing.assert_allclose(whole, loop, rtol=1e-7, atol=1e-9 * size)


@given(networks(), composites)
def test_the_gradient_of_the_value_is_the_models(network, composite):
    f, x = build(network), example(network)
    x[0] = 0.0  # where relus without a bias have their kink
    with jax.enable_x64(True):
        mine = jax.jit(jax.grad(lambda x: value_and_lrp(f, COMPOSITES[composite])(x)[0].sum()))(x)
        own = jax.jit(jax.grad(lambda x: f(x).sum()))(x)
    np.testing.assert_allclose(mine, own, rtol=1e-10, atol=1e-10)


def bounded(rule):
    """A rule for all layers with weights, and none that breaks the invariant elsewhere."""
    return Composite(conv=rule, dense=rule, shift=rules.Epsilon())


BOUNDED = {
    "epsilon": bounded(rules.Epsilon()),
    "zero": bounded(rules.Zero()),
    "gamma": bounded(rules.Gamma(0.25)),
    "ratio": dataclasses.replace(bounded(rules.Epsilon(1e-3)), add=rules.Ratio()),
}


@given(networks(), st.sampled_from(list(BOUNDED)), st.integers(0, 2**32 - 1))
def test_bounded_rules_give_what_is_nearly_zero_nearly_nothing(network, composite, seed):
    """The invariant, through whole networks: relevance is the input times something bounded."""
    f, chosen = build(network), BOUNDED[composite]
    sizes = 10.0 ** np.random.default_rng(seed).choice([0, -3, -9, -np.inf], size=network.shape)
    x = example(network) * sizes
    with jax.enable_x64(True):
        assert "unbounded" not in str(plan(f, chosen, x))
        relevance = np.asarray(lrp(f, chosen)(x, target=targets.all_outputs()))
    assert np.isfinite(relevance).all()
    assert (relevance[x == 0] == 0).all()
    assert (np.abs(relevance) <= 1e4 * np.abs(x)).all()


@given(networks(), composites, st.sampled_from(["float16", "bfloat16"]))
def test_half_precision_makes_no_nan(network, composite, dtype):
    f, x = build(network), jnp.asarray(example(network, np.float32), dtype)
    x = x.at[0].set(0)
    relevance = lrp(f, COMPOSITES[composite])(x)
    assert relevance.dtype == x.dtype and relevance.shape == x.shape
    assert not np.isnan(np.asarray(relevance, np.float32)).any()
