"""The rules for normalisations y = c ⊙ ν(S) + t, S = L(c²): c is x, or x minus its mean.

ν falls as a power, for LRN s·(k + αS)^−β; L sums squares over a window, or over whole axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
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
    moved,
    negative,
    positive,
    rule,
    stabilise,
    total,
)


@rule
class ConstantNormaliser(Rule):
    """The ε-rule with the normaliser held constant: R = x ⊙ Aᵀ[R′ / S(Ax + t)].

    A is the affine map that is left: the mean's subtraction, the scale and the normaliser's value.

    Args:
        epsilon: ε ≥ 0, in the units of the layer's output.

    Raises:
        PlanError: for a negative ε.

    References:
        Ali et al. 2022, XAI for transformers: better explanations through conservative
        propagation (LayerNorm); Achtibat et al. 2024, AttnLRP.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> rms = lambda x: (x / jnp.sqrt(jnp.mean(x**2) + 1e-6)).sum()
        >>> composite = lrpjax.Composite(normalisation=lrpjax.rules.ConstantNormaliser())
        >>> lrpjax.lrp(rms, composite)(jnp.array([3.0, 4.0]))
        Array([0.84852666, 1.1313692 ], dtype=float32)
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_nonnegative(self, epsilon=self.epsilon)

    def normalisation(self, layer: views.Normalisation, relevance: Array) -> Split:
        """The ε-rule on the affine map that is left."""
        c = divide(relevance, stabilise(layer.y, self.epsilon))
        return Split(
            (layer.x * layer.centred_back(layer.factor * c),),
            bias=lambda: total(layer.shift * c),
            stabiliser=lambda: total(relevance - layer.y * c),
        )


@rule
class Taylor(Rule):
    """The first-order Taylor expansion of a local renormalisation, around a lone x_k.

    The message from output k to input j is z_jk / Σ_i z_ik of R′_k, with, for
    y_k = x_k (k + S_k)^−β and S = L(x²),

    z_kk = x_k (k + L_kk x_k²)^−β and z_jk = −2β x_k x_j² L_kj (k + S_k)^−β−1 for j ≠ k.

    A shift behind takes its share as a bias does. Where a mean is subtracted first, the expansion
    is in c = x − mean(x), and the ε-rule goes from c to x.

    Args:
        offset: "center" leaves z_kk with x_k, as the authors' code does; "uniform" shares it
            among all of the window, as the generic formula says.
        epsilon: ε ≥ 0 of the divisions.
        alpha, beta: with either, the αβ-rule on the messages instead of the ε-rule: positive ones
            share α·R′, negative ones −β·R′. One of them alone sets the other: α − β = 1.

    Raises:
        PlanError: for another offset, negative values or α − β ≠ 1.

    References:
        Binder et al. 2016, Layer-wise relevance propagation for neural networks with local
        renormalization layers (arXiv:1604.00825), §3.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> from lrpjax.targets import all_outputs
        >>> lrn = lambda x: x / (1 + jnp.convolve(x**2, jnp.ones(3), "same")) ** 0.75
        >>> lrpjax.lrp(lrn)(jnp.array([2.0, 1.0, 0.0]), target=all_outputs()).round(4)
        Array([0.4633    , 0.31919998, 0.        ], dtype=float32)
    """

    offset: str = "center"
    epsilon: float = 1e-6
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.offset not in ("center", "uniform"):
            raise PlanError(f'Taylor: offset is "center" or "uniform"; got {self.offset!r}')
        alpha: Any = self.alpha
        beta: Any = self.beta
        given = {"alpha": alpha, "beta": beta}
        numbers = {name: value for name, value in given.items() if value is not None}
        check_nonnegative(self, epsilon=self.epsilon, **numbers)
        if alpha is None and beta is not None:
            alpha = 1 + beta
        if beta is None and alpha is not None:
            beta = alpha - 1
            check_nonnegative(self, beta=beta)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "beta", beta)
        if concrete(alpha) and concrete(beta) and not np.allclose(np.subtract(alpha, beta), 1.0):
            raise PlanError(
                f"Taylor: α − β must be 1 for relevance to be conserved; "
                f"got α = {alpha}, β = {beta}"
            )

    def normalisation(self, layer: views.Normalisation, relevance: Array) -> Split:
        """The messages to c, then the ε-rule from c to x."""
        expansion = layer.expansion()
        messages = _Messages(layer, expansion, self.offset == "uniform")
        if self.alpha is None:
            given, split = self._by_epsilon(messages, layer.shift, relevance)
        else:
            given, split = self._by_signs(messages, layer.shift, relevance)
        if not layer.centres:
            return dataclasses.replace(split, relevance=(layer.centred_back(given),))
        c = divide(given, stabilise(layer.c, self.epsilon))
        taken = split.stabiliser
        return dataclasses.replace(
            split,
            relevance=(layer.x * layer.centred_back(c),),
            stabiliser=lambda: taken() + total(given - layer.c * c),
        )

    def _by_epsilon(
        self, messages: _Messages, shift: Array, relevance: Array
    ) -> tuple[Array, Split]:
        whole = messages.constant + messages.linear + shift
        c = divide(relevance, stabilise(whole, self.epsilon))
        split = Split(
            (),
            bias=lambda: total(shift * c),
            stabiliser=lambda: total(relevance - whole * c),
        )
        return messages.back(c), split

    def _by_signs(self, messages: _Messages, shift: Array, relevance: Array) -> tuple[Array, Split]:
        alpha: Any = self.alpha
        beta: Any = self.beta
        plus, minus = messages.parts()
        plus, minus = plus + positive(shift), minus + negative(shift)
        c_plus = divide(alpha * relevance, stabilise(plus, self.epsilon))
        c_minus = divide(-beta * relevance, stabilise(minus, self.epsilon))
        lost = 1 - alpha + beta
        split = Split(
            (),
            bias=lambda: total(positive(shift) * c_plus + negative(shift) * c_minus),
            stabiliser=lambda: (
                total(relevance - plus * c_plus - minus * c_minus) - total(lost * relevance)
            ),
            remainder=lambda: total(lost * relevance),
        )
        return messages.back_by_sign(c_plus, c_minus), split

    def misfit(self, unit: Any) -> str | None:
        """The expansion must exist, and the αβ form needs the sign of every message."""
        if (missing := super().misfit(unit)) is not None:
            return missing
        if unit.spec.taylor is not None:
            return f"Taylor has no expansion here: {unit.spec.taylor}"
        if getattr(self, "alpha", None) is None:
            return None
        if not (unit.spec.signed or unit.spec.shifts or unit.spec.matrix):
            return "Taylor's αβ form needs weights of known sign"
        if self.offset == "uniform" and not unit.spec.shifts:
            return "Taylor's αβ form with a uniform offset needs a local window"
        return None

    def unbounded(self, unit: Any) -> str | None:
        """A uniform offset reaches zero inputs; β is taken whatever the negative part is."""
        if self.offset == "uniform":
            return "zero inputs get a share of the offset"
        if self.beta is not None and not (concrete(self.beta) and not np.any(self.beta)):
            return "small negative parts get β of the relevance"
        return None if unit.spec.signed else "weights of unknown sign"


