"""CIFAR-10's committed Vision Transformer: its file, its report, and its logits in NumPy."""

import collections
import math

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file
from support.ledgers import check

import lrpjax
from lrpjax import models
from lrpjax.models.cifar10 import CLASSES, weights

PATH = weights.path(architecture="vit")
HEADS = 4


@pytest.fixture(scope="module")
def classifier():
    return models.load("cifar10_vit")


def test_the_file_is_small_and_holds_the_network():
    arrays = load_file(PATH)
    assert PATH.stat().st_size < 8e6
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert sum(array.size for array in arrays.values()) == 406_858
    assert arrays["encoder.pos_embedding"].shape == (1, 64, 96)


def test_its_accuracy_stands_beside_it():
    report = weights.report(architecture="vit")
    assert (report["images"], report["test_images"]) == (50_000, 10_000)
    assert 0.6 < report["test_accuracy"] < 1
    assert len(report["history"]) == report["settings"]["epochs"]
    with pytest.raises(ValueError, match=r"weights of the seeds \(0,\), not of 1"):
        weights.path(1, architecture="vit")
    with pytest.raises(ValueError, match="weights of lrn, vit, not of mlp"):
        weights.report(architecture="mlp")


def test_it_is_loaded_by_its_name(classifier):
    assert "cifar10_vit" in models.available()
    assert (classifier.labels, classifier.image_size, classifier.crop) == (CLASSES, 32, 1)
    stored = load_file(PATH)["encoder.layers.encoder_layer_3.mlp.0.weight"]
    layer = classifier.model.encoder.layers["encoder_layer_3"].mlp[0]
    np.testing.assert_array_equal(layer.kernel[...], stored.T)


def gelu(x):
    return x * np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2


def conv(x, weight, bias, stride):
    """A convolution ``[height, width, in]`` by ``[out, in, k, k]``, one position after another."""
    size, half = weight.shape[-1], weight.shape[-1] // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)))
    y = np.empty((x.shape[0] // stride, x.shape[1] // stride, len(weight)))
    for i, j in np.ndindex(y.shape[:2]):
        patch = padded[stride * i : stride * i + size, stride * j : stride * j + size]
        y[i, j] = np.einsum("oihw,hwi->o", weight, patch) + bias
    return y


def slowly(arrays, pixels):
    """The network in NumPy, in double precision, for one picture."""
    array = {name: np.float64(values) for name, values in arrays.items()}

    def of(name):
        return array[f"{name}.weight"], array[f"{name}.bias"]

    def dense(x, name):
        weight, bias = of(name)
        return x @ weight.T + bias

    def norm(x, name):
        scale, bias = of(name)
        centred = x - x.mean(-1, keepdims=True)
        return scale * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) + bias

    def attention(x, name):
        stacked = x @ array[f"{name}.in_proj_weight"].T + array[f"{name}.in_proj_bias"]
        seen = np.empty_like(x)
        for head in range(HEADS):
            columns = np.split(np.arange(x.shape[1]), HEADS)[head]
            query, key, value = (part[:, columns] for part in np.split(stacked, 3, axis=1))
            scores = np.exp(query @ key.T / math.sqrt(len(columns)))
            seen[:, columns] = scores / scores.sum(1, keepdims=True) @ value
        return dense(seen, f"{name}.out_proj")

    x = (pixels / 255 - [0.4914, 0.4822, 0.4465]) / [0.2470, 0.2435, 0.2616]
    x = gelu(conv(x, *of("stem.0"), 2))
    x = gelu(conv(x, *of("stem.2"), 2))
    x = conv(x, *of("conv_proj"), 1).reshape(64, 96) + array["encoder.pos_embedding"][0]
    for number in range(5):
        block = f"encoder.layers.encoder_layer_{number}"
        x = x + attention(norm(x, f"{block}.ln_1"), f"{block}.self_attention")
        hidden = gelu(dense(norm(x, f"{block}.ln_2"), f"{block}.mlp.0"))
        x = x + dense(hidden, f"{block}.mlp.3")
    return dense(norm(x, "encoder.ln").mean(0), "heads.head")


@nnx.jit
def logits_of(model, pixels):
    return model(pixels)


def test_the_logits_are_those_of_the_network_written_in_numpy(classifier):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    pixels[1] = np.linspace(0, 255, 32)[:, None]
    arrays = load_file(PATH)
    expected = [slowly(arrays, picture) for picture in pixels]
    np.testing.assert_allclose(logits_of(classifier.model, pixels), expected, rtol=0, atol=1e-4)
    assert np.ptp(expected) > 1


def test_pictures_of_another_size_are_refused(classifier):
    with pytest.raises(ValueError, match=r"\(1, 33, 32, 3\); it should be \[n, 32, 32, 3\]"):
        classifier.predict(np.zeros((33, 32, 3)))


def test_every_head_is_recognised_and_the_ledger_closes(classifier):
    pixels = np.float32(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)))
    plan = lrpjax.plan(classifier.model, None, pixels)
    kinds = collections.Counter(unit.kind for unit in plan.units)
    assert (kinds["softmax"], kinds["attention"], kinds["normalisation"]) == (5, 10, 11)
    ledger = lrpjax.audit(classifier.model, None, pixels)
    check(ledger, 1e-5)
    assert abs(ledger.start) > 0.5
