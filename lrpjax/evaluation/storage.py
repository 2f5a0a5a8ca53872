"""A folder of results that a long run fills batch by batch, and that the next run goes on from.

It holds ``settings.json``, what the results depend on, and a ``chunk-….npz`` per finished batch.
Each file is written whole or not at all; none holds anything that runs when it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SETTINGS = "settings.json"
Chunk = tuple[np.ndarray, np.ndarray, np.ndarray]


class ResultsMismatch(ValueError):
    """A folder holds results of another run: with other settings, another model or other data.

    Example:
        >>> issubclass(ResultsMismatch, ValueError)
        True
    """


@dataclasses.dataclass(frozen=True)
class Store:
    """The results of one run in a folder.

    Attributes:
        folder: The folder.
        settings: What the results depend on, as it stands in ``settings.json``.
        images: How many images there are in all.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = Store.open(folder, {"name": "lrp"}, images=5)
        ...     store.keep(np.arange(2), np.zeros((2, 1, 4)), np.zeros(2, np.int64))
        ...     [index.tolist() for index, _, _ in Store.open(folder, {"name": "lrp"}, 5).chunks()]
        [[0, 1]]
    """

    folder: Path
    settings: Mapping[str, Any]
    images: int

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], settings: Mapping[str, Any], images: int
    ) -> Store:
        """Opens a folder for a run, making it where there is none.

        Args:
            folder: The folder.
            settings: What the results depend on, as JSON would have it.
            images: How many images there are in all.

        Raises:
            ResultsMismatch: The folder holds results of another run; the message says what differs.
            OSError: It cannot be made, read or written.
        """
        path, wanted = Path(folder), {**settings, "count": images}
        path.mkdir(parents=True, exist_ok=True)
        check_settings(path, wanted)
        if not (path / _SETTINGS).exists():
            text = json.dumps(wanted, indent=1, sort_keys=True, ensure_ascii=False)
            write_whole(path / _SETTINGS, text.encode())
        return cls(path, settings, images)

    @classmethod
    def existing(cls, folder: str | os.PathLike[str]) -> Store:
        """The results that a folder holds already.

        Raises:
            ValueError: It holds none.
        """
        found = _read_settings(Path(folder))
        if found is None:
            raise ValueError(f"there are no results in {folder}")
        count = found.pop("count")
        return cls(Path(folder), found, count)

    def keep(self, index: np.ndarray, scores: np.ndarray, targets: np.ndarray) -> None:
        """Writes the results of a batch.

        Args:
            index: ints [m], the images' places.
            scores: [m, orders, steps + 1].
            targets: ints [m].
        """
        buffer = io.BytesIO()
        np.savez(buffer, index=index, scores=scores, targets=targets)
        name = f"chunk-{index[0]:06d}-{index[-1]:06d}.npz"
        write_whole(self.folder / name, buffer.getvalue())

    def chunks(self) -> Iterator[Chunk]:
        """What is there: (index, scores, targets) of every whole file, each image once."""
        seen = np.zeros(self.images, bool)
        for path in sorted(self.folder.glob("chunk-*.npz")):
            index, scores, targets = _read_chunk(path)
            new = ~seen[index]
            seen[index] = True
            if new.any():
                yield index[new], scores[new], targets[new]


def check_settings(folder: str | os.PathLike[str], wanted: Mapping[str, Any]) -> None:
    """Refuses a folder whose results were made with other settings than these.

    Args:
        folder: A folder, whether there is one or not.
        wanted: All of the settings, or some.

    Raises:
        ResultsMismatch: The message says what differs.

    Example:
        >>> check_settings("no_such_folder", {"name": "lrp"})
    """
    found = _read_settings(Path(folder))
    if found is None:
        return
    differ = [
        f"{key} is {_short(found.get(key))} there, {_short(value)} here"
        for key, value in sorted(wanted.items())
        if found.get(key) != value
    ]
    if differ:
        raise ResultsMismatch(f"{folder} holds the results of another run: {'; '.join(differ)}")


def clear(folder: str | os.PathLike[str]) -> None:
    """Deletes the results in a folder, and nothing else.

    Example:
        >>> clear("no_such_folder")
    """
    # The settings last: results without them would be nobody's.
    for path in (*Path(folder).glob("chunk-*.npz"), Path(folder, _SETTINGS)):
        path.unlink(missing_ok=True)


def _read_chunk(path: Path) -> Chunk:
    """A file's arrays; nothing where it is damaged, which makes its images be done again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["index"], arrays["scores"], arrays["targets"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        nothing = np.zeros(0, np.int32)
        return nothing, nothing, nothing


def _read_settings(folder: Path) -> dict[str, Any] | None:
    path = folder / _SETTINGS
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or "count" not in found:
        raise ResultsMismatch(f"{path} is not the settings of a run")
    return found


def digest_of(array: np.ndarray | None) -> str:
    """The SHA-256 of an array's values, shape and dtype; nothing for None.

    Example:
        >>> digest_of(np.zeros(3)) == digest_of(np.zeros(3)), digest_of(None)
        (True, '')
    """
    if array is None:
        return ""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    for row in array:
        digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside the target and renames, which a file system does at once or not at all.

    Args:
        path: The file.
        content: All of it.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".lrpjax-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # There is no way to read it but to set it; mkstemp's 0600 would lock colleagues out.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:12]}…"
