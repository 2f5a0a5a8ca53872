"""Products of batches of matrices with their operands exchanged.

XLA's CPU backend packs a product's second operand. Flax's attention has its weights there, which it
multiplies with the values: with the values there it is up to three times faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from jax import lax

from lrpjax import _compat
from lrpjax.trace import Equation

Array = Any


def has_largest_second(equation: Equation) -> bool:
    """Whether a product's second operand is the largest array of the three, and summed along its
    last axes: in front, it is read as it lies.
    """
    p = equation.params
    if equation.name != "dot_general" or p.get("out_sharding") is not None:
        return False
    ((_, summed), (batch, _)) = p["dimension_numbers"]
    first, second, out = (math.prod(v.shape) for v in (*equation.inputs, *equation.outputs))
    rank = equation.inputs[1].ndim
    last = sorted(summed) == list(range(rank - len(summed), rank))
    alike = not isinstance(p["precision"], lax.DotAlgorithm)  # it may tell the operands apart
    return bool(batch) and last and second > max(first, out) and alike


def exchanged(equation: Equation, inputs: Iterable[Array]) -> Array:
    """The product, its axes where the program has them: the first operand's own in front."""
    first, second = inputs
    (summed, batch), precision = (equation.params[n] for n in ("dimension_numbers", "precision"))
    params = {
        **equation.params,
        "dimension_numbers": (summed[::-1], batch[::-1]),
        "precision": precision[::-1] if isinstance(precision, tuple) else precision,
    }
    (product,) = _compat.bind(
        equation.primitive, [second, first], params, equation.context, equation.source_info
    )
    shared = len(batch[0])
    own = product.ndim - (first.ndim - len(summed[0]) - shared)
    axes = range(product.ndim)
    return lax.transpose(product, [*axes[:shared], *axes[own:], *axes[shared:own]])
