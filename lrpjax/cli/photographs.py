"""Which photographs are meant, and their pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


class Unreadable(Exception):
    """A photograph that cannot be explained; the message says why."""


@dataclass(frozen=True)
class Photograph:
    """A file to explain.

    Attributes:
        path: Where it lies, as the user said it.
        stem: What its results would like to be called.
        source: Where it lies, absolute: two photographs are the same if this is.
        digest: SHA-256 of its bytes: a photograph has changed if this has.
    """

    path: Path
    stem: str
    source: str
    digest: str


def gather(
    given: Iterable[Path],
    is_result: Callable[[Path], bool],
    fail: Callable[[Path, object], None],
) -> list[Photograph]:
    """The photographs among files and folders, each once, in the order given.

    Args:
        given: Files, and folders; of a folder, the files directly in it, without hidden ones.
        is_result: Tells the results of earlier runs, which are left out of folders.
        fail: Called with a path and the reason if there is no readable image there.

    Returns:
        One ``Photograph`` per file.
    """
    found: dict[Path, Photograph] = {}
    for path in given:
        try:
            files = _files_in(path, is_result) if path.is_dir() else [path]
        except OSError as error:
            fail(path, error.strerror or error)
            continue
        if not files:
            fail(path, "there is no file in this folder")
        for file in files:
            try:
                found.setdefault(file.resolve(), identify(file))
            except (Unreadable, OSError) as error:
                fail(file, error)
    return list(found.values())


def _files_in(folder: Path, is_result: Callable[[Path], bool]) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    return sorted(path for path in files if not is_result(path))


def identify(path: Path, stem: str | None = None) -> Photograph:
    """A photograph, known by its place and its bytes; of the image, only the header is read.

    Args:
        path: The file.
        stem: What its results would like to be called; None for the file's own name.

    Returns:
        The photograph.

    Raises:
        Unreadable: There is no such file, or it is no image.
    """
    with _decoding():
        if not path.exists():
            raise Unreadable("there is no such file")
        if not path.is_file():
            raise Unreadable("this is not a file")
        with Image.open(path):
            pass
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Photograph(path, stem or path.stem, str(path.resolve()), digest)


def read(photograph: Photograph, preprocess: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """The pixels a model sees.

    Args:
        photograph: The file.
        preprocess: From an image of any mode to pixels float32 [H, W, 3].

    Returns:
        What ``preprocess`` gives.

    Raises:
        Unreadable: The file is damaged, or far too large.
    """
    with _decoding(), Image.open(photograph.path) as image:
        image.load()
        return preprocess(image)


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a damaged file makes a decoder raise becomes `Unreadable`, with a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except Unreadable:
            raise
        except UnidentifiedImageError as error:
            raise Unreadable("this is not an image, or of a kind that cannot be read") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            limit = Image.MAX_IMAGE_PIXELS or 0
            raise Unreadable(f"this image has more than {limit:,} pixels") from error
        except OSError as error:
            raise Unreadable(error.strerror or error) from error
        except Exception as error:  # Pillow's decoders let nearly anything through
            raise Unreadable(f"this image is damaged ({type(error).__name__}: {error})") from error
