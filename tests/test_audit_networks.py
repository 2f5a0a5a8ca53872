"""The ledger closes on networks of many kinds of units, in single and double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.ledgers import check
from support.networks import NnxNet, convnet, linen_net, mlp, normal

from lrpjax import audit, presets


def remat_net(x):
    square = SQUARE.astype(x.dtype)
    block = jax.checkpoint(lambda x: x + jax.nn.gelu(x @ square + 0.1))
    return block(block(x))


SQUARE = normal(4, 4, seed=151)


def signed_net(x):
    """Negative activations, a difference, a temperature and a stopped branch."""
    square = SQUARE.astype(x.dtype)
    hidden = jnp.tanh(x @ square - 0.2)
    mixed = hidden - jax.nn.silu(x @ square.T) + lax.stop_gradient(x)
    return (mixed @ square + square[0]) / 0.7


NETS = {
    "mlp": (mlp, (5, 4)),
    "convnet": (convnet, (3, 8, 8, 2)),
    "remat": (remat_net, (5, 4)),
    "signed": (signed_net, (5, 4)),
}
COMPOSITES = ["default", "epsilon_plus_flat", "epsilon_alpha2_beta1", "deep_taylor", "attn_lrp(γ)"]


def composite_of(name):
    return presets.attn_lrp(0.25) if name == "attn_lrp(γ)" else name


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", NETS)
def test_the_ledger_closes_in_double_precision(name, composite, x64):
    f, shape = NETS[name]
    check(audit(f, composite_of(composite), normal(*shape, seed=152)), 1e-12)


@pytest.mark.parametrize("composite", COMPOSITES[:3])
@pytest.mark.parametrize("name", ["convnet", "signed"])
def test_the_ledger_closes_in_single_precision(name, composite):
    f, shape = NETS[name]
    x = normal(*shape, seed=152).astype(np.float32)
    check(audit(f, composite, x), 1e-5)


@pytest.mark.smoke
@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_the_ledger_of_a_flax_module_closes(style):
    if style == "linen":
        module, variables, x = linen_net()
        cast = lambda leaf: jnp.asarray(leaf, jnp.float32)
        variables, x = jax.tree.map(cast, (variables, x))
        check(audit(module, "epsilon_plus_flat", variables, x), 1e-5)
    else:
        model = NnxNet()
        model.eval()
        check(audit(model, None, jnp.asarray(normal(3, 4), jnp.float32), target=2), 1e-5)
