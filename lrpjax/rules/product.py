"""The rules for products of two dependent values: gates with signals, and attention's products.

In a contraction each output o = Σ a·b is a sum of products; what one operand gets is then shared
by the ε-rule among the products it stands in, and the formulas below say how much that is.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lrpjax.rules import views
from lrpjax.rules.base import (
    Array,
    Rule,
    Split,
    check_nonnegative,
    divide,
    is_tiny,
    rule,
    stabilise,
    total,
)


class _Bilinear(Rule):
    """A rule that gives each operand a fixed share of the relevance."""

    epsilon: Array

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)

    def _by(self, layer: views.Product, relevance: Array, shares: tuple[float, float]) -> Split:
        """The same share of every output's relevance to each operand."""
        if not layer.bilinear:
            return Split(tuple(relevance * s if s else None for s in shares))
        c = divide(relevance, stabilise(layer.y, self.epsilon))
        back = layer.back(c)
        given = tuple(
            operand * to * s if s else None
            for operand, to, s in zip(layer.operands, back, shares, strict=True)
        )
        return Split(given, stabiliser=lambda: total(relevance - layer.y * c))

    def _signal(self, layer: views.Product, relevance: Array) -> Split:
        """All to the signal; the same to both where none is one."""
        shares = {None: (0.5, 0.5), 0: (0.0, 1.0), 1: (1.0, 0.0)}[layer.gate]
        return self._by(layer, relevance, shares)


@rule
class Uniform(_Bilinear):
    """Half to each operand; in a contraction R_A = A ⊙ (R′ / 2S(O)) Bᵀ, and R_B likewise.

    Args:
        epsilon: ε ≥ 0 of a contraction's division; a product element by element has none.

    Raises:
        PlanError: for a negative ε.

    References:
        Achtibat et al. 2024, AttnLRP: attention-aware layer-wise relevance propagation for
        transformers (matrix multiplication, elementwise product).

    Example:
        >>> import jax, lrpjax
        >>> composite = lrpjax.Composite(product=lrpjax.rules.Uniform())
        >>> lrpjax.lrp(lambda x: x[0] * x[1], composite)(jax.numpy.array([2.0, 3.0]))
        Array([3., 3.], dtype=float32)
    """

    epsilon: float = 1e-6

    def product(self, layer: views.Product, relevance: Array) -> Split:
        """½ each."""
        return self._by(layer, relevance, (0.5, 0.5))


@rule
class SignalTakesAll(_Bilinear):
    """The gate gets nothing, the signal all; half to each where both or neither are gates.

    Args:
        epsilon: ε ≥ 0 of a contraction's division.

    Raises:
        PlanError: for a negative ε.

    References:
        Arras et al. 2017, Explaining recurrent neural network predictions in sentiment analysis
        (LRP-all).
    """

    epsilon: float = 1e-6

    def product(self, layer: views.Product, relevance: Array) -> Split:
        """All to the signal."""
        return self._signal(layer, relevance)


@rule
class ValueOnly(_Bilinear):
    """Attention weights are constants: the values get all, by the ε-rule; scores as Uniform.

    Args:
        epsilon: ε ≥ 0 of a contraction's division.

    Raises:
        PlanError: for a negative ε.

    References:
        Ali et al. 2022, XAI for transformers: better explanations through conservative
        propagation (attention heads).
    """

    epsilon: float = 1e-6

    def product(self, layer: views.Product, relevance: Array) -> Split:
        """R(x_i) = Σ_j x_i p_ij / S(Σ_i′ x_i′ p_i′j) R(y_j)."""
        return self._signal(layer, relevance)


class _ByValue(Rule):
    """A rule that shares by the operands' own values, element by element."""

    def misfit(self, unit: Any) -> str | None:
        """A contraction's operands have no values at its outputs."""
        if (missing := super().misfit(unit)) is not None:
            return missing
        if unit.spec.bilinear:
            return f"{type(self).__name__} is for products element by element"
        return None


@rule
class Proportional(_ByValue):
    """R_a = a/(a + b) · R′ for the product a·b.

    Args:
        epsilon: ε ≥ 0 of the division.

    Raises:
        PlanError: for a negative ε.

    References:
        Arras et al. 2019, Explaining and interpreting LSTMs (LRP-prop).
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)

    def product(self, layer: views.Product, relevance: Array) -> Split:
        """By the operands' values."""
        a, b = layer.operands
        c = divide(relevance, stabilise(a + b, self.epsilon))
        return Split((a * c, b * c), stabiliser=lambda: total(relevance - (a + b) * c))

    def unbounded(self, unit: Any) -> str | None:
        """A sum of values may be near zero where their product isn't."""
        return "a + b may be near zero where a·b is not"


@rule
class Absolute(_ByValue):
    """R_a = |a|/(|a| + |b|) · R′ for the product a·b; half to each where both are 0.

    References:
        Arras et al. 2019 (LRP-abs).
    """

    def product(self, layer: views.Product, relevance: Array) -> Split:
        """By the operands' magnitudes."""
        a, b = map(jnp.abs, layer.operands)
        nothing = is_tiny(a + b)
        c = relevance / jnp.where(nothing, 2, a + b)
        return Split((jnp.where(nothing, 1, a) * c, jnp.where(nothing, 1, b) * c))
