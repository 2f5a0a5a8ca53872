"""What the rules of each family see of a unit: arrays and linear maps, no program.

All arithmetic is in at least float32: in float16, 0·(1/ε) is NaN.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from lrpjax.rules.base import negative, positive, wide_dtype

Array = Any
LinearMap = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Affine:
    """z = Wx + b, in the layout of the linear core's own output.

    Attributes:
        x: the input.
        z: the output, bias included.
        fold: () → W as the core's operand holds it, scales folded in; for a sum, the scale of
            each output (the weights themselves are one).
        bias: b, broadcastable to z.
        nonnegative: x has no negative element.
        apply: (x, W) → Wx without bias.
        transpose: (c, W) → Wᵀc.
        pull: c → Wᵀc for the layer's own W, the scales on c: W·s is never made.
        pair: (x₁, W₁, x₂, W₂) → W₁x₁ + W₂x₂, in one call where the core allows it.
        pair_transpose: (c, W₁, W₂) → (W₁ᵀc, W₂ᵀc), likewise.
        count: x → Σx over the inputs of each output: every weight is one.
        count_transpose: c → its transpose.
        one_example: an array like x, cut to one along the axes that the map doesn't mix, where
            it is the same along them (a single number, a bound without a batch axis).
        after: an array → the same, computed again once relevance is there: what a rule makes of
            it does not wait in memory from the forward pass on.
    """

    x: Array
    z: Array
    fold: Callable[[], Array]
    bias: Array
    nonnegative: bool
    apply: LinearMap
    transpose: LinearMap
    pull: Callable[[Array], Array]
    pair: Callable[[Array, Array, Array, Array], Array]
    pair_transpose: Callable[[Array, Array, Array], tuple[Array, Array]]
    count: Callable[[Array], Array]
    count_transpose: Callable[[Array], Array]
    one_example: Callable[[Array], Array]
    after: Callable[[Array], Array]

    @functools.cached_property
    def weights(self) -> Array:
        """W with all scales folded in."""
        return self.after(self.fold())

    def plus(self) -> Array:
        """x⁺W⁺ + x⁻W⁻: the positive contributions to each output, without the bias."""
        return self._parts(positive, negative)

    def minus(self) -> Array:
        """x⁺W⁻ + x⁻W⁺: the negative contributions to each output, without the bias."""
        return self._parts(negative, positive)

    def _parts(self, with_positive: Callable, with_negative: Callable) -> Array:
        x, w = self.after(self.x), self.weights
        if self.nonnegative:
            return self.apply(x, with_positive(w))
        return self.pair(positive(x), with_positive(w), negative(x), with_negative(w))

    def share(self, c: Array, for_positive: Array, for_negative: Array) -> Array:
        """x⁺ ⊙ W₁ᵀc + x⁻ ⊙ W₂ᵀc for the weights seen by positive and by negative inputs."""
        if self.nonnegative:
            return self.x * self.transpose(c, for_positive)
        up, down = self.pair_transpose(c, for_positive, for_negative)
        return positive(self.x) * up + negative(self.x) * down


@dataclasses.dataclass(frozen=True)
class Shift:
    """y = s·x + t, element by element.

    Attributes:
        y: the output.
        scaled: s·x.
        shift: t, broadcastable to y.
    """

    y: Array
    scaled: Array
    shift: Array


@dataclasses.dataclass(frozen=True)
class Sum:
    """y = Σ a_i, each operand with its sign already.

    Attributes:
        y: the output.
        operands: the dependent operands, a_i.
        constants: the constant ones.
    """

    y: Array
    operands: tuple[Array, ...]
    constants: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """y = f(x) for each of one or more functions of the same input.

    Attributes:
        outputs: the values of f.
        at_zero: f(0) for each, a number where it is known, else an array.
    """

    outputs: tuple[Array, ...]
    at_zero: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """y = c ⊙ ν(S) + t with S = L(c²), in the layout of y: c is x, or x minus its mean.

    Attributes:
        x: the input.
        y: the output.
        c: what is scaled.
        shift: t, broadcastable to y.
        factor: ν(S), constant scales included.
        centred_back: relevance at c over c → the same at x: the transpose of the centring.
        expansion: what the Taylor rule needs, computed when it is called.
        centres: whether c is x minus its mean.
    """

    x: Array
    y: Array
    c: Array
    shift: Array
    factor: Array
    centred_back: Callable[[Array], Array]
    expansion: Callable[[], Expansion]
    centres: bool


@dataclasses.dataclass(frozen=True)
class TwoWay:
    """A linear map and its transpose."""

    apply: Callable[[Array], Array]
    back: Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Expansion:
    """The derivatives of a normalisation, and its linear map L of the squares u = c².

    Attributes:
        own: ν where u_k is alone: ν(L_kk u_k).
        slope: ∂ν/∂S.
        others: u → Σ_{j≠k} L_kj u_j for each output k, and its transpose.
        by_sign: the same for the positive elements of L alone, and for the negative ones; None
            where there are none of those.
        members: a → Σ over the window of each output, without weights, and its transpose.
        count: how many elements the window of each output has.
        shifts: the elements of L one diagonal at a time, {shift: weight}: output o + shift takes
            weight[o]·u[o]; None where they are not all known.
    """

    own: Array
    slope: Array
    others: TwoWay
    by_sign: tuple[TwoWay, TwoWay | None]
    members: TwoWay
    count: Callable[[], Array]
    shifts: Mapping[tuple[int, ...], Array] | None


@dataclasses.dataclass(frozen=True)
class Product:
    """y = a·b for two dependent operands, element by element or summed up by a contraction.

    Attributes:
        operands: a and b.
        y: the output.
        gate: which operand is a gate; None where both or neither are.
        bilinear: a contraction.
        back: c like y → (Σ c·b for each element of a, Σ c·a for each element of b).
    """

    operands: tuple[Array, Array]
    y: Array
    gate: int | None
    bilinear: bool
    back: Callable[[Array], tuple[Array, Array]]


@dataclasses.dataclass(frozen=True)
class Softmax:
    """s = exp(x) / Σ exp(x) along some axes.

    Attributes:
        x: the logits, before shift and masks.
        s: the output.
        gathered: an array like s → its sum along the axes, broadcast back.
        back: an array like s → in the layout of x, 0 for masked elements.
    """

    x: Array
    s: Array
    gathered: Callable[[Array], Array]
    back: Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Routing:
    """A primitive whose own VJP says where relevance goes, or a function to be linearised.

    Attributes:
        inputs: the operands that carry relevance.
        outputs: the results.
        pullback: relevance of the results → relevance of (the inputs, the constant operands).
        drops: some results may come from nowhere (a gather out of bounds).
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    pullback: Callable[[tuple[Array, ...]], tuple[tuple[Array, ...], tuple[Array, ...]]]
    drops: bool = False


@dataclasses.dataclass(frozen=True)
class Custom:
    """A primitive with a registered relevance function.

    Attributes:
        function: relevance of the results → relevance of (the inputs, the constant operands).
    """

    function: Callable[[tuple[Array, ...]], tuple[tuple[Array, ...], tuple[Array, ...]]]


def at_least_float32(a: Array) -> Array:
    """The array in float32, or in its own precision where that is higher."""
    return a.astype(wide_dtype(a.dtype))
