"""Texts whose tokens are coloured by their relevance: red speaks for the class, blue against it.

Nothing here needs matplotlib: the colours go straight from white, which is zero, to either end.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POSITIVE, _NEGATIVE = (203, 24, 29), (33, 102, 172)
_AS_FAR_FROM_BLACK = 0.1791  # as from white, by WCAG's ratio (L + 0.05) / (L' + 0.05)
_STYLE = "font:16px/1.9 system-ui,sans-serif;margin:1.5em 0"
_TOKEN = "border-radius:.2em;padding:.1em 0"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
</head>
<body style="max-width:50em;margin:2em auto;padding:0 1em;background:#fff;color:#222">
<h1 style="font:600 20px system-ui,sans-serif">{title}</h1>
{body}
</body>
</html>
"""


class Segment(NamedTuple):
    """A piece of a text.

    Attributes:
        text: The piece.
        relevance: Its relevance; None for what belongs to no token, such as a space.
    """

    text: str
    relevance: float | None = None


def text_segments(
    text: str, tokens: Iterable[tuple[str, int, int]], relevance: ArrayLike
) -> list[Segment]:
    """Cuts a text at its tokens.

    Args:
        text: The text.
        tokens: What each token is called, where it starts and where it ends, in characters. One
            that covers nothing, as ``[CLS]``, is shown under its name.
        relevance: Floats [tokens], or longer by padding.

    Returns:
        The pieces in order; without those of tokens that cover nothing, they make up the text.

    Raises:
        ValueError: There are fewer numbers than tokens, or one of them is NaN or infinite.

    Example:
        >>> tokens = [("[CLS]", 0, 0), ("so", 0, 2), ("dull", 3, 7)]
        >>> for segment in text_segments("so dull", tokens, [0.0, 0.5, -2.0]):
        ...     print(segment)
        Segment(text='[CLS]', relevance=0.0)
        Segment(text='so', relevance=0.5)
        Segment(text=' ', relevance=None)
        Segment(text='dull', relevance=-2.0)
    """
    tokens = list(tokens)
    values = np.asarray(relevance, np.float64)
    if values.ndim != 1 or len(values) < len(tokens):
        raise ValueError(f"relevance of shape {values.shape} for {len(tokens)} tokens")
    _refuse_infinite(values)
    segments, at = [], 0
    for (name, start, end), value in zip(tokens, values.tolist(), strict=False):
        if start > at:
            segments.append(Segment(text[at:start]))
        covered = text[max(start, at) : end]
        segments.append(Segment(covered or name, value))
        at = max(at, end)
    return [*segments, Segment(text[at:])] if at < len(text) else segments


def text_colours(relevance: ArrayLike, limit: float | None = None) -> list[tuple[str, str]]:
    """The colours of tokens: white at zero, red above and blue below, in equal steps.

    Args:
        relevance: Floats [tokens].
        limit: The relevance at which the colours end, above 0; None for the largest |R|.

    Returns:
        For each token the colours of its background and of its letters, as ``#rrggbb``.

    Raises:
        ValueError: The limit is not above 0, or relevance is NaN or infinite.

    Example:
        >>> text_colours([0.0, 2.0, -2.0])
        [('#ffffff', '#000000'), ('#cb181d', '#ffffff'), ('#2166ac', '#ffffff')]
    """
    values = np.asarray(relevance, np.float64)
    _refuse_infinite(values)
    share = np.clip(values / _limit(values, limit), -1, 1)[:, None]
    ends = np.where(share > 0, _POSITIVE, _NEGATIVE)
    backgrounds = np.rint(255 + np.abs(share) * (ends - 255)).astype(int)
    letters = np.where(_luminance(backgrounds) < _AS_FAR_FROM_BLACK, "#ffffff", "#000000").tolist()
    return [
        (f"#{r:02x}{g:02x}{b:02x}", letter)
        for (r, g, b), letter in zip(backgrounds.tolist(), letters, strict=True)
    ]


