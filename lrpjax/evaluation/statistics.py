"""How sure a mean over images is: the bootstrap, and paired differences between methods."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lrpjax.evaluation.curves import PerturbationCurves

# How many numbers are drawn at a time: 32 MB.
_DRAWS_AT_A_TIME = 4_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """A mean over images and its confidence interval.

    Attributes:
        mean, low, high: float64 scalars or arrays; the bounds of a single image are NaN.
        level: The confidence, 0.95 for an interval of 95 %.
        count: How many images there were.

    Example:
        >>> print(Interval(1.5, 1.0, 2.25, 0.95, 100))
        1.5 [1, 2.25]
    """

    mean: Any
    low: Any
    high: Any
    level: float
    count: int

    def __str__(self) -> str:
        if np.ndim(self.mean):
            return repr(self)
        if self.count < 2:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside: a difference that is hardly chance."""
        return bool(self.low > 0 or self.high < 0)


def bootstrap(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean over images, with a percentile bootstrap interval over images.

    Images are drawn with replacement, as many as there are; the interval holds the middle ``level``
    of the means. All columns see the same draws.

    Args:
        values: Reals [n] or [n, …], images first.
        level: The confidence, between 0 and 1.
        resamples: How often images are drawn.
        seed: The seed of the draws.

    Returns:
        The interval, of the values' shape without the first axis.

    Raises:
        ValueError: Values that are not finite, none at all, or numbers out of range.

    References:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.

    Example:
        >>> values = np.arange(100.0)
        >>> interval = bootstrap(values)
        >>> float(interval.mean), bool(43 < interval.low < 46), bool(53 < interval.high < 56)
        (49.5, True, True)
    """
    array = np.asarray(values, np.float64)
    if not array.ndim or not array.size or not np.isfinite(array).all():
        raise ValueError(f"values are finite numbers [n, …]; got shape {array.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level lies between 0 and 1, not {level!r}")
    if resamples < 1:
        raise ValueError(f"resamples are at least 1, not {resamples!r}")
    count = len(array)
    if count < 2:
        unknown = np.full_like(array[0], np.nan)
        return Interval(array[0], unknown, unknown, level, count)
    means = _resampled_means(array.reshape(count, -1), resamples, np.random.default_rng(seed))
    bounds = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = bounds.reshape(2, *array.shape[1:])
    return Interval(array.mean(axis=0), low, high, level, count)


def _resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means [resamples, columns] of rows drawn with replacement, as products with their counts."""
    count, at_a_time = len(values), max(1, _DRAWS_AT_A_TIME // len(values))
    means = []
    for start in range(0, resamples, at_a_time):
        rows = min(at_a_time, resamples - start)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means.append(times @ values / count)
    return np.concatenate(means)


def paired_difference(
    one: PerturbationCurves,
    other: PerturbationCurves,
    metric: str = "ABPC",
    *,
    order: str = "MoRF",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """How much a metric of one method exceeds that of another on the same images.

    Image by image the same noise was drawn for both, so the difference is known far better than
    either mean.

    Args:
        one, other: Curves of the same images with the same settings.
        metric: A name of ``METRICS``.
        order: The order that AOPC and AUC are of.
        level, resamples, seed: As for :func:`bootstrap`.

    Returns:
        The interval of one − other.

    Raises:
        ValueError: The curves are of different images or settings, or lack an order.

    Example:
        >>> low, high = np.array([[[3.0, 1.0], [4.0, 1.0]]]), np.array([[[3.0, 2.0], [4.0, 2.0]]])
        >>> curves = (PerturbationCurves(n, ("MoRF",), s, np.zeros(2, int), {})
        ...           for n, s in (("a", low), ("b", high)))
        >>> print(paired_difference(*curves, "AOPC"))
        0.5 [0.5, 0.5]
    """
    check_comparable((one, other))
    difference = one.metric(metric, order) - other.metric(metric, order)
    return bootstrap(difference, level=level, resamples=resamples, seed=seed)


def check_comparable(several: Any) -> None:
    """Refuses curves that are not of the same images with the same settings.

    Raises:
        ValueError: The message names a setting that differs.

    Example:
        >>> check_comparable([])
    """
    several = list(several)
    for other in several[1:]:
        first = several[0]
        keys = sorted({*first.settings, *other.settings} - {"name", "orders"})
        for key in keys:
            if first.settings.get(key) != other.settings.get(key):
                raise ValueError(
                    f"{first.name!r} and {other.name!r} can't be compared: {key} is "
                    f"{first.settings.get(key)!r} and {other.settings.get(key)!r}"
                )
        if first.scores.shape[1:] != other.scores.shape[1:]:
            raise ValueError(f"{first.name!r} and {other.name!r} have curves of other shapes")
        if not set(first.orders) & set(other.orders):
            raise ValueError(f"{first.name!r} and {other.name!r} have no order in common")
