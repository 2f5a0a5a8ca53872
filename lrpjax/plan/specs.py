"""What the rules of each family need to know of a unit."""

from __future__ import annotations

import dataclasses

from lrpjax.trace import Atom, Equation, Value

#: The equations that fold, by what they do.
SHIFTS = frozenset({"add", "add_any", "sub"})
SCALES = frozenset({"mul", "div", "neg"})


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """One equation that folds into the linear core before it.

    Attributes:
        constant: the atom it multiplies with or adds; None for changes of layout and negation.
        live: which operand of the equation is the live one.
        varies: the axes along which the constant's elements may differ.
    """

    equation: Equation
    constant: Atom | None
    live: int
    varies: frozenset[int] = frozenset()

    @property
    def is_layout(self) -> bool:
        """Whether it only moves or casts elements."""
        return self.equation.name not in SHIFTS | SCALES

    @property
    def is_shift(self) -> bool:
        """Whether it adds its constant."""
        return self.equation.name in SHIFTS


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AffineSpec:
    """z = (W·s)x + b: a linear core, the zero pads in front of it and what folds behind it.

    Attributes:
        core: the linear equation.
        operand: which of its inputs is the dependent one.
        weights: which of its inputs holds the weights; None for sums.
        pads: constant-zero pads in front, in order.
        gathers: the sums over devices right behind the core, of which each holds a part, and casts
            in front of them.
        folds: scales, shifts and changes of layout behind, in order.
        signed: whether the signs of the weights are known (a sum's are), as the signed rules need.
        nonnegative: the input has no negative element.
        overlapping: a convolution whose windows overlap.
    """

    core: Equation
    operand: int
    weights: int | None
    pads: tuple[Equation, ...] = ()
    gathers: tuple[Equation, ...] = ()
    folds: tuple[Fold, ...] = ()
    signed: bool = True
    nonnegative: bool = False
    overlapping: bool = False


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ShiftSpec:
    """y = s·x + t with constant s, t: scales and shifts with no core in front."""

    folds: tuple[Fold, ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AddSpec:
    """A signed sum of operands; constants among them are part of the bias.

    ``terms`` are (sign, atom) in the order of the program.
    """

    terms: tuple[tuple[int, Atom], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ElementwiseSpec:
    """A scalar function of each element.

    Attributes:
        at_zero: f(0) of each output where it is known when the program is traced, else None.
        rectifies: f is 0 for every negative argument, as far as samples show.
        steep: (f(x) − f(0))/x grows without bound towards zero, as far as samples show.
        gates: for each output, whether it is bounded and never negative, as far as samples show.
        keeps: for each output, whether it is never negative for arguments from 0 to 1.
    """

    at_zero: tuple[float | None, ...]
    rectifies: bool = False
    steep: bool = False
    gates: tuple[bool, ...] = ()
    keeps: tuple[bool, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Square:
    """A value that is the square of x, moved and scaled: the product of two images of it.

    Attributes:
        value: the square.
        path: the equations from x to one factor, each with the place of its live operand.
        other: those to the other factor; mostly the same.
    """

    value: Value
    path: tuple[tuple[Equation, int], ...]
    other: tuple[tuple[Equation, int], ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NormalisationSpec:
    """y = s·c·ν(S) + t with S = L(c²): c is x, or x minus its mean; L sums squares.

    Attributes:
        join: the equation that multiplies c with its factor, or divides it by its normaliser.
        normaliser: which operand of it that is.
        centred: c, as the program holds it; x itself where no mean is taken.
        centring: the equations from x to c, changes of layout among them.
        front: those changes of layout.
        squares: the squares that L sums up.
        linear: the equations of L.
        total: what they make, L(c²).
        statistic: the value that the normaliser is a function of: the total, or the variance that
            a mean's square has been subtracted from.
        chain: the equations from the statistic to the normaliser.
        scales: constant factors between c and the join.
        inside: scales that were multiplied into the normaliser.
        behind: the scales and shifts behind the join.
        local: a window slides over the squares; otherwise they are summed over whole axes.
        centres: a mean is taken.
        adds: constants are added between the squares.
        taylor: why the Taylor rule can't be applied, or None.
        shifts: every element of L is known by how far it moves what it counts.
        signed: the elements of L are known not to be negative.
        matrix: L is one matrix or convolution, of which only the diagonal is known.
    """

    join: Equation
    normaliser: int
    centred: Value
    centring: tuple[Equation, ...]
    front: tuple[Equation, ...]
    squares: tuple[Square, ...]
    linear: tuple[Equation, ...]
    total: Value
    statistic: Value
    chain: tuple[Equation, ...]
    scales: tuple[Fold, ...]
    inside: tuple[Fold, ...]
    behind: tuple[Fold, ...]
    local: bool
    centres: bool
    adds: bool = False
    taylor: str | None = None
    shifts: bool = False
    signed: bool = True
    matrix: bool = False

    @property
    def folds(self) -> tuple[Fold, ...]:
        """All constants that scale or shift the result."""
        return (*self.scales, *self.inside, *self.behind)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SoftmaxSpec:
    """s = exp(x) / Σ exp(x), the shift by the maximum and masks included.

    Attributes:
        path: the equations from x to s, each with the place of its live operand.
        place: how many of them lead to the value that is summed up, or to its logarithm.
        source: the exponential that is summed up.
        linear: the equations from it to the denominator, or to its logarithm.
        total: that denominator.
    """

    path: tuple[tuple[Equation, int], ...]
    place: int
    source: Value
    linear: tuple[Equation, ...]
    total: Value


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ProductSpec:
    """The product of two dependent values, element by element or a contraction.

    Attributes:
        core: the equation that multiplies.
        gate: which operand is a gate and the other a signal; None where both or neither are.
        bilinear: it sums over products.
    """

    core: Equation
    gate: int | None
    bilinear: bool


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LookupSpec:
    """Rows of a constant table taken by explained integers, or the integers as floats.

    Attributes:
        take: the equation that takes, or casts, them.
        path: the equations that make its indices from the integers.
        indices: the indices that were made from the integers.
        source: the integers.
        companion: the zeros that relevance goes to in their place.
    """

    take: Equation
    path: tuple[Equation, ...]
    indices: tuple[Atom, ...]
    source: Value
    companion: Value


@dataclasses.dataclass(frozen=True)
class EndSpec:
    """Where relevance ends at no equation: a constant output, the initial carry of a loop.

    Attributes:
        label: which of them, for a person to read.
        atom: the value that it ends at.
    """

    label: str
    atom: Atom
