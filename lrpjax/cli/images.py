"""The images of ``lrpjax evaluate``: from photographs, from an array, or from CIFAR-10."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lrpjax.cli.messages import UsageError, one_line, shown
from lrpjax.cli.photographs import Unreadable, gather, read
from lrpjax.cli.results import is_result

Fail = Callable[[Path, object], None]


def images_from(path: Path, classifier: Any, limit: int | None, fail: Fail) -> np.ndarray:
    """The images as the classifier takes them.

    Args:
        path: A folder of photographs; an .npz file with ``images``, uint8 [n, h, w, 3]; or
            CIFAR-10 in one of the forms that ``lrpjax.models.cifar10`` reads.
        classifier: For its size and preprocessing; images of its size are taken as they are.
        limit: How many images at most, the first ones; None for all.
        fail: Called with a path and the reason for a photograph that can't be read.

    Returns:
        uint8 or float32 [n, size, size, 3].

    Raises:
        UsageError: There is nothing there that can be read.
    """
    if not path.exists():
        raise UsageError(f"--data {shown(path)}: there is no such file or folder")
    pixels = _array(path)
    if pixels is None:
        pixels = _cifar10(path)
    if pixels is None:
        return _photographs(path, classifier, limit, fail)
    return _fitted(pixels[:limit], classifier)


def _array(path: Path) -> np.ndarray | None:
    """The array ``images`` of an .npz file, if there is one."""
    if path.suffix != ".npz" or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "images" not in arrays.files:
                return None
            images = arrays["images"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--data {shown(path)}: no whole .npz file ({one_line(error)})") from error
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not images.size:
        raise UsageError(
            f"--data {shown(path)}: images are uint8 [n, h, w, 3]; these are {images.dtype} "
            f"{list(images.shape)}"
        )
    return images


def _cifar10(path: Path) -> np.ndarray | None:
    """The test images of CIFAR-10; None for a folder of other things."""
    from lrpjax.models.cifar10 import data

    try:
        return data.load(path, "test").pixels
    except (OSError, ValueError) as error:
        if path.is_dir() and isinstance(error, FileNotFoundError):
            return None
        raise UsageError(
            f"--data {shown(path)}: neither a folder of photographs, nor an .npz file with "
            f"'images', nor CIFAR-10 ({one_line(error)})"
        ) from error


def _fitted(pixels: np.ndarray, classifier: Any) -> np.ndarray:
    """Images of the network's size, cut as photographs are where they are of another."""
    if pixels.shape[1:3] == (classifier.image_size, classifier.image_size):
        return pixels
    from PIL import Image

    return np.stack([classifier.preprocess(Image.fromarray(one)) for one in pixels])


def _photographs(folder: Path, classifier: Any, limit: int | None, fail: Fail) -> np.ndarray:
    found: list[np.ndarray] = []
    for photograph in gather([folder], is_result, fail):
        if len(found) == limit:
            break
        try:
            found.append(read(photograph, classifier.preprocess))
        except Unreadable as error:
            fail(photograph.path, error)
    if not found:
        raise UsageError(f"--data {shown(folder)}: there is no photograph that can be read")
    return np.stack(found)
