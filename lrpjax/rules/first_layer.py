"""The rules made for the first layer, where inputs are pixels: by weights, bounds, or neither.

Notation as in :mod:`lrpjax.rules.affine`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from lrpjax.errors import PlanError
from lrpjax.rules import views
from lrpjax.rules.base import (
    Array,
    Rule,
    Split,
    check_nonnegative,
    concrete,
    divide,
    divide_by_constants,
    negative,
    positive,
    rule,
    stabilise,
    total,
)


@rule
class Flat(Rule):
    """Every input of an output gets the same: weights and input 1, bias 0.

    Zero pads in front get nothing. An output without inputs drops its relevance.

    References:
        Lapuschkin et al. 2019, Unmasking Clever Hans predictors and assessing what machines
        really learn.
    """

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """One count of inputs per output, and one unweighted transpose."""
        counts = layer.count(layer.one_example(jnp.ones((), layer.x.dtype)))
        c = divide_by_constants(relevance, counts)
        given = jnp.broadcast_to(layer.count_transpose(c), layer.x.shape)
        return Split((given,), stabiliser=lambda: total(relevance - counts * c))

    def unbounded(self, unit: Any) -> str | None:
        """Zero inputs get relevance."""
        return "zero inputs get relevance"


@rule
class WSquare(Rule):
    """R = (W²)ᵀ[R′ / S(ΣW² + b²)]: by the weights alone.

    Args:
        epsilon: ε ≥ 0.

    Raises:
        PlanError: for a negative ε.

    References:
        Montavon et al. 2017 (w²-rule).
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """The denominators are constants: one example serves the whole batch."""
        square, b = layer.weights**2, layer.bias**2
        sums = layer.apply(layer.one_example(jnp.ones((), layer.x.dtype)), square) + b
        c = divide_by_constants(relevance, stabilise(sums, self.epsilon))
        return Split(
            (layer.transpose(c, square),),
            bias=lambda: total(b * c),
            stabiliser=lambda: total(relevance - sums * c),
        )

    def unbounded(self, unit: Any) -> str | None:
        """Zero inputs get relevance."""
        return "zero inputs get relevance"


@rule
class ZBox(Rule):
    """R = (xW − lW⁺ − hW⁻)ᵀ[R′ / S(sum)] for inputs known to lie between l and h.

    The bias cancels. The bounds are those of the unit's own input: a model may normalise inside.

    Args:
        low, high: numbers, or arrays that broadcast to the unit's input.
        epsilon: ε ≥ 0.

    Raises:
        PlanError: where low > high, or for a negative ε.

    References:
        Montavon et al. 2017 (zᴮ-rule, for inputs in a box).
    """

    low: float
    high: float
    epsilon: float = 1e-6
    needs_signs = True

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)
        known = concrete(self.low) and concrete(self.high)
        if known and not np.all(np.less_equal(self.low, self.high)):
            raise PlanError(f"ZBox: low must not exceed high; got {self.low!r}, {self.high!r}")

    def misfit(self, unit: Any) -> str | None:
        """The bounds must broadcast to the unit's own input."""
        shape = unit.inputs[0].shape if unit.inputs else ()
        for bound in (getattr(self, "low", 0.0), getattr(self, "high", 0.0)):
            given = jnp.shape(bound)
            fits = len(given) <= len(shape) and all(
                n in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)
            )
            if not fits:
                return f"ZBox's bounds of shape {given} do not broadcast to the input, {shape}"
        return super().misfit(unit)

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """The maps of constant bounds are computed for one example."""
        w, dtype = layer.weights, layer.x.dtype
        low = layer.one_example(jnp.asarray(self.low, dtype))
        high = layer.one_example(jnp.asarray(self.high, dtype))
        bounds = layer.apply(low, positive(w)) + layer.apply(high, negative(w))
        sums = layer.z - layer.bias - bounds
        c = divide(relevance, stabilise(sums, self.epsilon))
        given = layer.x * layer.pull(c)
        given -= low * layer.transpose(c, positive(w)) + high * layer.transpose(c, negative(w))
        return Split((given,), stabiliser=lambda: total(relevance - sums * c))

    def unbounded(self, unit: Any) -> str | None:
        """Zero inputs get relevance."""
        return "zero inputs get relevance"
