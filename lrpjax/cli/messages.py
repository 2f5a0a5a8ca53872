"""What the command says to the person who runs it, one line at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO


class UsageError(Exception):
    """Something in the command itself is not known or does not fit; nothing has been started."""


def one_line(text: object) -> str:
    r"""Text without line breaks, control characters and undecodable bytes: safe to print.

    Example:
        >>> one_line("a\nb")
        'a b'
    """
    words = " ".join(str(text).split())
    encoded = words.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in encoded)


def shown(path: Path | str) -> str:
    """A path as a person may read it, relative to the working directory where it lies below.

    Example:
        >>> shown(Path.cwd() / "cat.jpg")
        'cat.jpg'
    """
    try:
        return one_line(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return one_line(path)


def say(text: object) -> None:
    """Writes one line to stderr, above the progress bar if there is one."""
    _write(f"lrpjax: {one_line(text)}", sys.stderr)


def tell(text: object) -> None:
    """Writes one line of results to stdout, above the progress bar if there is one."""
    _write(one_line(text), sys.stdout)


def tell_table(text: object) -> None:
    """Writes lines to stdout as they are."""
    _write(str(text), sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    # A terminal of another encoding gets escapes for what it lacks, not a traceback.
    encoding = stream.encoding or "utf-8"
    printable = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        from tqdm import tqdm
    except ImportError:
        print(printable, file=stream)
    else:
        tqdm.write(printable, file=stream)
