"""How relevance goes back through max and min pooling: to the first of the largest in each window.

The same elements as the primitive's own VJP chooses, found by comparing the window's strided
slices: XLA's CPU backend turns that VJP into index arrays, a reduction over pairs and a scatter,
an order of magnitude slower (docs/design.md, Speed).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from lrpjax.trace import Equation

Array = Any

#: Windows of more elements than this are left to the primitive's VJP: each is a slice of its own.
MOST = 64


def is_small_window(equation: Equation) -> bool:
    """Whether an equation pools with windows of few elements, over an operand without gaps."""
    if equation.name not in _BETTER:
        return False
    count, dilated = 1, any(n != 1 for n in equation.params["base_dilation"])
    for size in equation.params["window_dimensions"]:
        count *= size
    return count <= MOST and not dilated


def window_pullback(equation: Equation, x: Array) -> Callable[[Array], Array]:
    """The relevance of pooled values → the relevance of what was pooled.

    Args:
        equation: one that :func:`is_small_window` accepts.
        x: its operand.
    """
    better, worst = _BETTER[equation.name]
    starts = _starts(equation)
    padding = [(low, high, 0) for low, high in equation.params["padding"]]
    padded = lax.pad(x, jnp.asarray(worst, x.dtype), padding)
    chosen = _first_of_best(padded, equation, starts, better)

    def pullback(r: Array) -> Array:
        given = jnp.zeros((), r.dtype)
        for number, start in enumerate(starts):
            taken = jnp.where(chosen == number, r, jnp.zeros((), r.dtype))
            given = given + lax.pad(taken, jnp.zeros((), r.dtype), _back(equation, start, x.shape))
        return given

    return pullback


def _starts(equation: Equation) -> list[tuple[int, ...]]:
    """Where each element of a window stands, seen from its first one; in row-major order."""
    sizes, steps = equation.params["window_dimensions"], equation.params["window_dilation"]
    axes = [range(0, n * step, step) for n, step in zip(sizes, steps, strict=True)]
    return list(itertools.product(*axes))


def _first_of_best(
    padded: Array, equation: Equation, starts: list[tuple[int, ...]], better: Callable
) -> Array:
    """For each window, the number of the element that it takes."""
    strides, shape = equation.params["window_strides"], equation.outputs[0].shape

    def elements(start: tuple[int, ...]) -> Array:
        stop = [s + (n - 1) * step + 1 for s, n, step in zip(start, shape, strides, strict=True)]
        return lax.slice(padded, start, stop, strides)

    best, chosen = elements(starts[0]), jnp.zeros(shape, jnp.int8)
    for number, start in enumerate(starts[1:], 1):
        element = elements(start)
        wins = better(element, best)
        best, chosen = jnp.where(wins, element, best), jnp.where(wins, jnp.int8(number), chosen)
    return chosen


def _back(
    equation: Equation, start: tuple[int, ...], shape: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """The pad that puts a strided slice back where it came from, the operand's own pads cut."""
    p, out = equation.params, equation.outputs[0].shape
    config = []
    for s, n, step, (low, _), size in zip(
        start, out, p["window_strides"], p["padding"], shape, strict=True
    ):
        before = s - low
        config.append((before, size - before - (n - 1) * step - 1, step - 1))
    return config


_BETTER: dict[str, tuple[Callable, float]] = {
    "reduce_window_max": (jnp.greater, -jnp.inf),
    "reduce_window_min": (jnp.less, jnp.inf),
}
