"""The committed weights of the CIFAR-10 networks, what is known of them, and how they are written.

The files are safetensors with the arrays of a PyTorch ``state_dict``: ``conv1.weight`` is
``[out, in, height, width]``, ``fc.weight`` ``[out, in]``, its columns in the order of a flattened
``[height, width, features]``. The Vision Transformer's have torchvision's names. Each has a JSON
file beside it with the settings of its training and its accuracy on the test set.
"""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ..torch_layout import fill, state_dict
from .network import Cifar10LRN
from .recipes import RECIPES

SEEDS = (0, 1, 2)
TRAINED = {"lrn": SEEDS, "vit": (0,)}


def path(seed: int = 0, *, architecture: str = "lrn") -> Path:
    """Where the weights lie that were trained from a seed.

    Args:
        seed: One of ``SEEDS``; 0 alone for the Vision Transformer.
        architecture: "lrn" or "vit", as in ``recipes.RECIPES``.

    Returns:
        The safetensors file.

    Raises:
        ValueError: There are no weights of this seed or architecture.

    Example:
        >>> path(2).name, path(architecture="vit").name
        ('seed2.safetensors', 'vit_seed0.safetensors')
    """
    if architecture not in TRAINED:
        raise ValueError(f"there are weights of {', '.join(TRAINED)}, not of {architecture}")
    seeds = TRAINED[architecture]
    if seed not in seeds:
        raise ValueError(f"there are weights of the seeds {seeds}, not of {seed}")
    name = RECIPES[architecture](seed=seed).file_name
    return Path(__file__).with_name(f"{name}.safetensors")


def report(seed: int = 0, *, architecture: str = "lrn") -> dict[str, Any]:
    """What was written down when the weights were trained.

    Args:
        seed: As for `path`.
        architecture: As for `path`.

    Returns:
        ``settings`` of the training, ``test_accuracy``, and the ``history`` of epochs.

    Raises:
        ValueError: There are no weights of this seed or architecture.

    Example:
        >>> report(0)["test_accuracy"] > 0.8
        True
    """
    file = path(seed, architecture=architecture)
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


def save(path: str | PathLike[str], model: nnx.Module) -> None:
    """Writes a network's weights.

    Args:
        path: The safetensors file to write.
        model: The network.

    Raises:
        ImportError: The package ``safetensors`` is missing.
    """
    from safetensors.numpy import save_file

    save_file(state_dict(model), path)


def read(path: str | PathLike[str], *, alpha: float = 1.0) -> Cifar10LRN:
    """Reads a network with LRN that was trained with any strength of it.

    Args:
        path: A safetensors file, as training writes it.
        alpha: The strength of both LRNs, which is not among the weights.

    Returns:
        The network.

    Raises:
        CheckpointError: The file is in another format, or holds another network's weights.
        FileNotFoundError: There is no such file.

    Example:
        >>> from lrpjax.models.cifar10 import weights
        >>> weights.read(weights.path(0)).fc.bias.shape
        (10,)
    """
    from ..own_weights import read as read_arrays

    arrays = read_arrays(path)
    classes = max(arrays.get("fc.bias", np.zeros(10)).size, 1)
    model = nnx.eval_shape(lambda: Cifar10LRN(classes, alpha=alpha, rngs=nnx.Rngs(0)))
    fill(model, arrays, network="cifar10_lrn")
    return model
