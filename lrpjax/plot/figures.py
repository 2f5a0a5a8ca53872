"""Figures: a photograph and one heatmap per class, each with its colour bar."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpjax.plot.pictures import rgb_pixels
from lrpjax.plot.scale import colour_map, limits_of, load_matplotlib, summed_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Letters: about the width of one picture.
_TITLE_WIDTH = 34


def figure(
    image: Any,
    relevances: ArrayLike,
    *,
    titles: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    image_title: str = "photograph",
    columns: int = 4,
    cmap: str | Colormap = "seismic",
    percentile: float = 99.5,
    limit: ArrayLike | None = None,
    normalise: str = "image",
    channel_axis: int | None = -1,
) -> Figure:
    """The photograph and beside it one heatmap per class, each with its own colour bar.

    Args:
        image: A photograph, as in `overlay`; its size may differ from the maps'.
        relevances: Floats [classes, H, W, C], or [H, W, C] for one class.
        titles: A title per heatmap, such as the name of its class.
        scores: A number per heatmap, written behind its title.
        image_title: The title of the photograph.
        columns: How many pictures stand in one row, the photograph included.
        cmap: As in `heatmap`.
        percentile: As in `heatmap`.
        limit: As in `heatmap`.
        normalise: As in `heatmap`.
        channel_axis: As in `heatmap`.

    Returns:
        A matplotlib ``Figure`` with its own Agg canvas: ``figure(...).savefig("cat.png")``.

    Raises:
        ValueError: As `heatmap` and `overlay`; or titles or scores of another number than maps.
        ImportError: Matplotlib is missing.

    Example:
        >>> drawn = figure(np.zeros((4, 4, 3)), np.ones((2, 4, 4, 3)), titles=["cat", "dog"])
        >>> [axes.get_title() for axes in drawn.axes]
        ['photograph', 'cat', 'dog', '', '']
    """
    maps = summed_maps(relevances, channel_axis)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3:
        raise ValueError(f"a figure shows maps [classes, H, W]; these are {list(maps.shape)}")
    photograph = rgb_pixels(image)
    if photograph.ndim != 3:
        raise ValueError(f"a figure shows one photograph; these are {list(photograph.shape)}")
    names = _titles(len(maps), titles, scores)
    limits = limits_of(maps, limit, percentile, normalise)
    colours = colour_map(cmap)
    drawn, (first, *rest) = _grid(1 + len(maps), columns)
    _show(first, photograph.astype(np.uint8), image_title)
    for axes, one, bound, name in zip(rest, maps, limits.tolist(), names, strict=True):
        _show_map(drawn, axes, one, bound, name, colours)
    return drawn


def _titles(count: int, titles: Sequence[str] | None, scores: Sequence[float] | None) -> list[str]:
    for given, what in ((titles, "titles"), (scores, "scores")):
        if given is not None and len(given) != count:
            raise ValueError(f"{len(given)} {what} for {count} heatmaps")
    names = [""] * count if titles is None else list(titles)
    numbers = [""] * count if scores is None else [f"{score:.2f}" for score in scores]
    return [f"{name} {number}".strip() for name, number in zip(names, numbers, strict=True)]


def _grid(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    """A figure of its own with that many axes, row by row, and none to spare."""
    if columns < 1:
        raise ValueError(f"a figure has at least one column, not {columns}")
    matplotlib = load_matplotlib()
    columns = min(columns, count)
    rows = -(-count // columns)
    drawn = matplotlib.figure.Figure(figsize=(3.2 * columns, 3.0 * rows), layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(drawn)
    axes = [drawn.add_subplot(rows, columns, 1 + place) for place in range(count)]
    return drawn, axes


def _show(axes: Axes, picture: NDArray[Any], title: str, **options: Any) -> Any:
    # Names come from files and labels: a dollar sign in them is no mathematics.
    axes.set_title(textwrap.fill(title, _TITLE_WIDTH), fontsize=10, parse_math=False)
    axes.set_axis_off()
    return axes.imshow(picture, **options)


def _show_map(
    drawn: Figure, axes: Axes, one: NDArray[Any], limit: float, title: str, colours: Colormap
) -> None:
    norm = load_matplotlib().colors.Normalize(-limit, limit)
    shown = _show(axes, one, title, cmap=colours, norm=norm, interpolation="nearest")
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    beyond = ends.get((bool(one.min() < -limit), bool(one.max() > limit)), "both")
    bar = drawn.colorbar(shown, ax=axes, extend=beyond, ticks=[-limit, 0, limit], fraction=0.046)
    bar.ax.set_yticklabels([f"{-limit:.2g}", "0", f"{limit:.2g}"], fontsize=8)
