"""The rules for affine layers: formulas on z = Wx + b, as the papers write them.

S(z) = z + ε·sign(z) with sign(0) = +1; W⁺ = max(W, 0), W⁻ = min(W, 0), likewise x and b. R′ is
the relevance of the layer's output. The bias, BatchNorm folded in, takes its share.
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
    negative,
    positive,
    rule,
    stabilise,
    times,
    total,
)


class _EpsilonFamily(Rule):
    """R = x ⊙ Wᵀ[R′ / S(z)] for every family of units that is linear, or taken to be."""

    epsilon: Any

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """R = x ⊙ Wᵀ[R′ / S(Wx + b)]."""
        c = divide(relevance, stabilise(layer.z, self.epsilon))
        return Split(
            (layer.x * layer.pull(c),),
            bias=lambda: total(layer.bias * c),
            stabiliser=lambda: total(relevance - layer.z * c),
        )

    def shift(self, layer: views.Shift, relevance: Array) -> Split:
        """R = s·x·R′ / S(y)."""
        c = divide(relevance, stabilise(layer.y, self.epsilon))
        return Split(
            (times(layer.scaled, c),),
            bias=lambda: total(times(layer.shift, c)),
            stabiliser=lambda: total(relevance - times(layer.y, c)),
        )

    def add(self, layer: views.Sum, relevance: Array) -> Split:
        """R_a = a·R′ / S(Σa)."""
        c = divide(relevance, stabilise(layer.y, self.epsilon))
        return Split(
            tuple(times(a, c) for a in layer.operands),
            bias=lambda: sum(total(times(a, c)) for a in layer.constants) + 0.0,
            stabiliser=lambda: total(relevance - times(layer.y, c)),
        )

    def generic(self, layer: views.Routing, relevance: tuple[Array, ...]) -> Split:
        """R = x ⊙ VJP(R′ / S(y)), for primitives that no unit covers."""
        pairs = list(zip(relevance, layer.outputs, strict=True))
        c = tuple(divide(r, stabilise(y, self.epsilon)) for r, y in pairs)
        carried, _ = layer.pullback(c)
        given = tuple(x * g for x, g in zip(layer.inputs, carried, strict=True))
        stabiliser = sum(total(r - y * k) for (r, y), k in zip(pairs, c, strict=True))
        rest = sum(map(total, relevance)) - sum(map(total, given)) - stabiliser
        return Split(given, stabiliser=lambda: stabiliser, remainder=lambda: rest)


@rule
class Epsilon(_EpsilonFamily):
    """R = x ⊙ Wᵀ[R′ / S(Wx + b)]: each input's share of the output, with a stabiliser.

    On a sum, a·R′/S(Σa); on a scale or shift, s·x·R′/S(y); as the opt-in fallback for primitives
    that no unit covers, x ⊙ VJP(R′/S(y)).

    Args:
        epsilon: ε ≥ 0, in the units of the layer's output.

    Raises:
        PlanError: for a negative ε.

    References:
        Bach et al. 2015, On pixel-wise explanations, eq. 58.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> w = jnp.array([[1.0, 2.0]])
        >>> lrpjax.lrp(lambda x: (w @ x)[0], lrpjax.rules.Epsilon(0.0))(jnp.array([3.0, 1.0]))
        Array([3., 2.], dtype=float32)
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)


@rule
class Zero(_EpsilonFamily):
    """R = x ⊙ Wᵀ[R′ / (Wx + b)]: the ε-rule with ε = 0.

    Where the output is zero its relevance is dropped, not NaN; the ledger counts it with the
    stabiliser.

    References:
        Bach et al. 2015, eq. 56.
    """

    epsilon = 0.0