class _Messages:
    """The messages z_jk of a Taylor expansion, never as a matrix.

    z_jk is a constant part, z_kk or its equal shares, and for j ≠ k a part linear in u = c².
    """

    def __init__(self, layer: views.Normalisation, expansion: views.Expansion, uniform: bool):
        self.expansion, self.uniform = expansion, uniform
        self.u = layer.c * layer.c
        self.constant = layer.c * expansion.own
        # Where c is 0 so is all that it sends; the slope of √S is infinite there.
        self.rate = jnp.where(layer.c == 0, 0, 2 * layer.c * expansion.slope)
        self.linear = self._linear(expansion.others)

    def back(self, c: Array) -> Array:
        """What each input gets where each output's messages are multiplied with c."""
        return self._constant_back(c) + self._times_u(self.expansion.others.back(self.rate * c))

    def _linear(self, two_way: views.TwoWay) -> Array:
        """The sum of an output's messages from others; none where squares overflow, and y is 0."""
        return jnp.where(self.rate == 0, 0, self.rate * two_way.apply(self.u))

    def _times_u(self, c: Array) -> Array:
        return jnp.where(c == 0, 0, self.u * c)

    def _constant_back(self, c: Array) -> Array:
        if not self.uniform:
            return self.constant * c
        return self.expansion.members.back(self.constant * c / self._count())

    def _count(self) -> Array:
        return jnp.maximum(jnp.asarray(self.expansion.count(), self.u.dtype), 1)

    # ------------------------------------------------------------ by sign

    def parts(self) -> tuple[Array, Array]:
        """The sums of the positive and of the negative messages of each output."""
        if self.uniform:
            each = [message for _, message in self._one_by_one()]
            return sum(map(positive, each)), sum(map(negative, each))
        plus, minus = positive(self.constant), negative(self.constant)
        for up, two_way in self._signed():
            linear = self._linear(two_way)
            plus, minus = plus + jnp.where(up, linear, 0), minus + jnp.where(up, 0, linear)
        return plus, minus

    def back_by_sign(self, plus: Array, minus: Array) -> Array:
        """What each input gets where positive and negative messages are multiplied with these."""
        given = jnp.zeros_like(self.u)
        if self.uniform:
            for shift, message in self._one_by_one():
                shares = positive(message) * plus + negative(message) * minus
                given += moved(shares, tuple(-n for n in shift))
            return given
        for up, two_way in self._signed():
            given += two_way.back(self.rate * jnp.where(up, plus, minus))
        own = self.constant * jnp.where(self.constant >= 0, plus, minus)
        return own + self._times_u(given)

    def _signed(self) -> Iterator[tuple[Array, views.TwoWay]]:
        """L by the sign of its elements, and whether the messages through it are positive."""
        up, (plus, minus) = self.rate >= 0, self.expansion.by_sign
        yield up, plus
        if minus is not None:
            yield ~up, minus

    def _one_by_one(self) -> Iterator[tuple[tuple[int, ...], Array]]:
        """The messages to each output from the input that stands ``shift`` before it."""
        share = self.constant / self._count()
        assert self.expansion.shifts is not None, "the rule fits local windows alone"
        for shift, weight in self.expansion.shifts.items():
            weight = jnp.broadcast_to(weight, self.u.shape).astype(self.u.dtype)
            there = moved(jnp.where(weight != 0, 1, 0).astype(self.u.dtype), shift)
            crossing = self.rate * moved(weight * self.u, shift) if any(shift) else 0
            yield shift, there * share + crossing
