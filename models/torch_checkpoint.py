"""Read the arrays of a PyTorch ``state_dict`` file, without PyTorch and without running its pickle.

A ``.pth`` file is a pickle, and an ordinary unpickler runs whatever calls the file asks for. The
unpickler here knows only the handful of names that a ``state_dict`` needs. None of them is called
with an effect: a tensor becomes a plain description (which storage, where in it, which shape and
strides), and the arrays are made afterwards, from descriptions whose bounds were checked.

Both layouts of ``torch.save`` are read: the legacy stream (magic number, protocol, system, object,
storage keys, raw storages) and the zip archive (``<root>/data.pkl`` beside ``<root>/data/<key>``).
"""

import hashlib
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ZIP_MAGIC = b"PK\x03\x04"

DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class CheckpointError(ValueError):
    """The file is not the checkpoint it should be: damaged, or not a plain ``state_dict``."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(
    path: str | PathLike[str], *, sha256: str | None = None
) -> dict[str, np.ndarray]:
    """Reads a file that ``torch.save(model.state_dict(), path)`` wrote.

    Args:
        path: The checkpoint, in the legacy or in the zip layout.
        sha256: The start of the file's SHA-256 in hexadecimal (PyTorch names files by the first
            eight digits), or all 64 digits. The file is refused, unread, if it has another.

    Returns:
        Every tensor by its name, as an array of its own with the file's shape and dtype
        (``bfloat16`` is JAX's).

    Raises:
        CheckpointError: The hash differs, the file is damaged, or it holds anything that is not
            a flat dictionary of tensors.

    Example:
        >>> from lrpjax.models.pretrained import EFFICIENTNET_LITE0
        >>> arrays = read_state_dict(EFFICIENTNET_LITE0.path(), sha256="57934424")
        >>> arrays["_conv_stem.weight"].shape, arrays["_conv_stem.weight"].dtype
        ((32, 3, 3, 3), dtype('float32'))
    """
    data = Path(path).read_bytes()
    if sha256 is not None:
        _verify(data, sha256, path)
    read = _read_zip if data.startswith(ZIP_MAGIC) else _read_legacy
    try:
        return read(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle or archive can raise nearly anything
        raise CheckpointError(
            f"{path}: not a readable PyTorch state_dict ({type(error).__name__}: {error})"
        ) from error


def _verify(data: bytes, expected: str, path: str | PathLike[str]) -> None:
    found = hashlib.sha256(data).hexdigest()
    if not expected or not found.startswith(expected.lower()):
        raise CheckpointError(
            f"{path}: the SHA-256 is {found}, but it should start with {expected!r}. "
            "The file is damaged or not the one meant; install its package again."
        )


class _StateDictUnpickler(pickle.Unpickler):
    """Resolves the few names of a ``state_dict`` and refuses every other.

    The values given for them are strings, functions made for the occasion and a C type, so that a
    BUILD instruction, which sets attributes, has nothing of the program's to change.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for one of the names a ``state_dict`` may use."""
        if module == "torch" and name in DTYPES:
            return name
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: _tensor(*arguments),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) not in allowed:
            raise CheckpointError(f"it asks for {module}.{name}, which no state_dict needs")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """The description of the storage that a tensor lies in."""
        kind, storage_type, key, _device, size, *view = pid
        if kind != "storage" or storage_type not in DTYPES or any(v is not None for v in view):
            raise CheckpointError(f"it has an object of an unknown kind, {pid!r}")
        return _Storage(str(key), DTYPES[storage_type], _natural(size))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise CheckpointError("it has a tensor without a storage")
    shape, strides = tuple(map(_natural, shape)), tuple(map(_natural, strides))
    if len(shape) != len(strides):
        raise CheckpointError(f"it has a tensor of shape {shape} with strides {strides}")
    return _Tensor(storage, _natural(offset), shape, strides)


def _natural(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise CheckpointError(f"it has a size, offset or stride of {number!r}")
    return number


def _read_legacy(data: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(data)

    def next_object() -> Any:
        return _StateDictUnpickler(stream).load()

    if next_object() != LEGACY_MAGIC or next_object() != LEGACY_PROTOCOL:
        raise CheckpointError("it is no PyTorch checkpoint (its magic number or protocol differs)")
    if not next_object()["little_endian"]:
        raise CheckpointError("its numbers are big-endian")
    tensors = _only_tensors(next_object())
    dtypes = {t.storage.key: t.storage.dtype for t in tensors.values()}
    storages = {}
    for key in next_object():
        size = int.from_bytes(stream.read(8), "little")
        if key not in dtypes:
            raise CheckpointError(f"no tensor uses its storage {key!r}")
        content = stream.read(size * dtypes[key].itemsize)
        storages[key] = np.frombuffer(content, dtypes[key])
    if stream.read(1):
        raise CheckpointError("it goes on after its last storage")
    return {name: _array(name, tensor, storages) for name, tensor in tensors.items()}


def _read_zip(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise CheckpointError(f"it has {len(roots)} files named data.pkl, not one")
        (root,) = roots
        if f"{root}byteorder" in names and _stored(archive, f"{root}byteorder") != b"little":
            raise CheckpointError("its numbers are big-endian")
        stream = io.BytesIO(_stored(archive, f"{root}data.pkl"))
        tensors = _only_tensors(_StateDictUnpickler(stream).load())
        storages = {
            storage.key: np.frombuffer(_stored(archive, f"{root}data/{storage.key}"), storage.dtype)
            for storage in {tensor.storage for tensor in tensors.values()}
        }
    return {name: _array(name, tensor, storages) for name, tensor in tensors.items()}


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    # PyTorch never compresses, and a compressed entry could unpack to any size.
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"its entry {name!r} is compressed")
    return archive.read(name)


def _only_tensors(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, Mapping):
        raise CheckpointError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise CheckpointError(f"its entry {name!r} is a {type(value).__name__}, not a tensor")
    return dict(state)


def _array(name: str, tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tensor's own copy of its part of the storage, once the part is known to lie inside."""
    storage, offset, shape, strides = tensor
    flat = storages.get(storage.key)
    if flat is None or flat.size != storage.size or flat.dtype != storage.dtype:
        raise CheckpointError(f"the storage of {name!r} is missing or cut short")
    count = int(np.prod(shape, dtype=object))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count > flat.size or (count and last >= flat.size):
        raise CheckpointError(f"{name!r} of shape {shape} reaches outside its storage")
    if count == 0:
        return np.zeros(shape, storage.dtype)
    steps = tuple(step * storage.dtype.itemsize for step in strides)
    view = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)
    return view.copy()
