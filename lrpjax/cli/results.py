"""The folder of results: names that never collide, whole files or none, what is done already."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrpjax.cli.photographs import Photograph
from lrpjax.evaluation.storage import write_whole

# Leaves room for the suffixes below the 255 bytes that file systems allow.
_LONGEST_STEM = 180


@dataclass
class Results:
    """The results in one folder: ``NAME.png``, the figure, and ``NAME.npz``, the numbers.

    Attributes:
        folder: The folder; nothing is written anywhere else.
        found: Names that were there before this run, as a file system that folds case sees them.
        given: Names given out in this run, likewise.
    """

    folder: Path
    found: frozenset[str] = field(init=False)
    given: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        pairs = (path for path in self.folder.iterdir() if path.suffix.lower() in (".png", ".npz"))
        self.found = frozenset(_folded(path.stem) for path in pairs)

    def name_for(self, photograph: Photograph) -> str:
        """A name that is this photograph's alone, and the same one in every run.

        It is the photograph's own name, unless that belongs to another photograph or to a file
        that is none of ours; then a few digits that tell its place are added.

        Args:
            photograph: The photograph.

        Returns:
            A file name without folder and suffix.
        """
        names = _names(photograph)
        likely = list(itertools.islice(names, 2))
        mine = (name for name in likely if self._belongs_to(name, photograph))
        free = (name for name in itertools.chain(likely, names) if self._is_free(name))
        name = next(mine, None) or next(free)
        self.given.add(_folded(name))
        return name

    def figure(self, name: str) -> Path:
        """Where the figure of that name lies."""
        return self.folder / f"{name}.png"

    def numbers(self, name: str) -> Path:
        """Where the arrays of that name lie."""
        return self.folder / f"{name}.npz"

    def is_done(self, name: str, photograph: Photograph, settings: str) -> bool:
        """Whether both files are there, made of these bytes with these settings."""
        record = recorded(self.numbers(name))
        wanted = (photograph.digest, settings)
        return self.figure(name).is_file() and (record["digest"], record["settings"]) == wanted

    def write(self, name: str, figure: bytes, arrays: Mapping[str, Any]) -> None:
        """Writes both files; whenever this stops, each of them is whole or absent.

        The figure goes first and comes last, so a pair of files always belongs together.

        Args:
            name: From `name_for`.
            figure: The bytes of the PNG.
            arrays: The arrays of the NPZ; none of them holds objects.

        Raises:
            OSError: The folder cannot be written to.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self.figure(name).unlink(missing_ok=True)
        write_whole(self.numbers(name), buffer.getvalue())
        write_whole(self.figure(name), figure)

    def _belongs_to(self, name: str, photograph: Photograph) -> bool:
        record = recorded(self.numbers(name))
        same = record["source"] == photograph.source or record["digest"] == photograph.digest
        return same and _folded(name) not in self.given

    def _is_free(self, name: str) -> bool:
        return _folded(name) not in self.found and _folded(name) not in self.given


def recorded(path: Path) -> dict[str, str]:
    """What an NPZ of ours says it was made from: source, digest, settings; else empty strings.

    Example:
        >>> recorded(Path("no_such_file.npz"))
        {'source': '', 'digest': '', 'settings': ''}
    """
    keys = ("source", "digest", "settings")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: str(arrays[key]) for key in keys}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError):
        return dict.fromkeys(keys, "")


def is_result(path: Path) -> bool:
    """Whether a file is the figure or the arrays of an earlier run."""
    pair = path.suffix in (".png", ".npz")
    return pair and recorded(path.with_suffix(".npz"))["settings"] != ""


def _names(photograph: Photograph) -> Iterator[str]:
    """Names to try: the plain one, then with digits of the place, then with a number too."""
    letters = re.sub(r"[^\w.() +=@~-]", "_", unicodedata.normalize("NFC", photograph.stem))
    short = letters.encode()[:_LONGEST_STEM].decode(errors="ignore").lstrip(". ").rstrip()
    plain = short or "photograph"
    place = hashlib.sha256(os.fsencode(photograph.source)).hexdigest()[:8]
    yield plain
    yield f"{plain}-{place}"
    yield from (f"{plain}-{place}-{number}" for number in itertools.count(2))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
