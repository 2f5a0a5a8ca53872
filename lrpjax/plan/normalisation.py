"""Normalisations: x, or x minus its mean, times a falling power of k + L(x²), L a linear map.

Found from the multiplication or division that joins the two paths, going back. The path of the
normaliser is a chain of scalar functions down to a *statistic*, then a linear program down to
squares. The path of the signal is a chain of constant factors down to x, or to x minus its mean.
How the linear program is written (a window, a cumulative sum, a matrix, slices, a mean) does not
matter: it is kept as it is. Whether two values are equal is asked of :mod:`.numbering`, because
a program may compute one mean twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lrpjax.plan.affine import as_fold
from lrpjax.plan.elementwise import CASTS, is_scalar
from lrpjax.plan.facts import State
from lrpjax.plan.graph import Graph
from lrpjax.plan.numbering import Numbering
from lrpjax.plan.statistic import expand, falls_as_a_power
from lrpjax.plan.units import Fold, NormalisationSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Call, Equation, Value

LAYOUTS = CASTS | {"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim"}
_CUTS = frozenset({"pad", "slice", "dynamic_slice", "concatenate", "stack", "gather"})
_LINEAR_KINDS = frozenset({Kind.SUM, Kind.CONTRACTION, Kind.ADD, Kind.SCALE, Kind.ROUTE})
_SCALAR_KINDS = frozenset({Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE, Kind.SELECT})


@dataclasses.dataclass(frozen=True, eq=False)
class Normalisation:
    """What one unit is made of.

    Attributes:
        equations: all between x and the output, in the order of the program.
        x: what is normalised.
        output: the result, scaled and shifted.
    """

    spec: NormalisationSpec
    equations: tuple[Equation, ...]
    x: Value
    output: Value


def find(graph: Graph) -> Iterator[Normalisation]:
    """All normalisations of a region, in the order of the program."""
    search = _Search(graph)
    for equation in graph.region.equations:
        if not graph.claimed(equation) and (found := search.at(equation)) is not None:
            yield found


@dataclasses.dataclass(frozen=True, eq=False)
class _Centre:
    """x − mean(x), or x itself: what is squared, and what is scaled.

    Attributes:
        value: it, as the program holds it.
        x: what the mean is taken of, changes of layout stripped.
        mean: the mean, changes of layout stripped; None where none is taken.
    """

    value: Value
    x: Value
    mean: Value | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Statistic:
    """What the normaliser is a function of.

    Attributes:
        value: the variance, or the sum of squares.
        total: the sum of squares; the variance is this minus the square of the mean.
        linear: the equations from the squares to the total.
        squares: those that square.
        of: what is squared, in the sense of the formula: the variance is of x minus its mean.
    """

    value: Value
    total: Value
    linear: tuple[Equation, ...]
    squares: tuple[Equation, ...]
    of: _Centre


class _Search:
    def __init__(self, graph: Graph):
        self.graph, self.facts, self.producer = graph, graph.facts, graph.producer
        self._numbering: Numbering | None = None

    def same(self, a: Atom, b: Atom) -> bool:
        """Whether two values are equal; numbered only once a candidate is met."""
        if self._numbering is None:
            self._numbering = Numbering(self.graph)
        return a is b or self._numbering.same(a, b)

    def live(self, equation: Equation) -> list[Value]:
        """The live operands of an equation."""
        return [a for a in equation.inputs if isinstance(a, Value) and self.facts[a].live]

    def at(self, join: Equation) -> Normalisation | None:
        """The normalisation that a multiplication or division completes."""
        if join.name not in ("mul", "div") or len(self.live(join)) != 2:
            return None
        if not self.facts[join.outputs[0]].live or join.inputs[0] is join.inputs[1]:
            return None
        for position in (1,) if join.name == "div" else (1, 0):
            if (found := self._joined(join, position)) is not None:
                return found
        return None

    def _joined(self, join: Equation, position: int) -> Normalisation | None:
        normaliser, signal = join.inputs[position], join.inputs[1 - position]
        assert isinstance(normaliser, Value) and isinstance(signal, Value)
        chain, start = self._chain(normaliser)
        if (statistic := self._statistic(start)) is None:
            return None
        if (scaled := self._signal(signal, statistic.of)) is None:
            return None
        centre, scales = scaled
        x = self._input(centre)
        equations = self._between(join.outputs[0], x)
        centring = self._between(centre.value, x)
        paths = [self._path(square, x) for square in statistic.squares]
        if equations is None or centring is None or None in paths:
            return None
        outputs = [square.outputs[0] for square in statistic.squares]
        behind = self._behind(join)
        spec = NormalisationSpec(
            join=join,
            normaliser=position,
            centred=centre.value,
            centring=centring if centre.mean is not None else (),
            squares=tuple(zip(outputs, (p for p in paths if p is not None), strict=True)),
            linear=statistic.linear,
            total=statistic.total,
            statistic=statistic.value,
            chain=chain,
            scales=scales,
            inside=self._inside(chain),
            behind=behind,
            local=any(self._slides(e) for e in statistic.linear),
            centres=centre.mean is not None,
        )
        if not falls_as_a_power(spec, self.graph):
            return None
        spec = expand(spec, self.graph)
        last = behind[-1].equation if behind else join
        everything = (*equations, *(fold.equation for fold in behind))
        return Normalisation(spec, everything, x, last.outputs[0])

    # ------------------------------------------------------------ the normaliser

    def _chain(self, normaliser: Value) -> tuple[tuple[Equation, ...], Value]:
        """The scalar functions and changes of layout that lead to the normaliser, from one value.

        Going back, the last value that all of them pass.
        """
        found: list[Equation] = []
        chain: tuple[Equation, ...] = ()
        start = normaliser
        front = [normaliser]
        while front:
            value = max(front, key=self._place)
            equation = self.producer.get(value)
            if equation is None or not self._is_scalar(equation):
                break
            found.insert(0, equation)
            front = list(
                dict.fromkeys([*(v for v in front if v is not value), *self.live(equation)])
            )
            if len(front) == 1:
                chain, start = tuple(found), front[0]
        return chain, start

    def _place(self, value: Value) -> int:
        equation = self.producer.get(value)
        return -1 if equation is None else self.graph.order[equation]

    def _is_scalar(self, equation: Equation) -> bool:
        if isinstance(equation, Call) or self.graph.claimed(equation) or not self.live(equation):
            return False
        return equation.kind in _SCALAR_KINDS or equation.name in LAYOUTS

    def _statistic(self, value: Value) -> _Statistic | None:
        """The sum of squares that a value is, or the variance."""
        equation = self.producer.get(value)
        if equation is None:
            return None
        total, mean = value, None
        if equation.name == "sub" and (squared := self._squared(equation.inputs[1])) is not None:
            first = equation.inputs[0]
            assert isinstance(first, Value)
            total, mean = first, squared
        if (linear := self._linear(total)) is None:
            return None
        equations, squares = linear
        centres = [self._centre(self.live(square)[0]) for square in squares]
        of = centres[0]
        if mean is not None:
            mean = self._strip(mean)
            if of.mean is not None or not self._is_mean(mean, of.x):
                return None
            of = dataclasses.replace(of, mean=mean)
        elif not all(self._equal(of, other) for other in centres[1:]):
            return None
        if not any(self._mixes(e) for e in equations):
            return None
        return _Statistic(value, total, equations, squares, of)

    def _linear(self, total: Value) -> tuple[tuple[Equation, ...], tuple[Equation, ...]] | None:
        """The linear program that makes a value, and the equations that square in front of it."""
        linear: set[Equation] = set()
        squares: set[Equation] = set()
        pending = [total]
        while pending:
            equation = self.producer.get(pending.pop())
            if equation is None or self.graph.claimed(equation):
                return None
            if equation in linear or equation in squares:
                continue
            if self._is_square(equation):
                squares.add(equation)
                continue
            if not self._is_linear(equation):
                return None
            linear.add(equation)
            pending += self.live(equation)
        order = self.graph.order.__getitem__
        return tuple(sorted(linear, key=order)), tuple(sorted(squares, key=order))

    def _is_linear(self, equation: Equation) -> bool:
        live = self.live(equation)
        if equation.kind not in _LINEAR_KINDS or not live or isinstance(equation, Call):
            return False
        if equation.kind is Kind.ROUTE:  # what stands beside the squares may only be zero
            others = (a for a in equation.inputs if a not in live and a.dtype == live[0].dtype)
            return all(self.facts[a].value == 0 for a in others)
        if equation.kind is Kind.ADD:
            return True
        return len(live) == 1 and (equation.name != "div" or equation.inputs[0] is live[0])

    def _is_square(self, equation: Equation) -> bool:
        if equation.name == "square":
            return True
        if equation.name == "integer_pow":
            return equation.params["y"] == 2
        if equation.name == "pow":
            return self.facts[equation.inputs[1]].value == 2
        return equation.name == "mul" and self.same(*equation.inputs)

    def _squared(self, atom: Atom) -> Value | None:
        """What a value is the square of, changes of layout stripped from the square."""
        equation = self.producer.get(self._strip(atom)) if isinstance(atom, Value) else None
        if equation is None or not self._is_square(equation) or not self.live(equation):
            return None
        return self.live(equation)[0]

    # ------------------------------------------------------------ the signal

    def _signal(self, signal: Value, of: _Centre) -> tuple[_Centre, tuple[Fold, ...]] | None:
        """What the normaliser scales, and the constant factors that scale it too."""
        scales: list[Fold] = []
        value = signal
        while True:
            centre = self._centre(value)
            if self._equal(centre, of):
                return centre, tuple(scales)
            equation = self.producer.get(value)
            fold = None if equation is None else as_fold(equation, self.facts)
            if equation is None or self.graph.claimed(equation):
                return None
            if equation.name in CASTS and self.live(equation):
                value = self.live(equation)[0]
            elif fold is not None and not fold.is_shift:
                scales.insert(0, fold)
                (value,) = self.live(equation)
            else:
                return None

    def _centre(self, value: Value) -> _Centre:
        """A value as x minus its mean, where it is one."""
        equation = self.producer.get(self._strip(value))
        if equation is not None and equation.name in ("sub", "add"):
            live = self.live(equation)
            others = [a for a in equation.inputs if a not in live]
            if (
                len(live) == 1
                and self.facts[others[0]].value == 0
                and live[0] is equation.inputs[0]
            ):
                return dataclasses.replace(self._centre(live[0]), value=value)
            if equation.name == "sub" and len(live) == 2:
                x, mean = map(self._strip, live)
                if self._is_mean(mean, x):
                    return _Centre(value, x, mean)
        return _Centre(value, self._strip(value), None)

    def _equal(self, a: _Centre, b: _Centre) -> bool:
        if (a.mean is None) != (b.mean is None) or not self.same(a.x, b.x):
            return False
        return a.mean is None or b.mean is None or self.same(a.mean, b.mean)

    def _is_mean(self, mean: Value, x: Value) -> bool:
        """Whether a value is a sum over axes of another, at most scaled."""
        value, sums = mean, False
        while not self.same(value, x):
            equation = self.producer.get(value)
            live = [] if equation is None else self.live(equation)
            if equation is None or len(live) != 1 or isinstance(equation, Call):
                return False
            fold = as_fold(equation, self.facts)
            scales = fold is not None and not fold.is_shift
            sums = sums or equation.name == "reduce_sum"
            if not (scales or equation.name in LAYOUTS or equation.name == "reduce_sum"):
                return False
            (value,) = live
        return sums

    def _strip(self, value: Atom) -> Value:
        """The value in front of changes of layout and casts."""
        assert isinstance(value, Value)
        equation = self.producer.get(value)
        while equation is not None and equation.name in LAYOUTS and self.live(equation):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    # ------------------------------------------------------------ the unit around them

    def _input(self, centre: _Centre) -> Value:
        """X in the layout of the signal: only casts stand between."""
        value = centre.value
        if centre.mean is not None:
            taken = self.producer[self._strip(value)]
            while len(self.live(taken)) == 1:  # zero is subtracted too
                taken = self.producer[self._strip(self.live(taken)[0])]
            value = self.live(taken)[0]
        equation = self.producer.get(value)
        while equation is not None and (equation.name in CASTS or self._adds_zero(equation)):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    def _adds_zero(self, equation: Equation) -> bool:
        others = [a for a in equation.inputs if not self.facts[a].live]
        zero = bool(others) and self.facts[others[0]].value == 0
        return equation.name in ("add", "sub") and len(self.live(equation)) == 1 and zero

    def _between(self, end: Value, x: Value) -> tuple[Equation, ...] | None:
        """The live equations between two values; None where another live value comes in."""
        found: set[Equation] = set()
        pending = [end]
        while pending:
            value = pending.pop()
            if value is x:
                continue
            equation = self.producer.get(value)
            if equation is None or self.graph.claimed(equation):
                return None
            if equation not in found:
                found.add(equation)
                pending += self.live(equation)
        for equation in tuple(found):
            found |= self._guards(equation, found)
        return tuple(sorted(found, key=self.graph.order.__getitem__))

    def _guards(self, equation: Equation, found: set[Equation]) -> set[Equation]:
        """What compares values of the unit for it, the predicate of a guard against zero."""
        guards: set[Equation] = set()
        pending = [a for a in equation.inputs if self.facts[a].state is State.STOPPED]
        while pending:
            producer = self.producer.get(pending.pop())
            if producer is None or self.graph.claimed(producer):
                return set()
            if producer not in found:
                guards.add(producer)
                pending += (a for a in producer.inputs if self.facts[a].state is not State.CONSTANT)
        return guards

    def _path(self, square: Equation, x: Value) -> tuple[Equation, ...] | None:
        """The changes of layout from x to what is squared, or to what its mean is taken from."""
        path: list[Equation] = []
        value = self.live(square)[0]
        while value is not x:
            equation = self.producer.get(value)
            live = [] if equation is None else self.live(equation)
            if equation is None or not live:
                return None
            if equation.name in LAYOUTS:
                path.insert(0, equation)
            elif equation.name not in ("sub", "add"):
                return None
            value = live[0]
        return tuple(path)

    def _inside(self, chain: tuple[Equation, ...]) -> tuple[Fold, ...]:
        """Scales that were multiplied into the normaliser, as LayerNorm's is."""
        folds = (as_fold(equation, self.facts) for equation in chain)
        return tuple(
            fold
            for fold in folds
            if fold is not None and not fold.is_shift and not is_scalar(fold.constant, self.facts)
        )

    def _behind(self, join: Equation) -> tuple[Fold, ...]:
        """Scales and shifts behind, up to the last one that is a parameter or an array.

        A scalar that follows is left: it may feed a nonlinearity.
        """
        chain: list[Fold] = []
        keep = 0
        value = join.outputs[0]
        while (equation := self.graph.only_consumer(value)) is not None:
            fold = as_fold(equation, self.facts)
            if fold is None or self.graph.claimed(equation):
                break
            chain.append(fold)
            keep = keep if is_scalar(fold.constant, self.facts) else len(chain)
            value = equation.outputs[0]
        return tuple(chain[:keep])

    def _mixes(self, equation: Equation) -> bool:
        """Whether an equation sums over elements."""
        sums = equation.kind in (Kind.SUM, Kind.CONTRACTION)
        return sums or (equation.kind is Kind.ADD and len(self.live(equation)) > 1)

    def _slides(self, equation: Equation) -> bool:
        """Whether it belongs to a window rather than to a sum over whole axes."""
        mixes = self._mixes(equation) and equation.name != "reduce_sum"
        return mixes or equation.name in _CUTS
