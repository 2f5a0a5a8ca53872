"""Coloured tokens on a terminal, and tokens with numbers where there are no colours."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.style import Style
from rich.text import Text
from tqdm import tqdm

from lrpjax.plot.text import Segment, text_colours


def tell_segments(heading: str, segments: Sequence[Segment]) -> None:
    """Writes a heading and a text's tokens to stdout, above the progress bar if there is one.

    Colours are used where stdout is a terminal that has them and NO_COLOR is not set; else each
    token is followed by its relevance.

    Args:
        heading: One line.
        segments: The text, from ``plot.text_segments``.
    """
    console = Console(file=sys.stdout, highlight=False)
    encoding = console.encoding or "utf-8"
    clean = [one._replace(text=_printable(one.text, encoding)) for one in segments]
    has_colours = console.color_system is not None and not console.no_color
    shown = coloured(clean) if has_colours else Text(numbered(clean))
    with tqdm.external_write_mode(file=sys.stdout):
        for line in (Text(_printable(heading, encoding)), shown):
            console.print(line, soft_wrap=True)


def coloured(segments: Sequence[Segment]) -> Text:
    """The tokens on backgrounds from blue over white to red, symmetrical about zero."""
    values = [one.relevance for one in segments if one.relevance is not None]
    colours = iter(text_colours(values))
    text = Text()
    for one in segments:
        if one.relevance is None:
            text.append(one.text)
        else:
            background, letters = next(colours)
            text.append(one.text, Style(color=letters, bgcolor=background))
    return text


def numbered(segments: Sequence[Segment]) -> str:
    """The tokens, each followed by its relevance.

    Example:
        >>> numbered([Segment("so", 0.25), Segment(" "), Segment("dull", -2.0)])
        'so(+0.25) dull(-2)'
    """
    return "".join(
        one.text if one.relevance is None else f"{one.text}({one.relevance:+.2g})"
        for one in segments
    )


def _printable(text: str, encoding: str) -> str:
    """What a terminal may be sent: no control characters, and none that its encoding lacks."""
    kept = (letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text)
    return "".join(kept).encode(encoding, "backslashreplace").decode(encoding)
