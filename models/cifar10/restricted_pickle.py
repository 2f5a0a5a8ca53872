"""Reads a pickle of plain values and NumPy arrays, and refuses one that asks for anything else.

A pickle is a program: it may name any function and call it. CIFAR-10's Python batches name three,
which rebuild an array. No other name is looked up here, so nothing else can be called.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

_reconstruct = np.zeros(1).__reduce__()[0]
ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # the same since NumPy 2
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only plain values and arrays are read"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside itself")


def read_pickle(path: Path) -> Any:
    """Reads a pickled value.

    Args:
        path: The file. Python 2's strings become bytes.

    Returns:
        What it holds: dicts, lists, tuples, bytes, strings, numbers and NumPy arrays.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no pickle, or asks for anything else.
    """
    with path.open("rb") as file:
        try:
            return _Unpickler(file, encoding="bytes").load()
        except Exception as error:  # a damaged pickle may raise nearly anything
            raise ValueError(f"{path} is not read: {error}") from error
