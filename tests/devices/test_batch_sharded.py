"""A batch split over devices: the relevance of one device, and nothing sent between devices."""

import functools
import re

import flax.linen as nn
import jax
import pytest
from devices import networks as n
from devices.comparing import AFFINE, check_equal, relevances
from devices.meshes import mesh, put
from jax.sharding import AxisType
from support.compiling import as_users_do
from support.networks import conv, normal

from lrpjax import lrp, presets

BATCH = 8
IMAGES = normal(BATCH, 4, 4, 4, seed=920)
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
BOTH = ("data", "model")
COLLECTIVES = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broad"

PRESETS = {
    name: presets.epsilon_gamma_box(-3.0, 3.0) if name == "epsilon_gamma_box" else name
    for name in presets.names()
}


OF_ATTENTION = ("default", "attn_lrp", "cp_lrp", "lstm_signal_takes_all")


def convolutional(x):
    """Convolution, local normalisation, max pooling, dense layers: [b, 4, 4, 4] -> [b, 8]."""
    return n.mlp(_features(x).mean(1))


def whole(x):
    """The same with a transformer block between."""
    return n.mlp(jax.nn.gelu(n.transformer_block(_features(x))).mean(1))


def _features(x):
    x = jax.nn.relu(conv(x, n.KERNEL1) + n.SHIFT1)
    local = jax.lax.reduce_window(x * x, 0.0, jax.lax.add, (1, 1, 1, 3), (1, 1, 1, 1), "SAME")
    x = nn.max_pool(x / (1 + 0.1 * local) ** 0.75, (2, 2), (2, 2))
    return x.reshape(len(x), 4, 8)


@functools.cache
def on_one_device():
    return relevances(n.convnet, IMAGES, AFFINE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_finds_what_it_finds_on_one_device(kind):
    grid = mesh(KINDS[kind])
    with jax.set_mesh(grid):
        images = put(IMAGES, BOTH, on=grid)
        check_equal(relevances(n.convnet, images, AFFINE), on_one_device())


@pytest.mark.parametrize("kind", KINDS)
def test_relevance_lies_where_its_input_lies(kind):
    grid = mesh(KINDS[kind])
    with jax.set_mesh(grid):
        images = put(IMAGES, BOTH, on=grid)
        relevance = lrp(n.convnet, "epsilon_plus")(images)
        assert relevance.sharding.is_equivalent_to(images.sharding, images.ndim)


def sent(f, kind, composite):
    """The operations between devices in the optimised program of an explanation."""
    grid = mesh(KINDS[kind])
    with jax.set_mesh(grid):
        images = put(IMAGES, BOTH, on=grid)
        text = as_users_do(lrp(f, composite), images).as_text()
    return set(re.findall(COLLECTIVES, text))


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_sends_anything_between_devices(name):
    """The four that differ in attention, on it; the others in what they differ in."""
    network = whole if name in OF_ATTENTION else convolutional
    assert sent(network, "auto", PRESETS[name]) == set()


def test_nor_does_the_default_under_explicit_sharding():
    assert sent(whole, "explicit", "default") == set()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_would_be_seen(kind):
    assert "all-reduce" in sent(lambda x: n.convnet(x - x.mean(0)), kind, "default")


@pytest.mark.parametrize("name", ["default", "attn_lrp"])
def test_normalisations_and_attention_are_explained_as_on_one_device(name):
    found = relevances(whole, put(IMAGES, BOTH), {name: name})
    check_equal(found, relevances(whole, IMAGES, {name: name}))