@rule
class Gamma(Rule):
    """Favours contributions of the output's own sign, in the signed form.

    z ≥ 0: (x⁺(W + γW⁺) + x⁻(W + γW⁻)) / S(z + γ(x⁺W⁺ + x⁻W⁻) + γb⁺);
    z < 0: (x⁺(W + γW⁻) + x⁻(W + γW⁺)) / S(z + γ(x⁺W⁻ + x⁻W⁺) + γb⁻).

    Args:
        gamma: γ ≥ 0, how much more the favoured contributions count.
        epsilon: ε ≥ 0.

    Raises:
        PlanError: for a negative γ or ε.

    References:
        Montavon et al. 2019, Layer-wise relevance propagation: an overview, §10.2.1 (LRP-γ); the
        signed form: Andéol et al. 2021, Learning domain invariant representations by joint
        Wasserstein distance minimization.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6
    needs_signs = True

    def __post_init__(self) -> None:
        check_nonnegative(self, gamma=self.gamma, epsilon=self.epsilon)

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """Both branches from z, W and their positive parts.

        W + γW⁻ = (1 + γ)W − γW⁺, so that no other weights are made and x ≥ 0 takes two transposes.
        """
        b, gamma = layer.bias, self.gamma
        up, w_plus = layer.z >= 0, positive(layer.weights)
        plus = layer.plus() + positive(b)
        raised = jnp.where(up, layer.z + gamma * plus, (1 + gamma) * layer.z - gamma * plus)
        c = divide(relevance, stabilise(raised, self.epsilon))
        c_up, c_down = jnp.where(up, c, 0), jnp.where(up, 0, c)
        favoured = gamma * layer.transpose(jnp.where(up, c, -c), w_plus)
        if layer.nonnegative:
            given = layer.x * (layer.pull(c_up + (1 + gamma) * c_down) + favoured)
        else:
            a, d = layer.pull(c_up), layer.pull(c_down)
            given = positive(layer.x) * (a + (1 + gamma) * d + favoured)
            given += negative(layer.x) * ((1 + gamma) * a + d - favoured)
        taken = b + gamma * jnp.where(up, positive(b), negative(b))
        return Split(
            (given,),
            bias=lambda: total(taken * c),
            stabiliser=lambda: total(relevance - raised * c),
        )


class _OneSign(Rule):
    """What rules that keep one sign of the contributions have in common."""

    needs_signs = True

    def unbounded(self, unit: Any) -> str | None:
        return None if unit.rectified else "outputs may be negative"


@rule
class ZPlus(_OneSign):
    """R = (x⁺W⁺ + x⁻W⁻)ᵀ[R′ / S(sum + b⁺)]: positive contributions only.

    Args:
        epsilon: ε ≥ 0.

    Raises:
        PlanError: for a negative ε.

    References:
        Montavon et al. 2017, Explaining nonlinear classification decisions with deep Taylor
        decomposition (z⁺-rule); α1β0 of Bach et al. 2015.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """Positive contributions' share of their sum."""
        w, b = layer.weights, positive(layer.bias)
        plus = layer.plus() + b
        c = divide(relevance, stabilise(plus, self.epsilon))
        return Split(
            (layer.share(c, positive(w), negative(w)),),
            bias=lambda: total(b * c),
            stabiliser=lambda: total(relevance - plus * c),
        )


@rule
class AlphaBeta(_OneSign):
    """α(x⁺W⁺ + x⁻W⁻)/S(sum + b⁺) − β(x⁺W⁻ + x⁻W⁺)/S(sum + b⁻), each times R′.

    Args:
        alpha: α ≥ 0, the weight of positive contributions.
        beta: β ≥ 0, of negative ones; α − β = 1 conserves relevance.
        epsilon: ε ≥ 0.

    Raises:
        PlanError: for negative values or α − β ≠ 1.

    References:
        Bach et al. 2015, eq. 60.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, alpha=self.alpha, beta=self.beta, epsilon=self.epsilon)
        known = concrete(self.alpha) and concrete(self.beta)
        if known and not np.allclose(np.subtract(self.alpha, self.beta), 1.0):
            raise PlanError(
                f"AlphaBeta: α − β must be 1 for relevance to be conserved; "
                f"got α = {self.alpha}, β = {self.beta}"
            )

    def cheaper(self) -> Rule:
        """α1β0 is the z⁺-rule: without negative parts that count nothing."""
        known = concrete(self.alpha) and concrete(self.beta)
        alone = known and np.all(np.equal(self.alpha, 1)) and not np.any(self.beta)
        return ZPlus(self.epsilon) if alone else self

    def unbounded(self, unit: Any) -> str | None:
        """With β, a lone small negative contribution takes β of the relevance."""
        without = concrete(self.beta) and not np.any(self.beta)
        return super().unbounded(unit) if without else "small negative parts get β of the relevance"

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """Both parts computed: the negative one as a difference would be rounding noise over ε."""
        w, b = layer.weights, layer.bias
        plus, minus = layer.plus() + positive(b), layer.minus() + negative(b)
        c_plus = divide(self.alpha * relevance, stabilise(plus, self.epsilon))
        c_minus = divide(-self.beta * relevance, stabilise(minus, self.epsilon))
        given = layer.share(c_plus, positive(w), negative(w))
        given += layer.share(c_minus, negative(w), positive(w))
        return Split(
            (given,),
            bias=lambda: total(positive(b) * c_plus + negative(b) * c_minus),
            stabiliser=lambda: (
                total(relevance - plus * c_plus - minus * c_minus)
                - total((1 - self.alpha + self.beta) * relevance)
            ),
            remainder=lambda: total((1 - self.alpha + self.beta) * relevance),
        )
