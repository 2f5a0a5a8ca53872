"""The logits of AlexNet and GoogLeNet, written down once more with PyTorch's functions.

    pip install torch
    PYTHONPATH=tests/golden python benchmarks/peers/caffe_networks_golden.py

writes tests/golden/caffe_networks.npz: the logits of both networks in double precision, on the
weights and pixels of tests/golden/caffe_networks.py. "alexnet" has the paper's normalisation,
"bvlc_alexnet" the one in Caffe's file. The layers follow Caffe's deploy.prototxt of bvlc_alexnet
and bvlc_googlenet, which take blue, green, red; pooling rounds up.
"""

from pathlib import Path

import caffe_networks
import numpy as np
import torch
import torch.nn.functional as F

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
MEAN = torch.tensor([104.0, 117.0, 123.0], dtype=torch.float64)  # blue, green, red


class Layers:
    """Convolutions and dense layers by name."""

    def __init__(self, name):
        arrays = caffe_networks.weights(name)
        self.arrays = {key: torch.from_numpy(value).double() for key, value in arrays.items()}

    def conv(self, x, name, **arguments):
        weight, bias = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
        return F.relu(F.conv2d(x, weight, bias, **arguments))

    def dense(self, x, name):
        return F.linear(x, self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"])


def blobs(name):
    """The input as Caffe has it, [n, 3, height, width]."""
    pixels = torch.from_numpy(caffe_networks.pixels(name)).double()
    return (pixels.flip(-1) - MEAN).permute(0, 3, 1, 2)


def pool(x):
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def paper_norm(x):
    # PyTorch divides alpha by the window's length; the paper does not.
    return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)


def caffe_norm(x):
    return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


def alexnet(norm):
    layers = Layers("alexnet")
    x = pool(norm(layers.conv(blobs("alexnet"), "conv1", stride=4)))
    x = pool(norm(layers.conv(x, "conv2", padding=2, groups=2)))
    x = layers.conv(x, "conv3", padding=1)
    x = layers.conv(x, "conv4", padding=1, groups=2)
    x = pool(layers.conv(x, "conv5", padding=1, groups=2))
    x = F.relu(layers.dense(x.flatten(1), "fc6"))
    return layers.dense(F.relu(layers.dense(x, "fc7")), "fc8")


def inception(layers, x, block):
    def conv(x, name, **arguments):
        return layers.conv(x, f"inception_{block}/{name}", **arguments)

    ways = [
        conv(x, "1x1"),
        conv(conv(x, "3x3_reduce"), "3x3", padding=1),
        conv(conv(x, "5x5_reduce"), "5x5", padding=2),
        conv(F.max_pool2d(x, 3, 1, padding=1), "pool_proj"),
    ]
    return torch.cat(ways, 1)


def googlenet():
    layers = Layers("googlenet")
    x = layers.conv(blobs("googlenet"), "conv1/7x7_s2", stride=2, padding=3)
    x = layers.conv(caffe_norm(pool(x)), "conv2/3x3_reduce")
    x = pool(caffe_norm(layers.conv(x, "conv2/3x3", padding=1)))
    for block in caffe_networks.INCEPTION:
        if block in ("4a", "5a"):
            x = pool(x)
        x = inception(layers, x, block)
    return layers.dense(x.mean((2, 3)), "loss3/classifier")


def main():
    with torch.no_grad():
        logits = {
            "alexnet": alexnet(paper_norm),
            "bvlc_alexnet": alexnet(caffe_norm),
            "googlenet": googlenet(),
        }
    for name, values in logits.items():
        between = (values[0] - values[1]).abs().max()
        print(f"{name}: {values.abs().max():.3g} at most, {between:.3g} between two images")
    arrays = {name: values.numpy() for name, values in logits.items()}
    np.savez_compressed(GOLDEN / "caffe_networks.npz", **arrays)


if __name__ == "__main__":
    main()
