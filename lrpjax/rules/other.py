"""The rules that belong to no one family: pass on, end here, follow the primitive; and for sums."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from lrpjax.errors import PlanError
from lrpjax.rules import views
from lrpjax.rules.base import Array, Rule, Split, divide, is_tiny, rule, stabilise, total

_EPSILON = 1e-6


@rule
class Pass(Rule):
    """R = R′: relevance passes as it is.

    For units with one dependent operand of the output's shape. Where a function is not zero at
    zero, what an input of zero causes is no one's doing:

    Args:
        offset: "pass" gives the input all of R′ there too; "share" gives it
            (f(x) − f(0))/S(f(x))·R′ where f(0) ≠ 0 (and finite), the rest goes to the bias.

    Raises:
        PlanError: for another offset.

    References:
        Bach et al. 2015: the relevance of an activation is that of its pre-activation.
    """

    offset: str = "pass"

    def __post_init__(self) -> None:
        if self.offset not in ("pass", "share"):
            raise PlanError(f'Pass: offset is "pass" or "share"; got {self.offset!r}')

    def elementwise(self, layer: views.Elementwise, relevance: tuple[Array, ...]) -> Split:
        """Each function's relevance, less the share of f(0)."""
        if self.offset == "pass":
            return Split((sum(relevance),))
        given, bias, stabiliser = [], [], []
        for r, y, f0 in zip(relevance, layer.outputs, layer.at_zero, strict=True):
            if isinstance(f0, float) and (f0 == 0 or not math.isfinite(f0)):
                given.append(r)
                continue
            c = divide(r, stabilise(y, _EPSILON))
            moved = (f0 != 0) & jnp.isfinite(f0)
            finite = jnp.where(moved, f0, 0)
            given.append(jnp.where(moved, (y - finite) * c, r))
            bias.append(jnp.where(moved, finite * c, 0))
            stabiliser.append(jnp.where(moved, r - y * c, 0))
        return Split(
            (sum(given),),
            bias=lambda: sum(map(total, bias)) + 0.0,
            stabiliser=lambda: sum(map(total, stabiliser)) + 0.0,
        )

    def shift(self, layer: views.Shift, relevance: Array) -> Split:
        """The scale and shift are looked through."""
        return Split((relevance,))

    def normalisation(self, layer: views.Normalisation, relevance: Array) -> Split:
        """The layer is looked through."""
        return Split((relevance,))

    def affine(self, layer: views.Affine, relevance: Array) -> Split:
        """The layer is looked through; only where input and output have one shape."""
        return Split((relevance.reshape(layer.x.shape),))

    def routing(self, layer: views.Routing, relevance: tuple[Array, ...]) -> Split:
        """As for an affine layer: one input, one output, one shape."""
        return Split(relevance)

    def misfit(self, unit: Any) -> str | None:
        """Pass needs one operand of the output's shape to pass relevance to."""
        shapes = {v.shape for v in (*unit.inputs, *unit.outputs)}
        several = len(unit.inputs) != 1 or len(unit.outputs) != 1
        moved = unit.family == "affine" and any(fold.is_layout for fold in unit.spec.folds)
        fits = unit.family in ("elementwise", "normalisation")
        if not fits and (several or moved or len(shapes) != 1):
            return "Pass needs one dependent operand of the output's shape"
        return super().misfit(unit)

    def unbounded(self, unit: Any) -> str | None:
        """A shift, or a function that is not zero at zero, gives zero inputs relevance."""
        if unit.kind == "shift":
            return "the shift's share is passed to the input"
        if unit.family == "normalisation" and (unit.spec.centres or unit.spec.behind):
            return "the mean's and the shift's share is passed to the input"
        if unit.family != "elementwise":
            return None
        offsets = [f0 for f0 in unit.spec.at_zero if f0 != 0]
        shared = self.offset == "share" and all(f0 is None or math.isfinite(f0) for f0 in offsets)
        if not offsets or shared:
            slope = "(f(x) − f(0))/x" if offsets else "f(x)/x"
            return f"{slope} is, towards zero" if unit.spec.steep else None
        text = ", ".join("not known" if f0 is None else f"{f0:g}" for f0 in offsets)
        return f"f(0) is {text}"


@rule
class Stop(Rule):
    """R = 0: relevance ends here, and the ledger says how much. Fits every unit.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> f = lambda x: (x @ jnp.ones((2, 1)))[0]
        >>> lrpjax.lrp(f, lrpjax.rules.Stop())(jnp.ones(2))
        Array([0., 0.], dtype=float32)
    """

    def misfit(self, unit: Any) -> str | None:
        """Never."""
        return None


@rule
class Routing(Rule):
    """Relevance follows the primitive's own VJP: to the elements that were moved, or the largest.

    The only rule, beside Stop, of routes, and the default of maxima: pooling gives the first of
    equals everything, ``reduce_max`` and ``maximum`` share among equals. What constant operands
    contributed (a padding value, the other case of a ``where``) goes to the bias; what a gather
    finds out of bounds is a remainder.
    """

    def routing(self, layer: views.Routing, relevance: tuple[Array, ...]) -> Split:
        """The VJP, with the constants' part in the ledger."""
        given, constants = layer.pullback(relevance)
        split = Split(given, bias=lambda: sum(map(total, constants)) + 0.0)
        if not layer.drops:
            return split
        kept = sum(map(total, given)) + sum(map(total, constants))
        dropped = sum(map(total, relevance)) - kept
        return dataclasses.replace(split, remainder=lambda: dropped)

    lookup = routing  # an embedding's rows go back to the integers that asked for them


@rule
class Registered(Rule):
    """The relevance function registered for a primitive with :func:`lrpjax.register_rule`."""

    def custom(self, layer: views.Custom, relevance: tuple[Array, ...]) -> Split:
        """The function's own shares; what it gives to constants goes to the bias."""
        given, constants = layer.function(relevance)
        kept = sum(map(total, given)) + sum(map(total, constants))
        return Split(
            given,
            bias=lambda: sum(map(total, constants)) + 0.0,
            remainder=lambda: sum(map(total, relevance)) - kept,
        )


@rule
class Ratio(Rule):
    """On a sum: |a| / Σ|aᵢ| of R′ for each operand; where all are zero, the same to each.

    References:
        Otsuki et al. 2024, Layer-wise relevance propagation with conservation property for
        ResNet (ratio-based splitting).
    """

    def add(self, layer: views.Sum, relevance: Array) -> Split:
        """By magnitude; the constants' share goes to the bias."""
        sizes = [jnp.abs(a) for a in layer.operands]
        fixed = [jnp.abs(a) for a in layer.constants]
        whole = sum(sizes) + sum(fixed)
        nothing = is_tiny(whole)
        c = relevance / jnp.where(nothing, len(sizes), whole)
        return Split(
            tuple(jnp.where(nothing, 1, a) * c for a in sizes),
            bias=lambda: sum(total(jnp.where(nothing, 0, a) * c) for a in fixed) + 0.0,
        )


@rule
class Even(Rule):
    """On a sum: R′/n to each of its n dependent operands.

    References:
        Otsuki et al. 2024 (symmetric splitting).
    """

    def add(self, layer: views.Sum, relevance: Array) -> Split:
        """Whatever the operands are."""
        return Split((relevance / len(layer.operands),) * len(layer.operands))

    def unbounded(self, unit: Any) -> str | None:
        """Operands of zero get relevance."""
        return "zero operands get relevance"
