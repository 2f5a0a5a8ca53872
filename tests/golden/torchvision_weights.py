"""Weights and pixels for torchvision's networks, from NumPy alone: the same ones everywhere.

Both the script that makes the golden logits and the tests that compare with them import this file.
All values are cut out of one block of random numbers, so VGG16's 138 million take a second. The
block's length is a prime, so no row of a matrix repeats another.
"""

import json
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """What a network is run with.

    Attributes:
        shape: The pixels' shape. VGG16 pools its 2×3 positions to a grid of 7×7.
        gain: Of each matrix, in units of 1/√fan_in; it keeps the logits near 1.
    """

    shape: tuple[int, int, int, int]
    gain: float


CASES = {
    "vgg16": Case((2, 64, 96, 3), 1.2),
    "vgg16_bn": Case((2, 64, 96, 3), 1.2),
    "resnet18": Case((2, 47, 41, 3), 0.9),
    "resnet50": Case((2, 47, 41, 3), 0.7),
    "mobilenet_v2": Case((2, 47, 41, 3), 1.2),
    "densenet121": Case((2, 47, 41, 3), 1.2),
    "vit_b_16": Case((2, 224, 224, 3), 1.2),
}
BLOCK = 1_048_583


def path(name):
    """Where torchvision's logits on these weights lie, and the shapes of its ``state_dict``."""
    return Path(__file__).with_name(f"torchvision_{name}.npz")


def stored(name):
    """These logits, float64 [n, 1000], and the shapes by name."""
    with np.load(path(name)) as file:
        return file["logits"], json.loads(str(file["shapes"]))


def pixels(name):
    """Whole numbers from 0 to 255, float64 [n, height, width, 3]."""
    return np.random.RandomState(1).randint(0, 256, CASES[name].shape).astype(np.float64)


def state_dict(name, shapes):
    """A ``state_dict`` with values.

    Args:
        name: One of the cases.
        shapes: The arrays' shapes by name.

    Returns:
        Arrays of these shapes by name: float32, and BatchNorm's counters int64.
    """
    block = np.random.RandomState(0).standard_normal(BLOCK).astype(np.float32)
    block = np.concatenate([block, block])
    gain = np.float32(CASES[name].gain)
    return {key: _values(key, shape, block, gain) for key, shape in shapes.items()}


def _values(key, shape, block, gain):
    if key.endswith(".num_batches_tracked"):
        return np.zeros(shape, np.int64)
    start = zlib.crc32(key.encode()) % BLOCK
    size = min(math.prod(shape), BLOCK)
    numbers = np.resize(block[start : start + size], shape)
    if key.endswith(("class_token", "pos_embedding")):
        return numbers / 2
    if len(shape) > 1:
        numbers *= gain / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
        return numbers
    if key.endswith((".running_var", ".weight")):
        return np.float32(0.5) + np.abs(numbers) / 2
    return np.float32(0.2) * numbers
