"""The committed networks: their files, what is written down of them, and how they are loaded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import load_file

from lrpjax import models
from lrpjax.models.cifar10 import CLASSES, weights

NAMES = {0: "cifar10_lrn", 1: "cifar10_lrn_seed1", 2: "cifar10_lrn_seed2"}
SHAPES = {
    "conv1.weight": (32, 3, 5, 5),
    "conv2.weight": (64, 32, 5, 5),
    "conv3.weight": (160, 64, 3, 3),
    "fc.weight": (10, 1440),
    "conv1.bias": (32,),
    "conv2.bias": (64,),
    "conv3.bias": (160,),
    "fc.bias": (10,),
}


def test_the_files_are_small():
    assert sum(weights.path(seed).stat().st_size for seed in weights.SEEDS) < 4e6


@pytest.mark.parametrize("seed", weights.SEEDS)
def test_each_file_holds_the_network_and_its_accuracy_stands_beside_it(seed):
    arrays = load_file(weights.path(seed))
    assert {name: array.shape for name, array in arrays.items()} == SHAPES
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    report = weights.report(seed)
    assert report["settings"]["seed"] == seed
    assert report["settings"]["alpha"] == 1.0
    assert (report["images"], report["test_images"]) == (50_000, 10_000)
    assert 0.8 <= report["test_accuracy"] < 1
    assert len(report["history"]) == report["settings"]["epochs"]


def test_the_seeds_differ_in_nothing_but_their_seed():
    settings = [weights.report(seed)["settings"] for seed in weights.SEEDS]
    assert [each.pop("seed") for each in settings] == [0, 1, 2]
    assert settings[0] == settings[1] == settings[2]
    first, second, third = (load_file(weights.path(seed)) for seed in weights.SEEDS)
    for one, other in ((first, second), (first, third), (second, third)):
        assert np.abs(one["conv1.weight"] - other["conv1.weight"]).max() > 0.1
    with pytest.raises(ValueError, match=r"weights of the seeds \(0, 1, 2\), not of 3"):
        weights.path(3)


@pytest.mark.parametrize(("seed", "name"), NAMES.items())
def test_each_is_loaded_by_its_name(seed, name):
    classifier = models.load(name)
    assert name in models.available()
    assert (classifier.name, classifier.labels, classifier.image_size) == (name, CLASSES, 32)
    stored = load_file(weights.path(seed))["conv2.weight"]
    np.testing.assert_array_equal(classifier.model.conv2.kernel[...], stored.transpose(2, 3, 1, 0))


def slowly(arrays, pixels):
    """The network in NumPy, in double precision, one output position after another."""
    mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
    weight = {name: np.float64(array) for name, array in arrays.items()}

    def conv(x, name):
        kernel = weight[f"{name}.weight"]
        half, size = kernel.shape[-1] // 2, x.shape[1]
        padded = np.pad(x, ((0, 0), (half, half), (half, half)))
        y = np.empty((len(kernel), size, size))
        for i, j in np.ndindex(size, size):
            patch = padded[:, i : i + 2 * half + 1, j : j + 2 * half + 1]
            y[:, i, j] = np.tensordot(kernel, patch, 3)
        return np.maximum(y + weight[f"{name}.bias"][:, None, None], 0)

    def pool(x):
        size = (x.shape[1] - 1) // 2
        windows = [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for i, j in np.ndindex(size, size)]
        return np.stack([w.max((1, 2)) for w in windows], -1).reshape(len(x), size, size)

    def norm(x):
        near = np.abs(np.subtract.outer(np.arange(len(x)), np.arange(len(x)))) <= 2
        return x / (1 + np.tensordot(near / 5, x**2, 1)) ** 0.75

    x = np.moveaxis((pixels / 255 - mean) / std, -1, 0)
    x = norm(pool(conv(x, "conv1")))
    x = pool(norm(conv(x, "conv2")))
    x = pool(conv(x, "conv3"))
    return weight["fc.weight"] @ np.moveaxis(x, 0, -1).ravel() + weight["fc.bias"]


@pytest.fixture(scope="module")
def classifier():
    return models.load("cifar10_lrn")


@nnx.jit
def logits_of(model, pixels):
    return model(pixels)


def test_the_logits_are_those_of_the_network_written_in_numpy(classifier):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    pixels[1] = np.linspace(0, 255, 32)[:, None]
    arrays = load_file(weights.path(0))
    expected = [slowly(arrays, picture) for picture in pixels]
    np.testing.assert_allclose(logits_of(classifier.model, pixels), expected, rtol=0, atol=2e-4)
    assert np.ptp(expected) > 1


def test_the_normalisation_normalises(classifier):
    model, pixels = classifier.model, np.random.default_rng(0).normal(127, 60, (1, 32, 32, 3))
    x = model.pool(nnx.relu(model.conv1((jnp.float32(pixels) / 255 - 0.47) / 0.25)))
    shrunk = jax.jit(model.norm1)(x)[x > 0.1] / x[x > 0.1]
    assert np.median(shrunk) < 0.7 and shrunk.std() > 0.05


def test_a_photograph_is_shown_whole_along_its_short_side(classifier):
    photograph = Image.new("RGB", (96, 64), (255, 0, 0))
    pixels = classifier.preprocess(photograph)
    assert pixels.shape == (32, 32, 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to([255, 0, 0], pixels.shape))
    assert classifier.crop == 1


def test_pictures_of_another_size_are_refused(classifier):
    with pytest.raises(ValueError, match=r"\(1, 33, 32, 3\); it should be \[n, 32, 32, 3\]"):
        classifier.predict(np.zeros((33, 32, 3)))
