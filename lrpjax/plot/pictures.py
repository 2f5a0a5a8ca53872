"""Heatmaps and overlays as plain arrays of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpjax.plot.scale import colour_map, limits_of, summed_maps

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


def heatmap(
    relevance: ArrayLike,
    *,
    cmap: str | Colormap = "seismic",
    percentile: float = 99.5,
    limit: ArrayLike | None = None,
    normalise: str = "image",
    channel_axis: int | None = -1,
) -> NDArray[np.uint8]:
    """Relevance as RGB pixels: zero is the middle of the colour map, the range is symmetric.

    Args:
        relevance: Floats [..., H, W, C], summed over the channels first.
        cmap: A colour map, see `colour_map`.
        percentile: The limit of the range as a percentile of |R|, see `symmetric_limit`.
        limit: The limit itself, a number above 0 or one per map, instead of a percentile.
        normalise: ``"image"`` for a range per map, ``"batch"`` for one over all maps together.
        channel_axis: The axis to sum; None where maps have no channels, [..., H, W]. A single
            map [H, W] never has.

    Returns:
        uint8 [..., H, W, 3].

    Raises:
        ValueError: Relevance that is not real and finite, too few axes, or an option out of range.
        ImportError: Matplotlib is missing.

    Example:
        >>> heatmap([[0.0, 1.0], [-1.0, 0.0]], cmap="bwr", channel_axis=None)[0].tolist()
        [[255, 255, 255], [255, 0, 0]]
    """
    maps = summed_maps(relevance, channel_axis)
    limits = limits_of(maps, limit, percentile, normalise)
    return _colours(maps, limits, cmap)


def overlay(
    image: Any,
    relevance: ArrayLike,
    *,
    alpha: float = 0.85,
    cmap: str | Colormap = "bwr",
    percentile: float = 99.5,
    limit: ArrayLike | None = None,
    normalise: str = "image",
    channel_axis: int | None = -1,
) -> NDArray[np.uint8]:
    """The heatmap over the photograph in grey, the more opaque the larger |R| is.

    Where there is no relevance the photograph stays as it is, whatever the colour of zero.

    Args:
        image: A photograph: a Pillow image, or an array [..., H, W, 3], [..., H, W, 1] or [H, W];
            integers are pixels in 0..255, floats in 0..255 or, if none is above 1, in 0..1.
        relevance: Floats [..., H, W, C], summed over the channels first.
        alpha: The opacity at the end of the range, in 0..1; opacity is alpha·√(|R|/limit).
        cmap: As in `heatmap`.
        percentile: As in `heatmap`.
        limit: As in `heatmap`.
        normalise: As in `heatmap`.
        channel_axis: As in `heatmap`.

    Returns:
        uint8 [..., H, W, 3].

    Raises:
        ValueError: As `heatmap`; or the photograph has another size, or is not made of pixels.
        ImportError: Matplotlib is missing.

    Example:
        >>> overlay(np.full((2, 2, 3), 100), np.zeros((2, 2, 3)))[0, 0].tolist()
        [100, 100, 100]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies in 0..1, not {alpha!r}")
    maps = summed_maps(relevance, channel_axis)
    limits = limits_of(maps, limit, percentile, normalise)
    photograph = rgb_pixels(image)
    if photograph.shape[-3:-1] != maps.shape[-2:]:
        raise ValueError(
            f"relevance of {maps.shape[-2:]} pixels over a photograph of {photograph.shape[-3:-1]}"
        )
    # The luminance of ITU-R BT.601: what Pillow's mode L is.
    grey = (photograph @ np.array([0.299, 0.587, 0.114]))[..., None]
    opacity = alpha * np.sqrt(np.minimum(np.abs(maps) / limits[..., None, None], 1.0))[..., None]
    mixed = grey + opacity * (_colours(maps, limits, cmap) - grey)
    return np.rint(mixed).astype(np.uint8)


def _colours(
    maps: NDArray[np.float64], limits: NDArray[np.float64], cmap: str | Colormap
) -> NDArray[np.uint8]:
    position = np.clip(maps / limits[..., None, None], -1, 1) / 2 + 0.5
    return colour_map(cmap)(position, bytes=True)[..., :3]


def rgb_pixels(image: Any) -> NDArray[np.float64]:
    """RGB pixels in 0..255 of a Pillow image or of an array: [..., H, W, 3]."""
    values = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    pixels = values.astype(np.float64)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim < 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(f"a photograph is [H, W, 3], [H, W, 1] or [H, W], not {values.shape}")
    if not (pixels.size and pixels.min() >= 0 and pixels.max() <= 255):
        raise ValueError("a photograph is made of pixels in 0..255, or floats in 0..1")
    if values.dtype.kind not in "iub" and pixels.max() <= 1:
        pixels = pixels * 255
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
