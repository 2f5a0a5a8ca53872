"""The scale of a heatmap: colours with zero in the middle, and the limit of a symmetric range."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

_BLACK, _WHITE, _RED, _YELLOW = "#000000", "#ffffff", "#ff0000", "#ffff00"

# Colour at each position of the range; 0.5 is relevance zero. The one-sided maps show positive
# relevance only: their lower half is the colour of zero.
COLOUR_MAPS = MappingProxyType(
    {
        "coldnhot": (
            (0, "#00ffff"),
            (1 / 4, "#0000ff"),
            (1 / 2, _BLACK),
            (2 / 3, _RED),
            (5 / 6, _YELLOW),
            (1, _WHITE),
        ),
        "hot": ((0, _BLACK), (1 / 2, _BLACK), (2 / 3, _RED), (5 / 6, _YELLOW), (1, _WHITE)),
        "gray": ((0, _BLACK), (1 / 2, _BLACK), (1, _WHITE)),
        "wred": ((0, _WHITE), (1 / 2, _WHITE), (1, _RED)),
    }
)

# An odd number of colours, so that one of them is exactly the middle. (With the usual 256, zero
# falls between two and gets a tint.)
_COLOURS = 257


def colour_map(cmap: str | Colormap) -> Colormap:
    """The colour map of that name, resampled so that zero has a colour of its own.

    Args:
        cmap: ``seismic`` or ``bwr`` (matplotlib's), one of ours, ``coldnhot`` (cyan, blue, black,
            red, yellow, white), ``hot``, ``gray``, ``wred`` (these three show positive relevance
            only); any other name that matplotlib knows; or a matplotlib ``Colormap``.

    Returns:
        A matplotlib ``Colormap`` of 257 colours; ``colour_map(cmap)(0.5)`` is relevance zero.

    Raises:
        ValueError: No colour map has this name.
        ImportError: Matplotlib is missing.

    Example:
        >>> colour_map("coldnhot")(0.5)[:3] == (0, 0, 0)
        True
    """
    matplotlib = load_matplotlib()
    if not isinstance(cmap, str):
        return cmap.resampled(_COLOURS)
    if cmap in COLOUR_MAPS:
        knots = list(COLOUR_MAPS[cmap])
        return matplotlib.colors.LinearSegmentedColormap.from_list(cmap, knots, N=_COLOURS)
    if cmap not in matplotlib.colormaps:
        known = ", ".join(["seismic", "bwr", *COLOUR_MAPS])
        raise ValueError(f"no colour map {cmap!r}: take {known}, or any that matplotlib knows")
    return matplotlib.colormaps[cmap].resampled(_COLOURS)


def symmetric_limit(
    relevance: ArrayLike,
    *,
    percentile: float = 99.5,
    normalise: str = "image",
    channel_axis: int | None = -1,
) -> NDArray[np.float64]:
    """The limit of the range [-limit, limit] in which each map is shown.

    It is a percentile of |R|, so that a few extreme pixels don't wash out the rest. Where that
    percentile is 0 though the map is not (relevance on a handful of pixels), it is the largest |R|;
    a map of zeros alone gets 1, which shows it in the colour of zero.

    Args:
        relevance: Floats [..., H, W, C], summed over the channels first.
        percentile: Which percentile of |R| is the limit, in (0, 100]; 100 is the largest |R|.
        normalise: ``"image"`` for a limit per map, ``"batch"`` for one over all maps together.
        channel_axis: The axis to sum; None where maps have no channels, [..., H, W]. A single
            map [H, W] never has.

    Returns:
        float64 limits [...], all above 0.

    Raises:
        ValueError: Relevance that is not real and finite, too few axes, or an option out of range.

    Example:
        >>> maps = np.arange(8.0).reshape(2, 2, 2)
        >>> symmetric_limit(maps, percentile=100, channel_axis=None).tolist()
        [3.0, 7.0]
        >>> symmetric_limit(maps, percentile=100, normalise="batch", channel_axis=None).tolist()
        [7.0, 7.0]
    """
    if normalise not in ("image", "batch"):
        raise ValueError(f'normalise is "image" or "batch", not {normalise!r}')
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile lies in (0, 100], not {percentile!r}")
    size = np.abs(summed_maps(relevance, channel_axis))
    axes = (-2, -1) if normalise == "image" else None
    limits = np.percentile(size, percentile, axis=axes)
    limits = np.where(limits > 0, limits, size.max(axis=axes))
    limits = np.where(limits > 0, limits, 1.0)
    return np.broadcast_to(limits, size.shape[:-2]).astype(np.float64)


def summed_maps(relevance: ArrayLike, channel_axis: int | None) -> NDArray[np.float64]:
    """Relevance summed over its channels, in float64: [..., H, W]."""
    values = np.asarray(relevance)
    if np.iscomplexobj(values):
        raise ValueError("relevance is real; these values are complex")
    values = values.astype(np.float64)
    if values.ndim < 2:
        raise ValueError(f"relevance of shape {values.shape} has no rows and columns")
    if values.ndim == 2:  # one map, summed already
        channel_axis = None
    maps = values if channel_axis is None else values.sum(axis=channel_axis)
    if maps.size == 0:
        raise ValueError(f"there is nothing to show in relevance of shape {values.shape}")
    if not np.isfinite(maps).all():
        bad = np.size(maps) - np.count_nonzero(np.isfinite(maps))
        raise ValueError(f"relevance is NaN or infinite at {bad} of {maps.size} pixels")
    return maps


def limits_of(
    maps: NDArray[np.float64], limit: ArrayLike | None, percentile: float, normalise: str
) -> NDArray[np.float64]:
    """The limit a user gave for each map, or else the robust one: float64 [...], all above 0."""
    robust = symmetric_limit(maps, percentile=percentile, normalise=normalise, channel_axis=None)
    if limit is None:
        return robust
    given = np.asarray(limit, np.float64)
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"a limit is a finite number above 0, not {limit!r}")
    return np.broadcast_to(given, robust.shape)


def load_matplotlib() -> Any:
    """Matplotlib with the parts used here, or an ImportError that names the extra to install."""
    try:
        import matplotlib
        import matplotlib.backends.backend_agg
        import matplotlib.colors
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(
            "lrpjax.plot draws with matplotlib, which comes with pip install 'lrpjax[plot]'"
        ) from error
    return matplotlib
