"""CIFAR-10 from the files a person has: Python batches, binary batches, or an archive of JPEGs.

The dataset is A. Krizhevsky's (Learning Multiple Layers of Features from Tiny Images, 2009). Its
home page offers it as ``cifar-10-python.tar.gz`` and ``cifar-10-binary.tar.gz``. Nothing is
downloaded here: the path is always the caller's.
"""

import io
import itertools
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .network import CLASSES, IMAGE_SIZE
from .restricted_pickle import read_pickle

Split = Literal["train", "test"]
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
PIXELS = 3 * IMAGE_SIZE * IMAGE_SIZE


class Images(NamedTuple):
    """One part of the dataset.

    Attributes:
        pixels: Red, green, blue from 0 to 255, uint8 ``[n, 32, 32, 3]``.
        labels: Each image's class, int32 ``[n]``.
        names: The classes' names in the order of their numbers.
    """

    pixels: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def load(path: str | PathLike[str], split: Split) -> Images:
    """Reads one part of CIFAR-10.

    Args:
        path: The unpacked folder of Python batches (``data_batch_1`` …) or binary batches
            (``data_batch_1.bin`` …), or the folder it lies in; or an ``.npz`` archive of JPEGs:
            ``train_jpeg`` (all files one after another, uint8), ``train_offsets`` (n + 1 of
            them), ``train_labels``, the same for ``test``, and ``classes``.
        split: "train" or "test".

    Returns:
        Its images, labels and class names.

    Raises:
        FileNotFoundError: There is no such path, or a batch is missing.
        ValueError: A file holds something else, or there is no such part.
        ImportError: An archive of JPEGs needs the package ``pillow``.
    """
    if split not in BATCHES:
        raise ValueError(f"there is no part {split!r}; there are {', '.join(BATCHES)}")
    path = Path(path)
    if path.is_file():
        return _checked(path, _archive(path, split))
    for folder in (path, *(path / name for name in FOLDERS)):
        for suffix, read in (("", _python_batch), (".bin", _binary_batch)):
            if (folder / f"{BATCHES[split][0]}{suffix}").is_file():
                files = [folder / f"{name}{suffix}" for name in BATCHES[split]]
                return _checked(folder, _joined(files, read, _names(folder)))
    raise FileNotFoundError(
        f"there is neither an archive nor {BATCHES[split][0]} or {BATCHES[split][0]}.bin at {path}"
    )


def _joined(
    files: list[Path], read: Callable[[Path], tuple[Any, Any]], names: tuple[str, ...]
) -> Images:
    planes, labels = zip(*map(read, files), strict=True)
    cube = np.concatenate(planes).reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return Images(np.moveaxis(cube, 1, -1).copy(), np.concatenate(labels), names)


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch = read_pickle(path)
    data = batch.get(b"data") if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    if not (
        isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (PIXELS,)
    ):
        raise ValueError(f"{path} holds no uint8 array of images of {PIXELS} values")
    if not (isinstance(labels, list) and all(type(label) is int for label in labels)):
        raise ValueError(f"{path} holds no list of labels")
    if len(labels) != len(data):
        raise ValueError(f"{path} holds {len(labels)} labels for {len(data)} images")
    return data, np.array(labels, np.int64)


def _binary_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    records = np.fromfile(path, np.uint8)
    if not records.size or records.size % (1 + PIXELS):
        raise ValueError(f"{path} holds {records.size} bytes, not records of {1 + PIXELS}")
    records = records.reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0]


def _names(folder: Path) -> tuple[str, ...]:
    """The classes' names in the folder's own list; the published ones where it has none."""
    listed, pickled = folder / "batches.meta.txt", folder / "batches.meta"
    if listed.is_file():
        return tuple(listed.read_text(encoding="utf-8").split())
    if pickled.is_file():
        meta = read_pickle(pickled)
        names = meta.get(b"label_names") if isinstance(meta, dict) else None
        if not (isinstance(names, list) and all(isinstance(name, bytes) for name in names)):
            raise ValueError(f"{pickled} holds no label_names")
        return tuple(name.decode() for name in names)
    return CLASSES


def _archive(path: Path, split: Split) -> Images:
    from PIL import Image

    try:
        with np.load(path) as archive:  # which refuses pickles
            data, offsets = archive[f"{split}_jpeg"], archive[f"{split}_offsets"]
            labels, names = archive[f"{split}_labels"], archive["classes"]
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise ValueError(f"{path} is no archive of CIFAR-10's JPEGs: {error}") from error
    files = (io.BytesIO(data[i:j]) for i, j in itertools.pairwise(offsets))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return Images(pixels, labels, tuple(map(str, names)))


def _checked(path: Path, images: Images) -> Images:
    pixels, labels, names = images
    if pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{path} holds images {pixels.shape} and labels {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"{path} has labels from {labels.min()} to {labels.max()} for {len(names)} classes"
        )
    return Images(pixels, labels.astype(np.int32), names)
