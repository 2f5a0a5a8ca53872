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

from lrpjax.plan.affine import as_fold, is_layout
from lrpjax.plan.dataflow import CUTS, PERMUTES, SUMS, Centre
from lrpjax.plan.elementwise import CASTS, is_scalar
from lrpjax.plan.graph import Graph
from lrpjax.plan.normalisation.expansion import expand, falls_as_a_power
from lrpjax.plan.normalisation.squares import Squares, Statistic
from lrpjax.plan.specs import Fold, NormalisationSpec, Square
from lrpjax.trace import Equation, Value


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


class _Search(Squares):
    """Both paths, and the unit around them."""

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
        chain, start = self.chain(normaliser)
        for scaled in (False, True):
            statistic = self.statistic(start, scaled)
            if statistic is None or (found := self._signal(signal, statistic.of)) is None:
                continue
            return self._unit(join, position, chain, statistic, *found)
        return None

    def _unit(
        self,
        join: Equation,
        position: int,
        chain: tuple[Equation, ...],
        statistic: Statistic,
        centre: Centre,
        scales: tuple[Fold, ...],
    ) -> Normalisation | None:
        for x in self._inputs(centre):
            equations = self.between(join.outputs[0], x)
            centring = self.between(centre.value, x)
            squares = self._squares(statistic, x)
            front = self._path(centre.value, x)
            if equations is not None and squares is not None:
                break
        else:
            return None
        if centring is None or front is None:
            return None
        behind = self._behind(join)
        spec = NormalisationSpec(
            join=join,
            normaliser=position,
            centred=centre.value,
            centring=centring,
            front=tuple(e for e, _ in front if e.name in PERMUTES),
            squares=squares,
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

    def _signal(self, signal: Value, of: Centre) -> tuple[Centre, tuple[Fold, ...]] | None:
        """What the normaliser scales, and the constant factors that scale it too."""
        scales: list[Fold] = []
        value = signal
        while True:
            centre = self.centre(value)
            if self.equal(centre, of):
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

    def _inputs(self, centre: Centre) -> Iterator[Value]:
        """What may be x: in the layout of the signal, or what that was laid out from.

        Under vmap a program may sum squares first and change their layout after.
        """
        x = self._uncentred(centre)
        yield x
        equation = self.producer.get(x)
        while equation is not None and equation.name in (PERMUTES | CASTS):
            (x,) = self.live(equation)
            yield x
            equation = self.producer.get(x)

    def _uncentred(self, centre: Centre) -> Value:
        """X in the layout of the signal: only casts stand between."""
        value = centre.value
        if centre.mean is not None:
            taken = self.producer[self.strip(value)]
            while len(self.live(taken)) == 1:  # zero is subtracted too
                taken = self.producer[self.strip(self.live(taken)[0])]
            value = self.live(taken)[0]
        equation = self.producer.get(value)
        while equation is not None and (equation.name in CASTS or self.adds_zero(equation)):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    def _squares(self, statistic: Statistic, x: Value) -> tuple[Square, ...] | None:
        """For each equation that squares, how its operands come from x."""
        squares: list[Square] = []
        for equation in statistic.squares:
            live = self.live(equation)
            paths = [self._path(operand, x) for operand in (live[0], live[-1])]
            if paths[0] is None or paths[1] is None:
                return None
            squares.append(Square(equation.outputs[0], paths[0], paths[1]))
        return tuple(squares)

    def _path(self, value: Value, x: Value) -> tuple[tuple[Equation, int], ...] | None:
        """What moves and scales x on its way to what is squared; a mean is passed by."""
        path: list[tuple[Equation, int]] = []
        while value is not x:
            equation = self.producer.get(value)
            live = [] if equation is None else self.live(equation)
            if equation is None or not live:
                return None
            if self.leads(equation, scaled=True):
                path.insert(0, (equation, equation.inputs.index(live[0])))
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
        """Scales and shifts behind, changes of layout between them, up to the last parameter.

        A scalar that follows is left: it may feed a nonlinearity.
        """
        chain: list[Fold] = []
        keep = 0
        value = join.outputs[0]
        while (equation := self.graph.only_consumer(value)) is not None:
            fold = as_fold(equation, self.facts)
            if fold is None and is_layout(equation, value):
                fold = Fold(equation, None, 0)
            if fold is None or self.graph.claimed(equation):
                break
            chain.append(fold)
            keep = keep if is_scalar(fold.constant, self.facts) else len(chain)
            value = equation.outputs[0]
        return tuple(chain[:keep])

    def _slides(self, equation: Equation) -> bool:
        """Whether it belongs to a window rather than to a sum over whole axes."""
        mixes = self.mixes(equation) and equation.name not in SUMS
        return mixes or equation.name in CUTS
