"""Explanations of whole networks, under jit, without it, mapped and looped: the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.nets import function, linen_residual
from support.networks import close

from lrpjax import lrp, value_and_lrp


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def test_jit_changes_nothing_and_neither_does_its_absence():
    f, x = function("nnx")
    expected = lrp(f)(x)
    close(jax.jit(lrp(f))(x), expected)
    with jax.disable_jit():
        close(lrp(f)(x), expected)


def test_linen_and_nnx_agree_bound_or_not():
    (nnx_model, x), (bound, _) = function("nnx"), function("linen")
    module, variables = linen_residual()
    out, relevance = value_and_lrp(module)(variables, x)
    close(out, jax.jit(module.apply)(variables, x))
    for model in (nnx_model, bound):
        close(value_and_lrp(model)(x), (out, relevance))


@pytest.mark.parametrize(
    ("name", "composite"),
    [("mlp", "default"), ("linen", "epsilon_alpha2_beta1_flat"), ("nnx", "default")],
)
def test_every_way_to_explain_a_batch_is_a_loop_over_its_examples(name, composite):
    f, xs = function(name)
    explain = lrp(f, composite)
    loop = np.stack([explain(x) for x in xs])
    ways = {
        "the batch itself": explain,
        "vmap of lrp": jax.vmap(explain),
        "lrp of vmap": lrp(jax.vmap(f), composite),
        "lax.map": lambda xs: jax.lax.map(explain, xs),
    }
    if name == "mlp":
        last = lambda xs: jax.vmap(explain, -1, -1)(jnp.moveaxis(xs, 0, -1))
        ways |= {
            "vmap of vmap": lambda xs: jax.vmap(jax.vmap(explain))(xs[None])[0],
            "along the last axis": lambda xs: jnp.moveaxis(last(xs), -1, 0),
            "lax.map of batches": lambda xs: jax.lax.map(explain, xs, batch_size=2),
            "scan": lambda xs: jax.lax.scan(lambda _, x: (None, explain(x)), None, xs)[1],
        }
    explained = jax.jit(lambda xs: {way: f(xs) for way, f in ways.items()})(xs)
    close(explained, dict.fromkeys(ways, loop))


def test_networks_may_be_mapped_over_with_their_inputs():
    module, _ = linen_residual()
    _, x = function("linen")
    variables = [linen_residual(seed)[1] for seed in range(3)]
    loop = np.stack([lrp(module)(v, image) for v, image in zip(variables, x, strict=True)])
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *variables)
    close(jax.vmap(lrp(module))(stacked, x), loop)
    close(lrp(jax.vmap(module.apply), argnums=1)(stacked, x), loop)
