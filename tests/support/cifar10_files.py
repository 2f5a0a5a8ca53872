"""Makes small files in CIFAR-10's own formats."""

import io
import pickle
from typing import ClassVar

import numpy as np
from PIL import Image

from lrpjax.models.cifar10 import CLASSES

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def images(count, seed=0):
    """Random pixels, uint8 [count, 32, 32, 3], and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count)


def planes(pixels):
    """Red, then green, then blue, row by row: uint8 [count, 3072]."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 1)).reshape(len(pixels), -1)


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, which made the batches that people have."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, obj, name=None):
        module = obj.__module__.replace("numpy._core", "numpy.core")  # NumPy 1's name
        self.write(pickle.GLOBAL + f"{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    for kind in (type, type(np.zeros(1).__reduce__()[0])):
        dispatch[kind] = save_global


def pickled(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def python_batches(folder, parts):
    """Python batches, each with its images and labels, and the names of the classes."""
    for name, (pixels, labels) in zip(BATCHES, parts, strict=True):
        batch = {"data": planes(pixels), "labels": labels.tolist(), "batch_label": name}
        (folder / name).write_bytes(pickled(batch | {"filenames": ["a.png"] * len(labels)}))
    (folder / "batches.meta").write_bytes(pickled({"label_names": list(CLASSES), "num_vis": 3072}))


def binary_batches(folder, parts):
    for name, (pixels, labels) in zip(BATCHES, parts, strict=True):
        records = np.concatenate([labels[:, None].astype(np.uint8), planes(pixels)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")


def jpeg_archive(path, train, test):
    arrays = {"classes": np.array(CLASSES)}
    for split, (pixels, labels) in {"train": train, "test": test}.items():
        files = []
        for picture in pixels:
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=95)
            files.append(file.getvalue())
        arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, files)])
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    np.savez(path, **arrays)
