"""What is perturbed: images, the explained classes and the relevance where it is given, checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

#: The attribution that is noise.
CONTROL = "random"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the program is given, for all images or for a batch of them.

    Attributes:
        images: [n, h, w, c].
        index: int32 [n], each image's place in the data: the seed of its draws.
        labels: int32 [n], the explained classes; None for the predicted ones.
        maps: [n, h, w, c] or [n, h, w], relevance computed elsewhere; None for the program's own.
    """

    images: Any
    index: Any
    labels: Any
    maps: Any

    def rows(self, index: np.ndarray) -> Inputs:
        """A batch; images of integers become float32."""
        batch = jax.tree.map(lambda array: array[index], self)
        if batch.images.dtype.kind in "iu":
            return dataclasses.replace(batch, images=batch.images.astype(np.float32))
        return batch


def checked_inputs(images: Any, labels: Any, attribution: Any) -> Inputs:
    """All inputs of a run.

    Args:
        images: Reals [n, h, w, c].
        labels: Ints [n], or None.
        attribution: A function, ``CONTROL``, or maps [n, h, w, c] or [n, h, w].

    Raises:
        ValueError: Something has the wrong shape or kind, or is not finite.

    Example:
        >>> checked_inputs(np.zeros((2, 3, 3, 1)), [0, 1], "random").labels
        array([0, 1], dtype=int32)
    """
    pixels = _checked_images(images)
    maps = _checked_maps(attribution, pixels.shape)
    index = np.arange(len(pixels), dtype=np.int32)
    return Inputs(pixels, index, _checked_labels(labels, len(pixels)), maps)


def _checked_images(images: Any) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or not array.size:
        raise ValueError(f"images are [n, h, w, c]; these are {list(array.shape)}")
    if array.dtype.kind in "iu":
        return array
    # bfloat16 and its kin are of kind V in NumPy.
    if array.dtype.kind not in "fV" or not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
        raise ValueError(f"images are real numbers; these are of {array.dtype}")
    for number, image in enumerate(array):
        if not np.isfinite(image).all():
            raise ValueError(f"image {number} has NaN or infinite pixels")
    return array


def _checked_labels(labels: Any, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(
            f"labels are {count} class indices, ints of at least 0; got {array.dtype} "
            f"{list(array.shape)}"
        )
    return array.astype(np.int32)


def _checked_maps(attribution: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The maps where they are given instead of a function."""
    if callable(attribution) or (isinstance(attribution, str) and attribution == CONTROL):
        return None
    maps = np.asarray(attribution)
    if maps.dtype.kind not in "iufV" or maps.shape not in (shape, shape[:-1]):
        raise ValueError(
            f"an attribution is a function, {CONTROL!r}, or maps of shape {list(shape)} or "
            f"{list(shape[:-1])}; got {maps.dtype} {list(maps.shape)}"
        )
    if not np.isfinite(maps.astype(np.float64)).all():
        raise ValueError("the maps have NaN or infinite values")
    return maps
