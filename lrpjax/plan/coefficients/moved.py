"""A value of a linear program, by where the elements of the program's input stand in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lrpjax.plan.coefficients.factors import Factor, Label, labels_of

Array = Any
Shift = tuple[int, ...]


class Unknown(Exception):
    """An equation through which elements are not followed; the message names its primitive."""


@dataclasses.dataclass(frozen=True)
class Moved:
    """Where the elements of the input stand in a value.

    Attributes:
        extent: the input's shape, in the value's layout.
        weights: for each shift, what each element counts there, broadcastable to the extent.
        labels: what each axis is, seen from the input.
        complete: no other elements than these stand there.
        summed: what of the input's axes was summed over.
    """

    extent: tuple[int, ...]
    weights: dict[Shift, Array]
    labels: tuple[Label, ...]
    complete: bool = True
    summed: frozenset[Factor] = frozenset()

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Moved:
        """The input itself."""
        return cls(shape, {(0,) * len(shape): 1.0}, labels_of(shape))

    def having(self, parts: Iterable[tuple[Shift, Array]]) -> Moved:
        """The same layout with other weights; those of one shift are added up."""
        weights: dict[Shift, Array] = {}
        for shift, weight in parts:
            weights[shift] = weights[shift] + weight if shift in weights else weight
        kept = {s: w for s, w in weights.items() if not (isinstance(w, float) and w == 0.0)}
        return dataclasses.replace(self, weights=kept)

    def times(self, factor: Array) -> Moved:
        """Multiplied with an array of the value's own layout."""
        return self.having((s, w * at(factor, self.extent, s)) for s, w in self.weights.items())

    @property
    def diagonal(self) -> Array:
        """What each element counts in its own place."""
        return self.weights.get((0,) * len(self.extent), 0.0)


def at(array: Array, extent: tuple[int, ...], shift: Shift) -> Array:
    """The elements of an array at o + shift for every o; zero where there is none."""
    if np.ndim(array) == 0:
        return array
    for axis, (size, move) in enumerate(zip(extent, shift, strict=True)):
        length = array.shape[axis]
        if length == 1 and size > 1:
            continue
        start, stop = max(move, 0), min(size + move, length)
        piece = array[(slice(None),) * axis + (slice(start, max(stop, start)),)]
        before = min(max(-move, 0), size)
        after = size - before - piece.shape[axis]
        if before or after:
            library = np if isinstance(piece, np.ndarray) else jnp
            pads = [(before, after) if a == axis else (0, 0) for a in range(piece.ndim)]
            piece = library.pad(piece, pads)
        array = piece
    return array


def broadcast(array: Array, shape: tuple[int, ...]) -> Array:
    """An array of NumPy's or a traced one, at another shape."""
    library = np if isinstance(array, np.ndarray) else jnp
    return library.broadcast_to(array, shape)
