"""Whether relevance lies on the object: relevance against masks or boxes, image by image.

Relevance is real, [n, h, w], or [n, h, w, c] whose channels are summed first; masks are boolean
[n, h, w], True on the object. Each function gives one value per image and works within ``jit``,
where values (a NaN, an empty mask) can't be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.evaluation.attribution_methods import CentreGaussian
from lrpjax.evaluation.explained import attribution_function

Array = Any


def inside_total_ratio(relevance: Array, masks: Array, *, weighted: bool = False) -> Array:
    """The share of the positive relevance that lies on the object: R_in/R_total.

    For non-negative maps it is also the relevance mass accuracy.

    Args:
        relevance: float [n, h, w] or [n, h, w, c].
        masks: bool [n, h, w], none of them empty.
        weighted: times S_total/S_in, the sizes in pixels, so that small objects are not at a
            disadvantage; relevance that ignores the object then gives 1.

    Returns:
        Floats [n], at least float32: in [0, 1], or from 0 to h·w if weighted. NaN where no
        relevance is positive.

    Raises:
        ValueError: for shapes or dtypes other than these, an empty mask, or relevance that isn't
            finite.

    References:
        Kohlbrenner et al. 2020, Towards best practice in explaining neural network decisions with
        LRP (the attribution localisation μ and its weighted form μ_w). Arras et al. 2022,
        CLEVR-XAI (relevance mass accuracy).

    Example:
        >>> import numpy as np
        >>> relevance = np.array([[[3.0, 1.0], [-5.0, 0.0]]])
        >>> mask = np.array([[[True, False], [False, False]]])
        >>> inside_total_ratio(relevance, mask).tolist()
        [0.75]
        >>> inside_total_ratio(relevance, mask, weighted=True).tolist()
        [3.0]
    """
    return _inside_total_ratio(*_checked(relevance, masks), bool(weighted))


def relevance_rank_accuracy(relevance: Array, masks: Array) -> Array:
    """The share of the K most relevant pixels that lie on the object of K pixels.

    Of equal values the first ones count as more relevant.

    Args:
        relevance: float [n, h, w] or [n, h, w, c].
        masks: bool [n, h, w], none of them empty.

    Returns:
        Floats [n] in [0, 1], at least float32.

    Raises:
        ValueError: as :func:`inside_total_ratio`.

    References:
        Arras et al. 2022, CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural
        network explanations (arXiv:2003.07258).

    Example:
        >>> import numpy as np
        >>> relevance = np.array([[[3.0, 1.0], [2.0, 0.0]]])
        >>> mask = np.array([[[True, True], [False, False]]])
        >>> relevance_rank_accuracy(relevance, mask).tolist()
        [0.5]
    """
    return _relevance_rank_accuracy(*_checked(relevance, masks))


def pointing_game(relevance: Array, masks: Array, *, tolerance: float = 15) -> Array:
    """Whether the most relevant pixel lies on the object, or within some pixels of it.

    The accuracy is the mean over images. Of equal maxima the first one points. Compare with
    :func:`centre_gaussian`: photographers put objects in the middle.

    Args:
        relevance: float [n, h, w] or [n, h, w, c].
        masks: bool [n, h, w], none of them empty.
        tolerance: the largest Euclidean distance in pixels between the most relevant pixel and
            the nearest one of the object; the paper's 15 is for photographs of some 300 to 500
            pixels, 0 asks for the object itself.

    Returns:
        Bool [n], True for a hit.

    Raises:
        ValueError: as :func:`inside_total_ratio`, and for a negative tolerance.

    References:
        Zhang et al. 2018, Top-down neural attention by excitation backprop (IJCV 126).

    Example:
        >>> import numpy as np
        >>> relevance, mask = np.zeros((1, 5, 5)), np.zeros((1, 5, 5), bool)
        >>> relevance[0, 0, 0], mask[0, 0, 2] = 1.0, True
        >>> [bool(pointing_game(relevance, mask, tolerance=t)[0]) for t in (1, 2)]
        [False, True]
    """
    if not tolerance >= 0:
        raise ValueError(f"a tolerance is a number of pixels, at least 0; got {tolerance!r}")
    return _pointing_game(*_checked(relevance, masks), tolerance)


def centre_gaussian(
    fun: Any,
    *,
    width: float = 0.25,
    argnums: int | None = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """A control that knows nothing of the image or the model: a Gaussian in its middle.

    Args:
        fun, argnums, has_aux: as in :func:`lrpjax.lrp`; the explained argument is [..., h, w, c].
        width: the standard deviation along rows and columns over their number.

    Returns:
        ``attribution_fn(*args, target=None, **kwargs)``, giving exp(−d²/2) with d the distance
        from the centre in standard deviations, shared equally by the channels: an array like the
        explained argument.

    Raises:
        ValueError: for a width that isn't above 0.
        PlanError: when called, as :func:`lrpjax.evaluation.gradient` does, and for an input with
            fewer than three axes.

    References:
        Zhang et al. 2018, as in :func:`pointing_game`: their "Center" baseline.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.zeros((3, 3, 1))
        >>> centre_gaussian(lambda x: x.sum((0, 1)))(image)[..., 0].argmax().item()
        4
    """
    if not 0 < width < np.inf:
        raise ValueError(f"width is a finite number above 0; got {width!r}")
    return attribution_function(fun, CentreGaussian(float(width)), argnums, has_aux)


def masks_from_boxes(boxes: Sequence[Any], shape: tuple[int, int]) -> np.ndarray:
    """Masks that are True inside boxes.

    Args:
        boxes: for each image its box (left, top, right, bottom), or several of them: integers
            in pixels, counted from the upper left corner, of which right and bottom are the first
            column and row outside. (PASCAL VOC's corners count from 1 and lie inside: subtract 1
            from its left and top.)
        shape: the images' rows and columns.

    Returns:
        Bool [n, h, w]; an image without boxes gets an empty mask.

    Raises:
        ValueError: for boxes of other than four whole numbers, empty ones, or ones that leave the
            image.

    Example:
        >>> masks_from_boxes([(1, 0, 3, 1)], (2, 4)).astype(int).tolist()
        [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    height, width = shape
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, given in zip(masks, boxes, strict=True):
        rows = np.asarray(given).reshape(-1, 4) if np.size(given) % 4 == 0 else None
        if rows is None or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise ValueError(f"a box is four whole numbers; got {given!r}")
        for left, top, right, bottom in rows:
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise ValueError(
                    f"the box {(int(left), int(top), int(right), int(bottom))} is no "
                    f"(left, top, right, bottom) within {height} rows and {width} columns"
                )
            mask[top:bottom, left:right] = True
    return masks


def _checked(relevance: Array, masks: Array) -> tuple[Array, Array]:
    """Relevance as floats with its channels, and masks; values are checked outside ``jit``."""
    relevance = jnp.asarray(relevance)
    masks = jnp.asarray(masks)
    if relevance.ndim not in (3, 4) or relevance.shape[:3] != masks.shape or 0 in relevance.shape:
        raise ValueError(
            "relevance is [n, h, w] or [n, h, w, c] and masks are [n, h, w]; "
            f"got {relevance.shape} and {masks.shape}"
        )
    if masks.dtype != bool:
        raise ValueError(f"masks are boolean; got {masks.dtype}")
    if not jnp.issubdtype(relevance.dtype, jnp.floating):
        raise ValueError(f"relevance is floating point; got {relevance.dtype}")
    if not isinstance(masks, jax.core.Tracer) and not masks.any((1, 2)).all():
        raise ValueError("a mask is empty: there is no object to find relevance on")
    if not isinstance(relevance, jax.core.Tracer) and not jnp.isfinite(relevance).all():
        raise ValueError("relevance is NaN or infinite somewhere")
    return relevance, masks


def _pixels(relevance: Array) -> Array:
    """Relevance [n, h, w], at least float32, channels summed."""
    relevance = relevance.astype(jnp.promote_types(relevance.dtype, jnp.float32))
    return relevance.sum(-1) if relevance.ndim == 4 else relevance


@partial(jax.jit, static_argnums=2)
def _inside_total_ratio(relevance: Array, masks: Array, weighted: bool) -> Array:
    positive = jnp.maximum(_pixels(relevance), 0)
    ratio = jnp.sum(positive * masks, (1, 2)) / jnp.sum(positive, (1, 2))
    return ratio / jnp.mean(masks, (1, 2), dtype=ratio.dtype) if weighted else ratio


@jax.jit
def _relevance_rank_accuracy(relevance: Array, masks: Array) -> Array:
    pixels = _pixels(relevance).reshape(len(masks), -1)
    flat = masks.reshape(len(masks), -1)
    by_relevance = jnp.take_along_axis(flat, jnp.argsort(-pixels, axis=1), axis=1)
    sizes = flat.sum(1)
    among = jnp.arange(flat.shape[1]) < sizes[:, None]
    return (jnp.sum(by_relevance & among, 1) / sizes).astype(pixels.dtype)


@jax.jit
def _pointing_game(relevance: Array, masks: Array, tolerance: Array) -> Array:
    pixels = _pixels(relevance)
    peak = jnp.argmax(pixels.reshape(len(pixels), -1), 1)
    row, column = (p[:, None, None] for p in jnp.unravel_index(peak, pixels.shape[1:]))
    rows = jnp.arange(pixels.shape[1])[:, None]
    columns = jnp.arange(pixels.shape[2])
    squared = (rows - row) ** 2 + (columns - column) ** 2
    return jnp.any(masks & (squared <= tolerance**2), (1, 2))
