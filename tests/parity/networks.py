"""The networks on which zennit and lrpjax are compared, as numbers: NumPy alone, no torch, no JAX.

Layers are listed by torch's names with torch's weight shapes. `benchmarks/peers/zennit_networks.py`
builds the modules in torch, `linen_networks.py` and `nnx_networks.py` in Flax, and each takes the
weights from here. Biases and statistics are all random, since what folds in is the point.
"""

from dataclasses import dataclass

import numpy as np

CLASSES = 5


@dataclass(frozen=True)
class Layer:
    """One layer with weights: its kind, torch's weight shape, and whether it has a bias.

    Attributes:
        flattened: for a dense layer behind a flattened map, the map's shape without batch in
            torch's order (channels first).
    """

    kind: str
    shape: tuple[int, ...]
    bias: bool = True
    flattened: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """An input's shape in torch's order (batch, channels, …), and layers by torch's names."""

    seed: int
    shape: tuple[int, ...]
    layers: dict[str, Layer]


def conv(features, channels, *window, bias=True):
    """A convolution; `channels` is per group."""
    return Layer("conv", (features, channels, *window), bias)


def conv_transpose(channels, features, *window):
    return Layer("conv_transpose", (channels, features, *window))


def dense(features, inputs, flattened=()):
    return Layer("dense", (features, inputs), flattened=flattened)


def norm(features):
    return Layer("norm", (features,))


def conv_norm(name, features, channels, window):
    """A convolution without bias, and its BatchNorm."""
    return {
        f"{name}.conv": conv(features, channels, window, window, bias=False),
        f"{name}.norm": norm(features),
    }


def basic_block(name, channels, features):
    """Torchvision's BasicBlock."""
    layers = {
        f"{name}.conv1": conv(features, channels, 3, 3, bias=False),
        f"{name}.bn1": norm(features),
        f"{name}.conv2": conv(features, features, 3, 3, bias=False),
        f"{name}.bn2": norm(features),
    }
    return layers | _downsample(name, channels, features)


def bottleneck(name, channels, planes):
    """Torchvision's Bottleneck: its last convolution has four times the planes."""
    features = 4 * planes
    layers = {
        f"{name}.conv1": conv(planes, channels, 1, 1, bias=False),
        f"{name}.bn1": norm(planes),
        f"{name}.conv2": conv(planes, planes, 3, 3, bias=False),
        f"{name}.bn2": norm(planes),
        f"{name}.conv3": conv(features, planes, 1, 1, bias=False),
        f"{name}.bn3": norm(features),
    }
    return layers | _downsample(name, channels, features)


def _downsample(name, channels, features):
    if channels == features:
        return {}
    return {
        f"{name}.downsample.0": conv(features, channels, 1, 1, bias=False),
        f"{name}.downsample.1": norm(features),
    }


def stem(features):
    return {"conv1": conv(features, 3, 7, 7, bias=False), "bn1": norm(features)}


