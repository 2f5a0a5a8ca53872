"""Weights by torch's names as the variables of a Flax network."""

import numpy as np

from parity.networks import weights

_LEAVES = {
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "bias": ("params", "bias"),
}


def flax_weights(network, dtype):
    """Linen's variables: {"params": …, "batch_stats": …}, nested by module."""
    variables = {"params": {}, "batch_stats": {}}
    for name, array in weights(network).items():
        module, _, leaf = name.rpartition(".")
        layer = network.layers[module]
        collection, leaf = _LEAVES.get(leaf) or ("params", _weight_name(layer))
        tree = variables[collection]
        for part in module_path(module):
            tree = tree.setdefault(part, {})
        tree[leaf] = (_kernel(layer, array) if leaf == "kernel" else array).astype(dtype)
    return variables


def module_path(module):
    """layer1.0.conv1 -> (layer1_0, conv1): Flax has no modules that are called by a number."""
    path = []
    for part in module.split("."):
        if part.isdigit():
            path[-1] = f"{path[-1]}_{part}"
        else:
            path.append(part)
    return tuple(path)


def _weight_name(layer):
    return "scale" if layer.kind == "norm" else "kernel"


def _kernel(layer, array):
    """Torch's weight in Flax's layout; Flax's transposed convolution does not flip its window."""
    if layer.kind == "conv_transpose":
        window = tuple(range(2, array.ndim))
        return np.flip(np.moveaxis(array, (0, 1), (-2, -1)), [a - 2 for a in window])
    if layer.flattened:
        array = np.moveaxis(array.reshape(-1, *layer.flattened), 1, -1).reshape(array.shape)
    return np.moveaxis(array, (0, 1), (-1, -2))
