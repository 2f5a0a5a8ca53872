"""Which pixels belong together, and in which order their regions are removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _draws(scores: jax.Array, keys: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: jax.random.uniform(key, scores.shape[1:]))(keys).astype(
        scores.dtype
    )


#: What regions are sorted by, smallest first: from their scores [n, regions] and a key per image.
ORDERS: MappingProxyType[str, Callable[[jax.Array, jax.Array], jax.Array]] = MappingProxyType(
    {
        "MoRF": lambda scores, keys: -scores,
        "LeRF": lambda scores, keys: scores,
        "random": _draws,
        "smallest_absolute": lambda scores, keys: jnp.abs(scores),
    }
)

#: Orders that differ between repetitions whatever the operator.
RANDOM_ORDERS = frozenset({"random"})


def removal_order(order: jax.Array, names: tuple[str, ...], scores: Any, keys: Any) -> jax.Array:
    """The place of each region in the order: 0 for the one that is removed first.

    Regions of equal score go row by row from the top left, in every order: a map that says
    nothing has equal MoRF and LeRF curves.

    Args:
        order: The index of the order among the names, an int scalar that may be traced.
        names: Names of ``ORDERS``.
        scores: Floats [n, regions].
        keys: Random keys [n].

    Returns:
        int32 [n, regions].

    Example:
        >>> scores, keys = jnp.array([[0.5, -2.0, 1.0]]), jax.random.split(jax.random.key(0), 1)
        >>> removal_order(0, ("MoRF",), scores, keys).tolist()
        [[1, 2, 0]]
        >>> removal_order(0, ("smallest_absolute",), scores, keys).tolist()
        [[0, 2, 1]]
    """
    criterion = jax.lax.switch(order, [ORDERS[name] for name in names], scores, keys)
    first_to_last = jnp.argsort(criterion, axis=-1, stable=True)
    return jnp.argsort(first_to_last, axis=-1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Grid:
    """An image cut into rectangles, numbered row by row from the top left.

    Where a side is no multiple of the rectangle's, the last row or column of rectangles is smaller:
    every pixel belongs to exactly one region, and none is left out.

    Attributes:
        height, width: The image's sides in pixels.
        region: The rectangle's height and width in pixels.

    Example:
        >>> Grid(4, 5, (2, 3)).regions
        4
        >>> Grid(4, 5, (2, 3)).of_pixel.tolist()
        [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 3, 3], [2, 2, 2, 3, 3]]
    """

    height: int
    width: int
    region: tuple[int, int] = (1, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rectangles there are down and across."""
        return -(-self.height // self.region[0]), -(-self.width // self.region[1])

    @property
    def regions(self) -> int:
        """How many rectangles there are."""
        return self.shape[0] * self.shape[1]

    @property
    def of_pixel(self) -> np.ndarray:
        """The region of each pixel, int32 [height, width]."""
        down, across = np.arange(self.height), np.arange(self.width)
        rows, columns = down // self.region[0], across // self.region[1]
        return (rows[:, None] * self.shape[1] + columns).astype(np.int32)

    def scores(self, relevance: jax.Array) -> jax.Array:
        """The sum of relevance over each region's pixels and colours.

        Args:
            relevance: Floats [n, height, width, c] or [n, height, width].

        Returns:
            [n, regions], at least float32.

        Example:
            >>> Grid(2, 4, (2, 2)).scores(jnp.arange(8.0).reshape(1, 2, 4)).tolist()
            [[10.0, 18.0]]
        """
        relevance = relevance.astype(jnp.promote_types(relevance.dtype, jnp.float32))
        maps = relevance.sum(axis=-1) if relevance.ndim == 4 else relevance
        (down, across), (high, wide) = self.shape, self.region
        margins = ((0, 0), (0, down * high - self.height), (0, across * wide - self.width))
        tiles = jnp.pad(maps, margins).reshape(-1, down, high, across, wide)
        return tiles.sum(axis=(2, 4)).reshape(-1, self.regions)

    def spread(self, values: jax.Array) -> jax.Array:
        """Each region's value at each of its pixels: [n, regions] → [n, height, width].

        Example:
            >>> Grid(1, 3, (1, 2)).spread(jnp.array([[7, 8]])).tolist()
            [[[7, 7, 8]]]
        """
        return values[:, self.of_pixel]
