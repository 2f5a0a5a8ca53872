"""Weights from a file of the user's own: what is read, what is refused, and how it is said."""

import ast
import shlex
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import torchvision_weights
from safetensors.numpy import save_file

import lrpjax
from lrpjax import models

UNTRAINED = tuple(name for name in models.architectures() if name not in models.available())
TORCHVISION = tuple(
    name for name in UNTRAINED if models.networks.ARCHITECTURES[name].published == "torchvision"
)
# As torchvision's documentation gives them; the last three as Caffe's files have them.
PARAMETERS = {
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "densenet121": 7_978_856,
    "vit_b_16": 86_567_656,
    "alexnet": 60_965_224,
    "bvlc_alexnet": 60_965_224,
    "googlenet": 6_998_552,
}


@pytest.fixture(scope="module")
def shapes():
    """The shapes of torchvision's ``state_dict`` of ResNet-18."""
    return torchvision_weights.stored("resnet18")[1]


@pytest.fixture
def arrays(shapes):
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def head(classes):
    """The last layer for another number of classes."""
    bias = np.arange(classes, dtype=np.float32)
    return {"fc.weight": np.ones((classes, 512), np.float32), "fc.bias": bias}


def test_the_last_layer_says_how_many_classes_there_are(arrays):
    classifier = models.own_weights.from_arrays("resnet18", arrays | head(3))
    assert classifier.labels == ("class 0", "class 1", "class 2")
    assert classifier.class_index("2") == classifier.class_index("class 2") == 2
    assert classifier.model.fc.kernel.shape == (512, 3)
    np.testing.assert_array_equal(classifier.model.fc.bias[...], [0, 1, 2])


def test_a_thousand_classes_are_imagenets_where_their_names_are_installed(arrays, monkeypatch):
    named = models.own_weights.from_arrays("resnet18", arrays)
    assert (named.labels[281], named.class_index("tabby cat")) == ("tabby", 281)

    def missing():
        raise ImportError("no such package")

    monkeypatch.setattr(models.imagenet, "class_names", missing)
    assert models.own_weights.from_arrays("resnet18", arrays).labels[281] == "class 281"


def test_labels_of_ones_own_are_one_for_each_class(arrays):
    weights = arrays | head(2)
    classifier = models.own_weights.from_arrays("resnet18", weights, ["cat", "dog"])
    assert classifier.class_index("Dog") == 1
    with pytest.raises(ValueError, match="3 labels for 2 classes"):
        models.own_weights.from_arrays("resnet18", weights, ["cat", "dog", "cow"])
    with pytest.raises(ValueError, match="efficientnet_lite0 has its own labels"):
        models.load("efficientnet_lite0", labels=["cat"])


def without(name):
    return lambda arrays: {k: v for k, v in arrays.items() if k != name}


