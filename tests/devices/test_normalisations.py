"""A normalisation whose statistic is summed over devices is the normalisation of one device."""

import jax.numpy as jnp
import pytest
from devices import networks as n
from devices.comparing import check_equal, relevances
from devices.programs import mapped
from jax import P, lax

from lrpjax import Composite, PlanError, plan, rules

COMPOSITES = {
    "constant normaliser": Composite(normalisation=rules.ConstantNormaliser()),
    "pass": Composite(normalisation=rules.Pass()),
}


def rms_norm(x, mean):
    return x * lax.rsqrt(mean((x * x).mean(-1, keepdims=True)) + 1e-6)


def layer_norm(x, mean):
    centred = x - mean(x.mean(-1, keepdims=True))
    return centred / jnp.sqrt(mean((centred**2).mean(-1, keepdims=True)) + 1e-6)


def layer_norm_by_moments(x, mean):
    average = mean(x.mean(-1, keepdims=True))
    variance = mean((x**2).mean(-1, keepdims=True)) - average**2
    return (x - average) * lax.rsqrt(variance + 1e-6)


def batch_norm(x, mean):
    average = mean(x.mean(0))
    return (x - average) / jnp.sqrt(mean(((x - average) ** 2).mean(0)) + 1e-6)


OVER = {
    rms_norm: "model",
    layer_norm: "model",
    layer_norm_by_moments: "model",
    batch_norm: "data",
}


def split(layer):
    """The layer on many devices, each with a part of what its statistic sums."""
    axis = OVER[layer]
    specs = P("data", None) if axis == "data" else P(None, "model")
    return mapped(lambda x: layer(x, lambda m: lax.pmean(m, axis)), in_specs=specs, out_specs=specs)


@pytest.mark.parametrize("layer", OVER)
def test_it_gets_the_relevance_of_one_device(layer):
    found = relevances(lambda x: jnp.tanh(split(layer)(x) @ n.W1), n.X, COMPOSITES)
    alone = lambda x: jnp.tanh(layer(x, lambda m: m) @ n.W1)
    check_equal(found, relevances(alone, n.X, COMPOSITES))


def test_no_taylor_expansion_is_made_of_what_other_devices_hold():
    taylor = Composite(normalisation=rules.Taylor())
    with pytest.raises(PlanError, match="psum"):
        plan(split(rms_norm), taylor, n.X)