NETWORKS = {
    "mlp": Network(
        1,
        (2, 10),
        {"fc1": dense(16, 10), "fc2": dense(12, 16), "bn": norm(12), "fc3": dense(5, 12)},
    ),
    "cnn": Network(
        2,
        (2, 3, 12, 12),
        {
            "conv1": conv(8, 3, 3, 3),
            "bn": norm(8),
            "conv2": conv(8, 4, 3, 3),
            "conv3": conv(8, 8, 3, 3),
            "conv4": conv(6, 8, 1, 2),
            "fc": dense(5, 12, (6, 2, 1)),
        },
    ),
    "vgg": Network(
        3,
        (2, 3, 8, 8),
        {
            "conv1": conv(6, 3, 3, 3),
            "bn1": norm(6),
            "conv2": conv(6, 6, 3, 3),
            "bn2": norm(6),
            "conv3": conv(8, 6, 3, 3),
            "bn3": norm(8),
            "fc1": dense(10, 32, (8, 2, 2)),
            "fc2": dense(5, 10),
        },
    ),
    "resnet_basic": Network(
        4,
        (2, 3, 12, 12),
        {
            **stem(6),
            **basic_block("layer1.0", 6, 6),
            **basic_block("layer2.0", 6, 8),
            "fc": dense(5, 8),
        },
    ),
    "resnet_bottleneck": Network(
        5,
        (2, 3, 12, 12),
        {
            **stem(8),
            **bottleneck("layer1.0", 8, 2),
            **bottleneck("layer2.0", 8, 3),
            "fc": dense(5, 12),
        },
    ),
    "mobilenet": Network(
        6,
        (2, 3, 12, 12),
        {
            **conv_norm("stem", 6, 3, 3),
            **conv_norm("block1.depthwise", 6, 1, 3),
            **conv_norm("block1.project", 4, 6, 1),
            **conv_norm("block2.expand", 8, 4, 1),
            **conv_norm("block2.depthwise", 8, 1, 3),
            **conv_norm("block2.project", 4, 8, 1),
            **conv_norm("head", 8, 4, 1),
            "fc": dense(5, 8),
        },
    ),
    "gelu": Network(
        7,
        (2, 3, 8, 8),
        {
            "conv1": conv(6, 3, 3, 3),
            "conv2": conv(6, 6, 3, 3),
            "conv3": conv(8, 6, 3, 3),
            "fc1": dense(10, 8),
            "fc2": dense(5, 10),
        },
    ),
    "tanh": Network(
        8,
        (2, 3, 8, 8),
        {
            "conv1": conv(6, 3, 3, 3),
            "bn1": norm(6),
            "conv2": conv(6, 6, 3, 3),
            "conv3": conv(4, 6, 2, 2),
            "fc1": dense(10, 16, (4, 2, 2)),
            "fc2": dense(5, 10),
        },
    ),
    "conv1d": Network(
        9,
        (2, 4, 20),
        {
            "conv1": conv(6, 4, 5),
            "bn1": norm(6),
            "conv2": conv(8, 6, 3),
            "up": conv_transpose(8, 6, 4),
            "fc": dense(5, 24, (6, 4)),
        },
    ),
    "transposed": Network(
        10,
        (2, 3, 8, 8),
        {
            "conv1": conv(6, 3, 3, 3),
            "up1": conv_transpose(6, 6, 3, 3),
            "bn1": norm(6),
            "up2": conv_transpose(6, 4, 2, 2),
            "conv2": conv(4, 4, 3, 3),
            "fc": dense(5, 4),
        },
    ),
}


def weights(network):
    """Every parameter and statistic of a network, float64, by torch's names."""
    rng = np.random.RandomState(network.seed)
    arrays = {}
    for name, layer in network.layers.items():
        drawn = _norm(rng, layer) if layer.kind == "norm" else _linear(rng, layer)
        arrays |= {f"{name}.{leaf}": array for leaf, array in drawn.items()}
    return arrays


def _linear(rng, layer):
    summed = 0 if layer.kind == "conv_transpose" else slice(1, None)
    scale = np.sqrt(2 / np.prod(np.atleast_1d(layer.shape[summed])))
    drawn = {"weight": scale * rng.normal(size=layer.shape)}
    if layer.bias:
        features = layer.shape[1 if layer.kind == "conv_transpose" else 0]
        drawn["bias"] = 0.3 * rng.normal(size=features)
    return drawn


def _norm(rng, layer):
    """Scales of either sign: a negative one turns W⁺ into W⁻."""
    return {
        "weight": rng.uniform(0.5, 1.5, layer.shape) * rng.choice([-1.0, 1.0], layer.shape),
        "bias": 0.3 * rng.normal(size=layer.shape),
        "running_mean": 0.3 * rng.normal(size=layer.shape),
        "running_var": rng.uniform(0.5, 2.0, layer.shape),
    }


def bounds(network):
    """The box its inputs lie in: low and high per channel, float64 [channels]."""
    step = 0.1 * np.arange(network.shape[1])
    return -1.0 - step, 2.0 - step


def inputs(network):
    """A batch of inputs in torch's order, of either sign, within the bounds."""
    low, high = (b.reshape(-1, *[1] * (len(network.shape) - 2)) for b in bounds(network))
    rng = np.random.RandomState(network.seed + 1000)
    return rng.uniform(np.broadcast_to(low, network.shape), high)