def text_html(
    segments: Sequence[Segment],
    *,
    label: str = "",
    logit: float | None = None,
    limit: float | None = None,
) -> str:
    """A text with coloured tokens as a fragment of HTML, for a notebook or a page.

    The legend has the class, its logit, the sum of relevance and the scale of colours. A token
    shows its relevance where the pointer rests. All text is escaped, and nothing is loaded.

    Args:
        segments: From `text_segments`, or made by hand.
        label: The class.
        logit: The class's output.
        limit: As in `text_colours`.

    Returns:
        A ``<figure>``.

    Raises:
        ValueError: As `text_colours`.

    Example:
        >>> drawn = text_html([Segment("<b>"), Segment("good", 1.5)], label="positive", logit=1.5)
        >>> "&lt;b&gt;" in drawn, "sum of relevance 1.5" in drawn
        (True, True)
    """
    values = np.array([one.relevance for one in segments if one.relevance is not None])
    colours = iter(text_colours(values, limit))
    body = "".join(
        html.escape(one.text) if one.relevance is None else _token(one, *next(colours))
        for one in segments
    )
    caption = html.escape(legend(label, logit, values))
    # A text may run from right to left, or hold signs that turn the direction around.
    return (
        f'<figure style="{_STYLE}">'
        f"<figcaption><bdi>{caption}</bdi> {_scale(_limit(values, limit))}</figcaption>"
        f'<div dir="auto" style="unicode-bidi:isolate;white-space:pre-wrap">{body}</div>'
        "</figure>"
    )


def text_page(fragments: Iterable[str], title: str = "Relevance") -> str:
    """A page of its own, which needs no other file.

    Args:
        fragments: HTML, from `text_html`.
        title: Plain text.

    Returns:
        The HTML document, to be written in UTF-8.

    Example:
        >>> page = text_page([text_html([Segment("good", 1.5)])], "What <b> says")
        >>> page.count("<figure"), "<title>What &lt;b&gt; says</title>" in page
        (1, True)
    """
    return _PAGE.format(title=html.escape(title), body="\n".join(fragments))


def legend(label: str, logit: float | None, relevance: ArrayLike) -> str:
    """One line that says what is shown.

    Example:
        >>> legend("positive", 1.75, [1.0, 0.5])
        'positive, logit 1.75, sum of relevance 1.5'
    """
    total = f"sum of relevance {np.sum(relevance):.4g}"
    named = [label] if label else []
    return ", ".join([*named, *([] if logit is None else [f"logit {logit:.4g}"]), total])


def _token(segment: Segment, background: str, letters: str) -> str:
    return (
        f'<span title="{segment.relevance:+.4g}" '
        f'style="{_TOKEN};background:{background};color:{letters}">{html.escape(segment.text)}</span>'
    )


def _scale(limit: float) -> str:
    """The colours from one end to the other, with their numbers."""
    (low, _), (middle, _), (high, _) = text_colours([-limit, 0.0, limit])
    return (
        '<span style="white-space:nowrap;font-size:.8em">'
        f"{-limit:.2g} "
        '<span style="display:inline-block;width:8em;height:.8em;vertical-align:middle;'
        f'border:1px solid #999;background:linear-gradient(90deg,{low},{middle},{high})"></span>'
        f" {limit:.2g}</span>"
    )


def _luminance(rgb: NDArray[np.int_]) -> NDArray[np.float64]:
    """Relative luminance as WCAG 2.1 defines it, 0 to 1, of colours 0..255 [..., 3]."""
    parts = rgb / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def _limit(values: NDArray[np.float64], limit: float | None) -> float:
    if limit is None:
        return float(np.abs(values).max(initial=0.0)) or 1.0
    if not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"a limit is a finite number above 0, not {limit!r}")
    return float(limit)


def _refuse_infinite(values: NDArray[np.float64]) -> None:
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"relevance is NaN or infinite at {bad} of {values.size} tokens")
