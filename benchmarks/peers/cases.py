"""The networks' random weights and the images, as files that both sides read.

Weights are those of tests/golden/torchvision_weights.py, BatchNorm's statistics among them, under
torchvision's names. "without biases" has the same with every constant that is added set to zero.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "golden"), str(ROOT / "benchmarks")]

import torchvision_weights  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOW, HIGH = -2.2, 2.7  # of normalised pixels
ADDED = ("bias", "running_mean", "pos_embedding")


def pixels(batch, side=224):
    """Whole numbers from 0 to 255, float64 [batch, side, side, 3]."""
    shape = (batch, side, side, 3)
    return np.random.RandomState(1).randint(0, 256, shape).astype(np.float64)


def classes(count):
    """A class for each image, or as many of one image."""
    return (11 + 37 * np.arange(count)) % 1000


def weights_file(folder, network, weights):
    """The path of a network's weights in this folder, where they are written first if need be.

    Args:
        folder: Where the files are kept.
        network: torchvision's name.
        weights: "random" or "without biases".
    """
    from safetensors.numpy import save_file

    path = Path(folder) / f"{network}-{weights.replace(' ', '-')}.safetensors"
    if not path.exists():
        _, shapes = torchvision_weights.stored(network)
        arrays = torchvision_weights.state_dict(network, shapes)
        if weights == "without biases":
            arrays = {k: v * (not k.endswith(ADDED)) for k, v in arrays.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, draft)
        draft.rename(path)
    return str(path)