def replaced(name, shape, dtype=np.float32):
    return lambda arrays: arrays | {name: np.zeros(shape, dtype)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer3.1.bn2.bias"), r"weights of resnet18: missing \['layer3\.1\.bn2\.bias'\]$"),
        (without("fc.bias"), r"missing \['fc\.bias'\]"),
        (replaced("se.weight", 3), r"weights of resnet18: left over \['se\.weight'\]$"),
        (lambda _: {}, r"missing \['bn1\.bias', .*\] and 9\d more$"),
        (
            lambda arrays: {f"module.{name}": array for name, array in arrays.items()},
            r"missing \[.*\] and 9\d more, left over \['module\.bn1\.bias', .*\] and 9\d more",
        ),
        (replaced("bn1.bias", (3,)), r"bn1\.bias has shape \(3,\); it should be \(64,\)"),
        (
            replaced("conv1.weight", (64, 3, 3, 3)),
            r"conv1\.weight has shape \(64, 3, 3, 3\); it should be \(64, 3, 7, 7\)",
        ),
        (replaced("fc.weight", (512, 1000)), r"fc\.weight has shape .* \(1000, 512\)"),
        (replaced("fc.bias", ()), r"fc\.bias has shape \(\); it should be \(1,\)"),
        (replaced("conv1.weight", (64, 3, 7, 7), np.int8), "conv1.weight holds int8"),
    ],
)
def test_weights_of_another_network_are_refused_with_what_differs(arrays, change, message):
    with pytest.raises(models.CheckpointError, match=message):
        models.own_weights.from_arrays("resnet18", change(arrays))


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float64])
def test_weights_of_any_precision_become_float32(shapes, dtype, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    save_file(arrays, tmp_path / "weights.safetensors")
    model = models.load("resnet18", weights=tmp_path / "weights.safetensors").model
    (tmp_path / "weights.safetensors").unlink()
    kernel = np.asarray(model.layer2[0].downsample[0].kernel[...])
    assert kernel.dtype == np.float32
    expected = arrays["layer2.0.downsample.0.weight"].astype(np.float32)
    np.testing.assert_array_equal(kernel[0, 0], expected[:, :, 0, 0].T)


def test_a_file_that_is_no_whole_safetensors_file_is_refused(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_file(head(2), whole)
    (tmp_path / "short.safetensors").write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "resnet.pth").write_bytes(b"PK\x03\x04 a pickle in a zip file")
    for name in ("short.safetensors", "resnet.pth"):
        with pytest.raises(models.CheckpointError, match=f"{name} is not a whole safetensors file"):
            models.load("resnet18", weights=tmp_path / name)
    for name in ("none.safetensors", "."):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            models.load("resnet18", weights=tmp_path / name)


def test_without_the_package_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"'safetensors': pip install 'lrpjax\[zoo\]'"):
        models.load("resnet18", weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", TORCHVISION)
def test_without_a_file_the_error_says_how_to_make_one(name):
    with pytest.raises(ValueError, match=f"{name} comes without weights") as error:
        models.load(name)
    command = models.export_command(name)
    assert command in str(error.value)
    program = ast.parse(shlex.split(command)[-1])
    assert f"torchvision.models.{name}(" in ast.unparse(program)


def test_all_networks_can_be_named_and_those_with_weights_loaded_at_once():
    assert set(UNTRAINED) == set(PARAMETERS)
    assert set(TORCHVISION) < set(UNTRAINED)
    assert set(models.available()) < set(models.architectures())
    with pytest.raises(ValueError, match=r"did you mean 'resnet50'\? available: .*; with a file"):
        models.load("resnet-50", weights="weights.safetensors")
    with pytest.raises(ValueError, match=r"no model named 'resnet50d'; did you mean"):
        models.build("resnet50d", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", UNTRAINED)
def test_networks_have_the_published_number_of_parameters(name):
    parameters = nnx.to_flat_state(nnx.state(models.structure(name).model, nnx.Param))
    assert sum(leaf.size for _, leaf in parameters) == PARAMETERS[name]


def test_random_weights_come_from_the_seed_and_keep_activations_in_bounds():
    first, again, other = (
        models.build("resnet18", classes=7, rngs=nnx.Rngs(seed)) for seed in (0, 0, 1)
    )
    kernels = [model.layer1[0].conv1.kernel[...] for model in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01
    np.testing.assert_allclose(kernels[0].std(), np.sqrt(2 / (9 * 64)), rtol=0.01)
    np.testing.assert_array_equal(first.bn1.scale[...], np.ones(64))
    np.testing.assert_array_equal(first.bn1.mean[...], np.zeros(64))
    assert first.fc.kernel.shape == (512, 7)


def test_the_plan_needs_no_weights():
    pixels = np.zeros((1, 64, 64, 3), np.float32)
    without = models.structure("resnet18", 10).model
    with_weights = models.build("resnet18", classes=10, rngs=nnx.Rngs(0))
    plans = [str(lrpjax.plan(model, None, pixels)) for model in (without, with_weights)]
    assert plans[0] == plans[1]
