"""Perturbation curves as a figure, in the manner of :mod:`lrpjax.plot`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lrpjax.evaluation.curves import PerturbationCurves
from lrpjax.evaluation.report import describe
from lrpjax.evaluation.statistics import bootstrap, check_comparable
from lrpjax.plot.scale import load_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What each order is called in full.
TITLES = {
    "MoRF": "most relevant first (MoRF)",
    "LeRF": "least relevant first (LeRF)",
    "random": "random order",
    "smallest_absolute": "smallest |R| first",
}


def curve_figure(
    results: Iterable[PerturbationCurves],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """The mean curves of several methods, one plot per order, with bootstrap bands over images.

    Args:
        results: The methods' curves, of the same images with the same settings.
        level, resamples, seed: As for :func:`bootstrap`.

    Returns:
        A matplotlib ``Figure`` with its own Agg canvas: ``figure.savefig("curves.png")``. Its
        title names operator, score and regions.

    Raises:
        ValueError: There are no results, or they can't be compared.
        ImportError: Matplotlib is missing.

    Example:
        >>> scores = np.array([[[4.0, 1.0, 1.0]] * 5])
        >>> lrp = PerturbationCurves("lrp", ("MoRF",), scores, np.zeros(5, int), {"score": "logit"})
        >>> [axes.get_title() for axes in curve_figure([lrp]).axes]
        ['most relevant first (MoRF)']
    """
    results = list(results)
    if not results:
        raise ValueError("there are no results to show")
    check_comparable(results)
    orders = [order for order in results[0].orders if all(order in r.orders for r in results)]
    matplotlib: Any = load_matplotlib()
    size = (1 + 4.2 * len(orders), 4.2)
    drawn = matplotlib.figure.Figure(figsize=size, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(drawn)
    all_axes = drawn.subplots(1, len(orders), sharey=True, squeeze=False)[0]
    for axes, order in zip(all_axes, orders, strict=True):
        for curves in results:
            band = bootstrap(curves.curve(order), level=level, resamples=resamples, seed=seed)
            _draw(axes, curves, band)
        axes.set_title(TITLES[order], fontsize=10)
    all_axes[0].set_ylabel(str(results[0].settings.get("score", "score")), parse_math=False)
    all_axes[0].legend(fontsize=8, frameon=False)
    title = textwrap.fill(describe(results[0]), round(16 * size[0]))
    drawn.suptitle(title, fontsize=8, parse_math=False)
    return drawn


def _draw(axes: Axes, curves: PerturbationCurves, band: Any) -> None:
    per_step = int(curves.settings.get("per_step", 1))
    removed = per_step * np.arange(len(band.mean))
    # A label that starts with an underscore would be left out of the legend; and it is no maths.
    label = curves.name.replace("$", r"\$").lstrip("_") or "curve"
    (line,) = axes.plot(removed, band.mean, label=label, linewidth=1.5)
    if curves.scores.shape[1] > 1:
        axes.fill_between(
            removed, band.low, band.high, color=line.get_color(), alpha=0.2, linewidth=0
        )
    axes.set_xlabel("regions removed")
    axes.margins(x=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
