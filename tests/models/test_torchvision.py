"""Convolutional networks in torchvision's layout: against torchvision's own logits, and explained.

The golden logits are torchvision's, in double precision; benchmarks/peers/torchvision_golden.py
made them from the weights that tests/golden/torchvision_weights.py draws here again.
"""

import functools
import math
from fnmatch import fnmatch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import torchvision_weights
from safetensors.numpy import save_file
from support.ledgers import check

import lrpjax
from lrpjax import models

VGG = ("vgg16", "vgg16_bn")
CONVOLUTIONAL = tuple(name for name in torchvision_weights.CASES if name != "vit_b_16")
OTHERS = tuple(name for name in CONVOLUTIONAL if name not in VGG)


def golden(name):
    """torchvision's logits, and the ``state_dict`` they belong to."""
    logits, shapes = torchvision_weights.stored(name)
    return logits, torchvision_weights.state_dict(name, shapes)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Loads a network from a file, once."""
    classifiers = {}

    def load(name):
        if name not in classifiers:
            path = tmp_path_factory.mktemp("weights") / f"{name}.safetensors"
            save_file(golden(name)[1], path)
            classifiers[name] = models.load(name, weights=path)
            path.unlink()
        return classifiers[name]

    return load


def double(model):
    """The same network with its weights in double precision."""
    graph, state = nnx.split(model)
    # In NumPy, which compiles no cast for every shape there is.
    return nnx.merge(graph, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state))


@nnx.jit
def logits_of(model, pixels):
    return model(pixels)


@pytest.mark.parametrize("name", OTHERS)
def test_logits_equal_torchvisions_in_double_precision(name, loaded, x64):
    logits = logits_of(double(loaded(name).model), torchvision_weights.pixels(name))
    np.testing.assert_allclose(logits, golden(name)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", VGG)
def test_logits_of_vgg_equal_torchvisions(name):
    # From arrays: a file of half a gigabyte would test nothing that the other networks' do not.
    expected, arrays = golden(name)
    model = models.own_weights.from_arrays(name, arrays).model
    logits = logits_of(model, jnp.float32(torchvision_weights.pixels(name)))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (1, 2), (3, 20), (14, 8)])
def test_the_adaptive_pool_averages_pytorchs_cells(height, width):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = np.empty((2, 7, 7, 3))
    for i in range(7):
        for j in range(7):
            rows = slice(math.floor(i * height / 7), math.ceil((i + 1) * height / 7))
            columns = slice(math.floor(j * width / 7), math.ceil((j + 1) * width / 7))
            expected[:, i, j] = x[:, rows, columns].mean((1, 2))
    np.testing.assert_allclose(models.vgg.adaptive_avg_pool(x, 7), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("vgg16", 31), ("densenet121", 28)])
def test_pictures_that_pooling_leaves_nothing_of_are_refused(name, size):
    pixels = jnp.zeros((1, size, 100, 3))
    with pytest.raises(ValueError, match=f"pictures of {size}×100 pixels are too small"):
        nnx.eval_shape(lambda model: model(pixels), structure(name))


@functools.cache
def structure(name):
    """A network without weights."""
    return models.structure(name).model


@functools.cache
def planned(name):
    """Its plan, and the shapes of torchvision's ``state_dict``."""
    pixels = np.zeros((1, 64, 64, 3), np.float32)
    plan = lrpjax.plan(structure(name), "epsilon_plus_flat", pixels)
    return plan, torchvision_weights.stored(name)[1]


def torch_modules(shapes, leaf, dimensions):
    """The paths of the modules that have a leaf of so many dimensions."""
    names = [name for name, shape in shapes.items() if len(shape) in dimensions]
    return {name.removesuffix(leaf).replace(".", "/") for name in names if name.endswith(leaf)}


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_plan_calls_every_layer_as_torchvision_does(name):
    plan, shapes = planned(name)
    weighted = [unit.layer for unit in plan.units if unit.kind in ("conv", "dense")]
    assert len(weighted) == len(set(weighted))
    assert set(weighted) == torch_modules(shapes, ".weight", (2, 4))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_batch_norm_behind_a_convolution_is_folded_into_it(name):
    plan, shapes = planned(name)
    shifts = {unit.layer for unit in plan.units if unit.kind == "shift"} - {"normalise"}
    norms = torch_modules(shapes, ".running_mean", (1,))
    # DenseNet normalises what it has concatenated: in front of these norms is no convolution.
    alone = ("features/denseblock*/norm1", "features/transition*/norm", "features/norm5")
    assert shifts == {norm for norm in norms if any(fnmatch(norm, one) for one in alone)}
    folded = [text for unit in plan.units if unit.kind == "conv" for text in unit.folded]
    for norm in norms - shifts:
        assert any(f"{norm}/scale" in text for text in folded), norm


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_the_ledger_closes_on_a_network_with_random_weights(name, loaded):
    pixels = jnp.float32(torchvision_weights.pixels(name))[:1, :32, :32]
    ledger = lrpjax.audit(loaded(name).model, "epsilon_plus_flat", pixels)
    check(ledger, 1e-5)
    assert abs(ledger.start) > 0.5


def test_photographs_are_normalised_inside(loaded):
    classifier = loaded("resnet18")
    assert (classifier.low, classifier.high, classifier.image_size) == (0, 255, 224)
    grey = np.array([123.675, 116.28, 103.53])  # ImageNet's mean colour in pixels
    np.testing.assert_allclose(models.layers.normalised(jnp.float32(grey)), 0, atol=1e-6)
