"""AlexNet and GoogLeNet: against the same layers written with PyTorch's functions.

The golden logits are in double precision; benchmarks/peers/caffe_networks_golden.py made them from
the weights that tests/golden/caffe_networks.py draws here again.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import caffe_networks

import lrpjax
from lrpjax import models

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORKS = ("alexnet", "bvlc_alexnet", "googlenet")


@functools.cache
def arrays(name):
    return caffe_networks.weights(name.removeprefix("bvlc_"))


@nnx.jit
def logits_of(model, pixels):
    return model(pixels)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_equal_those_of_the_same_layers_in_pytorch(name):
    model = models.own_weights.from_arrays(name, arrays(name)).model
    logits = logits_of(model, caffe_networks.pixels(name.removeprefix("bvlc_")))
    with np.load(GOLDEN / "caffe_networks.npz") as stored:
        expected = stored[name]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "size", "logits"),
    [("alexnet", 227, 5), ("googlenet", 224, 5), ("googlenet", 31, 5)],
)
def test_networks_map_pictures_to_logits(name, size, logits):
    pixels = jax.ShapeDtypeStruct((3, size, size, 3), jnp.float32)
    model = models.structure(name, logits).model
    found = nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels)
    assert (found.shape, found.dtype) == ((3, logits), jnp.float32)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("alexnet", 224, r"\(1, 224, 224, 3\); it should be \[n, 227, 227, 3\]"),
        ("googlenet", 30, "pictures of 30×30 pixels are too small"),
    ],
)
def test_pictures_of_an_impossible_size_are_refused(name, size, message):
    pixels = jnp.zeros((1, size, size, 3))
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda model: model(pixels), models.structure(name).model)


def test_the_papers_normalisation_is_not_caffes():
    paper, caffe = (models.structure(name).model.norm1 for name in ("alexnet", "bvlc_alexnet"))
    assert (paper.size, paper.k, paper.beta) == (5, 2, 0.75)
    np.testing.assert_allclose(paper.alpha / paper.size, 1e-4)
    assert (caffe.size, caffe.k, caffe.beta) == (5, 1, 0.75)
    np.testing.assert_allclose(caffe.alpha / caffe.size, 2e-5)


@pytest.mark.parametrize(
    ("name", "size", "norms"),
    [
        ("alexnet", 227, ["norm1", "norm2"]),
        ("googlenet", 64, ["pool1/norm1", "conv2/norm2"]),
        ("cifar10_lrn", 32, ["norm1", "norm2"]),
    ],
)
def test_the_plan_calls_every_layer_as_caffe_does(name, size, norms):
    pixels = np.zeros((1, size, size, 3), np.float32)
    units = lrpjax.plan(models.structure(name).model, None, pixels).units
    assert [unit.layer for unit in units if unit.kind == "normalisation"] == norms
    weighted = [unit.layer for unit in units if unit.kind in ("conv", "dense")]
    own = {"cifar10_lrn": ["conv1", "conv2", "conv3", "fc"]}
    assert sorted(weighted) == sorted(own.get(name) or caffe_networks.SHAPES[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_classifier_shows_photographs_at_the_networks_size(name):
    classifier = models.structure(name)
    assert classifier.image_size == (224 if name == "googlenet" else 227)
    assert classifier.image_size / classifier.crop == 256


def test_the_hint_says_where_weights_come_from():
    command = models.export_command("googlenet")
    assert "caffe.Net('deploy.prototxt', 'bvlc_googlenet.caffemodel', caffe.TEST)" in command
    assert command in models.export_hint("googlenet")
    assert "'bvlc_alexnet.caffemodel'" in models.export_command("bvlc_alexnet")
    with pytest.raises(ValueError, match="nobody publishes weights of alexnet"):
        models.export_command("alexnet")
    with pytest.raises(ValueError, match=r"alexnet comes without weights; .*your own training"):
        models.load("alexnet")


def test_random_weights_give_finite_logits_that_depend_on_the_picture():
    model = models.build("googlenet", rngs=nnx.Rngs(0))
    logits = np.asarray(logits_of(model, caffe_networks.pixels("googlenet")))
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
