"""Weights and pixels for AlexNet and GoogLeNet in Caffe's layout, from NumPy alone.

Both the script that makes the golden logits and the tests that compare with them import this file.
The names and shapes are those of Caffe's bvlc_alexnet and bvlc_googlenet.
"""

import math
import zlib

import numpy as np

ALEXNET = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
# Features in, then #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj.
INCEPTION = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
SIDES = {"alexnet": 227, "googlenet": 95}
BLOCK = 1_048_583  # A prime, so no row of a matrix repeats another.


def googlenet():
    """The shapes of GoogLeNet's weights by layer."""
    shapes = {
        "conv1/7x7_s2": (64, 3, 7, 7),
        "conv2/3x3_reduce": (64, 64, 1, 1),
        "conv2/3x3": (192, 64, 3, 3),
    }
    for block, (x, direct, reduce3, wide3, reduce5, wide5, projected) in INCEPTION.items():
        shapes |= {
            f"inception_{block}/1x1": (direct, x, 1, 1),
            f"inception_{block}/3x3_reduce": (reduce3, x, 1, 1),
            f"inception_{block}/3x3": (wide3, reduce3, 3, 3),
            f"inception_{block}/5x5_reduce": (reduce5, x, 1, 1),
            f"inception_{block}/5x5": (wide5, reduce5, 5, 5),
            f"inception_{block}/pool_proj": (projected, x, 1, 1),
        }
    return shapes | {"loss3/classifier": (1000, 1024)}


SHAPES = {"alexnet": ALEXNET, "googlenet": googlenet()}


def pixels(name):
    """Whole numbers from 0 to 255, red, green, blue, float32 [2, height, width, 3]."""
    shape = (2, SIDES[name], SIDES[name], 3)
    return np.random.RandomState(1).randint(0, 256, shape).astype(np.float32)


def weights(name):
    """He-normal weights and small biases, float32 by name."""
    block = np.random.RandomState(0).standard_normal(BLOCK).astype(np.float32)
    block = np.concatenate([block, block])
    arrays = {}
    for layer, shape in SHAPES[name].items():
        start, fan_in = zlib.crc32(layer.encode()) % BLOCK, math.prod(shape[1:])
        numbers = np.resize(block[start : start + min(math.prod(shape), BLOCK)], shape)
        arrays[f"{layer}.weight"] = numbers * np.sqrt(2 / fan_in, dtype=np.float32)
        arrays[f"{layer}.bias"] = np.float32(0.2) * block[start + 7 : start + 7 + shape[0]]
    return arrays
