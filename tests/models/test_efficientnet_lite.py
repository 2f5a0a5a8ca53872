"""EfficientNet-Lite0 against a NumPy network written from the paper, and against photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrpjax import models

BLOCK_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)

EXPECTED = {
    "coffee": ("espresso", 0.95),
    "camera": ("tripod", 0.94),
    "motorcycle": ("moped", 0.48),
    "chelsea": ("tiger cat", 0.39),
    "rocket": ("missile", 0.30),
}


def convolve(x, weight, stride=1):
    """TensorFlow's "SAME" cross-correlation of [h, w, c] with PyTorch's [out, in, k, k]."""
    size = weight.shape[-1]
    margins = []
    for length in x.shape[:2]:
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        margins.append((total // 2, total - total // 2))
    padded = np.pad(x, [*margins, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride]  # [h, w, c, k, k]
    if weight.shape[1] == 1 and x.shape[2] == weight.shape[0]:
        return np.einsum("hwcij,cij->hwc", windows, weight[:, 0])
    return np.einsum("hwcij,ocij->hwo", windows, weight, optimize=True)


def normalise(x, arrays, name):
    scale = arrays[f"{name}.weight"] / np.sqrt(arrays[f"{name}.running_var"] + 1e-3)
    return (x - arrays[f"{name}.running_mean"]) * scale + arrays[f"{name}.bias"]


def relu6(x):
    return np.clip(x, 0, 6)


def reference_logits(pixels, arrays):
    """The network in float64, straight from the checkpoint's names."""
    x = (pixels - 127.0) / 128.0
    x = relu6(normalise(convolve(x, arrays["_conv_stem.weight"], 2), arrays, "_bn0"))
    for index, stride in enumerate(BLOCK_STRIDES):
        at, y = f"_blocks.{index}.", x
        if f"{at}_expand_conv.weight" in arrays:
            y = convolve(y, arrays[f"{at}_expand_conv.weight"])
            y = relu6(normalise(y, arrays, f"{at}_bn0"))
        y = convolve(y, arrays[f"{at}_depthwise_conv.weight"], stride)
        y = relu6(normalise(y, arrays, f"{at}_bn1"))
        y = normalise(convolve(y, arrays[f"{at}_project_conv.weight"]), arrays, f"{at}_bn2")
        x = x + y if stride == 1 and x.shape == y.shape else y
    x = relu6(normalise(convolve(x, arrays["_conv_head.weight"]), arrays, "_bn1"))
    return arrays["_fc.weight"] @ x.mean((0, 1)) + arrays["_fc.bias"]


@pytest.fixture(scope="module")
def arrays():
    return models.pretrained.EFFICIENTNET_LITE0.read()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (57, 90)])
def test_logits_equal_a_numpy_network_written_from_the_paper(classifier, arrays, height, width):
    coffee = classifier.preprocess(models.sample_photographs()["coffee"])[80:, 40:]
    pixels = coffee[:height, :width]
    exact = reference_logits(
        pixels.astype(np.float64), {k: v.astype(np.float64) for k, v in arrays.items()}
    )
    with jax.default_matmul_precision("float32"):
        logits = np.asarray(nnx.jit(classifier.model)(jnp.asarray(pixels[None])))[0]
    assert np.abs(exact).max() > 1
    np.testing.assert_allclose(logits, exact, atol=2e-4 * np.abs(exact).max())


def test_the_five_photographs_have_the_expected_classes_and_scores(classifier):
    photographs = models.sample_photographs()
    pixels = np.stack([classifier.preprocess(photographs[name]) for name in EXPECTED])
    probabilities = classifier.predict(pixels)
    found = [classifier.labels[i] for i in probabilities.argmax(-1)]
    assert found == [label for label, _ in EXPECTED.values()]
    np.testing.assert_allclose(
        probabilities.max(-1), [score for _, score in EXPECTED.values()], atol=0.01
    )


def test_all_weights_come_from_the_checkpoint(classifier, arrays):
    used = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(classifier.model)))
    counts = [v.size for k, v in arrays.items() if not k.endswith("num_batches_tracked")]
    assert used == sum(counts)
    kernel = classifier.model.blocks[3].expand.conv.kernel[...]
    weight = arrays["_blocks.3._expand_conv.weight"]
    np.testing.assert_array_equal(kernel[0, 0], weight[:, :, 0, 0].T)


def test_layers_have_plain_names(classifier):
    paths = {
        "/".join(map(str, path[:-1])) for path, _ in nnx.to_flat_state(nnx.state(classifier.model))
    }
    assert {"stem/conv", "blocks/0/depthwise/conv", "blocks/15/project/norm"} <= paths
    assert {"head/norm", "classifier"} <= paths
    assert "blocks/0/expand/conv" not in paths


def without(name):
    return lambda arrays: {k: v for k, v in arrays.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("_blocks.7._bn1.bias"), r"missing \['_blocks\.7\._bn1\.bias'\]"),
        (lambda arrays: arrays | {"_se.weight": np.ones(3)}, r"left over \['_se\.weight'\]"),
        (lambda arrays: arrays | {"_bn0.bias": np.ones(3)}, r"_bn0\.bias has shape \(3,\)"),
        (lambda arrays: {}, "missing"),
    ],
)
def test_another_networks_checkpoint_is_refused(arrays, change, message):
    with pytest.raises(ValueError, match=message):
        models.efficientnet_lite.from_torch(change(arrays))
