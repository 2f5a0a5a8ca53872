"""The committed adapter for sentiment, what is known of it, and how one is written.

The file is safetensors with the arrays of `adapter.first`, matrices ``[in, out]``; the JSON file
beside it has the settings of the training and the accuracy on SST-2.
"""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .adapter import Adapter

LABELS = ("negative", "positive")


def path() -> Path:
    """Where the committed adapter lies.

    Returns:
        The safetensors file.

    Example:
        >>> path().name, path().stat().st_size < 1e6
        ('sst2.safetensors', True)
    """
    return Path(__file__).with_name("sst2.safetensors")


def report() -> dict[str, Any]:
    """What was written down when the committed adapter was trained.

    Returns:
        ``settings`` of the training, ``dev_accuracy`` and ``test_accuracy`` after it, and the
        ``history`` of epochs.

    Example:
        >>> report()["dev_accuracy"] > 0.85
        True
    """
    return json.loads(path().with_suffix(".json").read_text(encoding="utf-8"))


def save(path: str | PathLike[str], adapter: Adapter) -> None:
    """Writes an adapter.

    Args:
        path: The safetensors file to write.
        adapter: Arrays by name.

    Raises:
        ImportError: The package ``safetensors`` is missing.
    """
    from safetensors.numpy import save_file

    # Safetensors stores the bytes as they lie, so they must lie in order.
    save_file({name: np.array(array, order="C") for name, array in adapter.items()}, path)


def read(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Reads an adapter.

    Args:
        path: A safetensors file, as training writes it.

    Returns:
        Arrays by name.

    Raises:
        CheckpointError: The file is in another format, or damaged.
        FileNotFoundError: There is no such file.
        ImportError: The package ``safetensors`` is missing.

    Example:
        >>> read(path())["head.kernel"].shape
        (384, 2)
    """
    from ..own_weights import read as read_arrays

    return read_arrays(path)
