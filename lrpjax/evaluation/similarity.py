"""How alike two maps are, image by image.

Maps are real arrays [n, ...] of equal shape: the first axis is the batch, and all others together
are the map. Each function gives one number per image.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any


def spearman(a: Array, b: Array) -> Array:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.

    Args:
        a, b: float or integer [n, ...], of equal shape.

    Returns:
        Floats [n] in [-1, 1], at least float32; NaN where a map is constant or has a NaN.

    Raises:
        ValueError: for shapes that differ, no batch axis, empty or complex maps.

    References:
        Spearman 1904, The proof and measurement of association between two things; as a measure
        between maps: Adebayo et al. 2018, Sanity checks for saliency maps (arXiv:1810.03292).

    Example:
        >>> import numpy as np
        >>> a = np.array([[1.0, 2.0, 3.0, 4.0]])
        >>> spearman(a, a**3).tolist(), spearman(a, -a).tolist()
        ([1.0], [-1.0])
    """
    return _spearman(*_maps(a, b))


def cosine(a: Array, b: Array) -> Array:
    """The cosine of the angle between two maps: a·b/(‖a‖‖b‖).

    Args:
        a, b: float or integer [n, ...], of equal shape.

    Returns:
        Floats [n] in [-1, 1], at least float32; NaN where a map is all zero or has a NaN.

    Raises:
        ValueError: as :func:`spearman`.

    Example:
        >>> import numpy as np
        >>> cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [6.0, 8.0]])).tolist()
        [0.0, 1.0]
    """
    return _cosine(*_maps(a, b))


def top_k_iou(a: Array, b: Array, k: int) -> Array:
    """The intersection over union of the k largest elements of each map.

    Of equal values the first ones count. Sum channels first, if it is to be about pixels.

    Args:
        a, b: float or integer [n, ...], of equal shape.
        k: how many elements, from 1 to the size of a map.

    Returns:
        Floats [n] in [0, 1], at least float32; NaN where a map has a NaN.

    Raises:
        ValueError: as :func:`spearman`, and for a ``k`` out of range.

    Example:
        >>> import numpy as np
        >>> a, b = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[4.0, 1.0, 3.0, 2.0]])
        >>> round(float(top_k_iou(a, b, k=2)[0]), 3)
        0.333
    """
    a, b = _maps(a, b)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= a.shape[1]:
        raise ValueError(f"k is a whole number from 1 to {a.shape[1]}; got {k!r}")
    return _top_k_iou(a, b, int(k))


def ssim(a: Array, b: Array, *, window: int = 7, normalise: bool = True) -> np.ndarray:
    """The structural similarity of two maps, as scikit-image computes it.

    Args:
        a, b: float or integer [n, h, w], of equal shape.
        window: the side of the window, odd, at most h and w.
        normalise: divide each map by its largest |value| (a map of zeros stays one), so that a
            difference in scale alone counts for nothing, and take 2 for the range of values.
            Otherwise the range is that of both maps together.

    Returns:
        float64 [n] in [-1, 1]; a NumPy array, so not for use within ``jit``.

    Raises:
        ImportError: scikit-image is missing.
        ValueError: as :func:`spearman`; for maps that aren't [n, h, w] or not finite, or a window
            that doesn't fit.

    References:
        Wang et al. 2004, Image quality assessment: from error visibility to structural similarity.

    Example:
        >>> import numpy as np
        >>> a = np.arange(64.0).reshape(1, 8, 8)
        >>> ssim(a, 5 * a).round(3).tolist()
        [1.0]
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ImportError(
            "ssim needs scikit-image, which comes with pip install 'lrpjax[zoo]'"
        ) from error
    shape = np.shape(a)
    if len(shape) != 3:
        raise ValueError(f"ssim compares maps [n, h, w]; got shape {shape}")
    if not isinstance(window, int) or window % 2 == 0 or not 1 < window <= min(shape[1:]):
        raise ValueError(f"window is odd, at least 3 and at most {min(shape[1:])}; got {window!r}")
    first, second = (np.asarray(m, np.float64).reshape(shape) for m in _maps(a, b))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("ssim compares finite maps; there is a NaN or infinity")

    def one(x: np.ndarray, y: np.ndarray) -> float:
        if normalise:
            x, y, extent = _to_unit(x), _to_unit(y), 2.0
        else:
            extent = max(x.max(), y.max()) - min(x.min(), y.min()) or 1.0
        return structural_similarity(x, y, win_size=window, data_range=extent)

    return np.array([one(x, y) for x, y in zip(first, second, strict=True)])


def _to_unit(x: np.ndarray) -> np.ndarray:
    return x / (np.abs(x).max() or 1.0)


def _maps(a: Array, b: Array) -> tuple[Array, Array]:
    """Two batches of maps as floats [n, size]."""
    shapes = np.shape(a), np.shape(b)
    if shapes[0] != shapes[1]:
        raise ValueError(f"maps to compare have equal shapes; got {shapes[0]} and {shapes[1]}")
    if len(shapes[0]) < 2 or 0 in shapes[0]:
        raise ValueError(f"maps are a batch [n, ...] that isn't empty; got shape {shapes[0]}")
    return _map(a), _map(b)


def _map(given: Array) -> Array:
    array = jnp.asarray(given)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError("maps are real; these values are complex")
    array = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return jnp.where(array == 0, 0, array).reshape(len(array), -1)  # −0 is not below 0


@jax.jit
def _spearman(a: Array, b: Array) -> Array:
    centred = [_ranks(m) - (m.shape[1] + 1) / 2 for m in (a, b)]
    return _correlation(*centred)


@jax.jit
def _cosine(a: Array, b: Array) -> Array:
    # By the largest value first: squares of very small or large relevance leave the float range.
    return _correlation(*(m / jnp.max(jnp.abs(m), axis=1, keepdims=True) for m in (a, b)))


def _correlation(a: Array, b: Array) -> Array:
    """a·b/(‖a‖‖b‖) of each row."""
    products = jnp.sum(a * b, axis=1)
    sizes = jnp.linalg.norm(a, axis=1) * jnp.linalg.norm(b, axis=1)
    return jnp.clip(products / sizes, -1, 1)  # rounding may leave the range; NaN stays


@jax.vmap
def _ranks(row: Array) -> Array:
    """Ranks from 1, equal values sharing their mean rank; NaN for a row that has one."""
    order = jnp.argsort(row)
    ordered, place = row[order], jnp.arange(row.size)
    differs, edge = ordered[1:] != ordered[:-1], jnp.ones(1, bool)
    first = jax.lax.cummax(jnp.where(jnp.append(edge, differs), place, 0))
    last = jax.lax.cummin(jnp.where(jnp.append(differs, edge), place, row.size), reverse=True)
    shared = ((first + last).astype(row.dtype) + 2) / 2
    ranks = jnp.zeros_like(row).at[order].set(shared, unique_indices=True)
    return jnp.where(jnp.isnan(row).any(), jnp.nan, ranks)


@partial(jax.jit, static_argnums=2)
def _top_k_iou(a: Array, b: Array, k: int) -> Array:
    shared = jnp.sum(_top(a, k) & _top(b, k), axis=1)
    defined = ~jnp.isnan(a).any(axis=1) & ~jnp.isnan(b).any(axis=1)
    return jnp.where(defined, shared / (2 * k - shared), jnp.nan).astype(a.dtype)


@partial(jax.vmap, in_axes=(0, None))
def _top(row: Array, k: int) -> Array:
    """Where the k largest elements are."""
    return jnp.zeros(row.shape, bool).at[jax.lax.top_k(row, k)[1]].set(True)
