"""What an example of a layer is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from support.networks import normal


@dataclasses.dataclass(frozen=True)
class Example:
    """A layer with something to explain.

    Attributes:
        make: makes the layer.
        args: what it is called with.
        explained: which of them is explained.
        options: keyword arguments of the call.
        float8: its input, and so its relevance, is rounded to float8 on the way.
    """

    make: Callable[[], Any]
    args: tuple[Any, ...]
    explained: int = 0
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    float8: bool = False


@dataclasses.dataclass(frozen=True)
class Nothing:
    """A class that computes nothing by itself."""

    why: str


def floats(*shape: int) -> np.ndarray:
    """Single-precision inputs of both signs."""
    return normal(*shape, seed=800).astype(np.float32)


def parameters(shapes: Any) -> Any:
    """Random values for a layer's parameters and statistics; variances and scales are positive."""
    rng = np.random.default_rng(801)

    def draw(path: Any, leaf: Any) -> Any:
        if not jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating):
            return np.zeros(leaf.shape, leaf.dtype)
        value = 0.5 * rng.normal(size=leaf.shape)
        positive = any(word in jax.tree_util.keystr(path) for word in ("var", "scale", "sigma"))
        return np.asarray(0.5 + np.abs(value) if positive else value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


IDS = np.array([[3, 1, 4], [1, 5, 2]])
ROWS = floats(2, 4)
IMAGES = floats(2, 5, 5, 4)
SEQUENCES = floats(2, 3, 4)
CARRY = 0.5 * floats(2, 3)
