"""Perturbation results as a text table, for a person to read.

Operator, score and regions stand above every table: figures of another operator are on another
scale, and the two must not be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lrpjax.evaluation.curves import PerturbationCurves
from lrpjax.evaluation.statistics import bootstrap, check_comparable
from lrpjax.plan.report import layout

Column = tuple[str, Callable[[PerturbationCurves], np.ndarray]]


def table(
    results: Iterable[PerturbationCurves],
    *,
    baseline: str | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> str:
    """One row per method: its areas, each a mean over images with its bootstrap interval.

    The columns are ABPC where MoRF and LeRF were run, AOPC of MoRF, and AUC of every order.

    Args:
        results: The methods' curves, of the same images with the same settings.
        baseline: The name of a method; a second table then has the paired differences to it.
        level, resamples, seed: As for :func:`bootstrap`.

    Returns:
        Lines of text; the first says what was done.

    Raises:
        ValueError: There are no results, they can't be compared, or none is called ``baseline``.

    Example:
        >>> import numpy as np
        >>> settings = {"operator": "Mean()", "region": [1, 1], "score": "logit"}
        >>> scores = np.array([[[4.0, 1.0, 1.0]] * 5])
        >>> lrp = PerturbationCurves("lrp", ("MoRF",), scores, np.zeros(5, int), settings)
        >>> print(table([lrp]))
        5 images; operator Mean(); score logit; pixels; 2 steps
        mean over images [95 % bootstrap interval]
        method  AOPC MoRF  AUC MoRF
        ──────  ─────────  ──────────────
        lrp     2 [2, 2]   3.5 [3.5, 3.5]
    """
    results = list(results)
    if not results:
        raise ValueError("there are no results to show")
    check_comparable(results)
    columns = _columns(results)
    certainty = {"level": level, "resamples": resamples, "seed": seed}
    lines = [
        describe(results[0]),
        f"mean over images [{100 * level:g} % bootstrap interval]",
        _rows(columns, results, None, certainty),
    ]
    if baseline is not None:
        beside = {one.name: one for one in results}
        if baseline not in beside:
            raise ValueError(f"no method is called {baseline!r}: {', '.join(beside)}")
        others = [one for one in results if one.name != baseline]
        lines += ["", f"difference to {baseline}, image by image"]
        lines += [_rows(columns, others, beside[baseline], certainty)]
    return "\n".join(lines)


def describe(curves: PerturbationCurves) -> str:
    """What was done, in one line.

    Example:
        >>> import numpy as np
        >>> settings = {"operator": "Mean()", "region": [9, 9], "score": "logit", "per_step": 2}
        >>> scores = np.zeros((1, 7, 11))
        >>> describe(PerturbationCurves("lrp", ("MoRF",), scores, np.zeros(7, int), settings))
        '7 images; operator Mean(); score logit; regions 9×9; 10 steps of 2'
    """
    settings = curves.settings
    region = tuple(settings.get("region", ()))
    of_each = f" of {settings['per_step']}" if "per_step" in settings else ""
    parts = [
        _counted(curves.scores.shape[1], "image"),
        f"operator {settings.get('operator', 'unknown')}",
        f"score {settings.get('score', 'unknown')}",
        "pixels" if region == (1, 1) else f"regions {'×'.join(map(str, region))}",
        f"{_counted(curves.scores.shape[2] - 1, 'step')}{of_each}",
    ]
    if "repetitions" in settings:
        parts.append(_counted(settings["repetitions"], "repetition"))
    if "seed" in settings:
        parts.append(f"seed {settings['seed']}")
    return "; ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _columns(results: list[PerturbationCurves]) -> list[Column]:
    """What all methods have in common."""
    orders = [order for order in results[0].orders if all(order in r.orders for r in results)]
    columns: list[Column] = []
    if {"MoRF", "LeRF"} <= set(orders):
        columns.append(("ABPC", PerturbationCurves.abpc))
    if "MoRF" in orders:
        columns.append(("AOPC MoRF", PerturbationCurves.aopc))
    return columns + [(f"AUC {order}", _auc(order)) for order in orders]


def _auc(order: str) -> Callable[[PerturbationCurves], np.ndarray]:
    return lambda curves: curves.auc(order)


def _rows(
    columns: list[Column],
    results: list[PerturbationCurves],
    beside: PerturbationCurves | None,
    certainty: Mapping[str, Any],
) -> str:
    def cell(curves: PerturbationCurves, area: Callable[..., np.ndarray]) -> str:
        values = area(curves) if beside is None else area(curves) - area(beside)
        return str(bootstrap(values, **certainty))

    rows = [[one.name, *(cell(one, area) for _, area in columns)] for one in results]
    return layout(["method", *(title for title, _ in columns)], rows)
