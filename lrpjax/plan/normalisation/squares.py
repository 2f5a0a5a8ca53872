"""The path of the normaliser: a chain of scalar functions, a linear program, squares."""

from __future__ import annotations

import dataclasses

from lrpjax.plan.dataflow import LAYOUTS, Centre, Dataflow
from lrpjax.primitives import Kind
from lrpjax.trace import Call, Equation, Value

_LINEAR_KINDS = frozenset({Kind.SUM, Kind.CONTRACTION, Kind.ADD, Kind.SCALE, Kind.ROUTE})
_SCALAR_KINDS = frozenset({Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE, Kind.SELECT})


@dataclasses.dataclass(frozen=True, eq=False)
class Statistic:
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
    of: Centre


class Squares(Dataflow):
    """From a normaliser back to the squares it is made of."""

    def chain(self, normaliser: Value) -> tuple[tuple[Equation, ...], Value]:
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

    def statistic(self, value: Value, scaled: bool) -> Statistic | None:
        """The variance that a value is, or the sum of squares.

        Args:
            value: where the normaliser's chain begins.
            scaled: look for x behind constant factors of what is squared.
        """
        return self._variance(value, scaled) or self._total(value, scaled)

    def _total(self, value: Value, scaled: bool) -> Statistic | None:
        """A linear map of the squares of one value."""
        if (found := self._linear(value, scaled)) is None:
            return None
        linear, squares = found
        centres = [self.centre(self.origin(self.live(e)[0], scaled)) for e in squares]
        alike = all(self.equal(centres[0], other) for other in centres[1:])
        if not alike or not any(self.mixes(e) for e in linear):
            return None
        return Statistic(value, value, linear, squares, centres[0])

    def _variance(self, value: Value, scaled: bool) -> Statistic | None:
        """The mean of the squares minus the square of the mean."""
        equation = self.producer.get(value)
        if equation is None or equation.name != "sub" or len(self.live(equation)) != 2:
            return None
        first, second = self.live(equation)
        squared = self.producer.get(self.strip(second))
        total = self._total(first, scaled)
        if total is None or squared is None or not self.is_square(squared):
            return None
        mean = self.strip(self.live(squared)[0])
        if total.of.mean is not None or not self.is_mean(mean, total.of.x):
            return None
        return dataclasses.replace(total, value=value, of=dataclasses.replace(total.of, mean=mean))

    def _linear(
        self, total: Value, scaled: bool
    ) -> tuple[tuple[Equation, ...], tuple[Equation, ...]] | None:
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
            if self.is_square(equation, scaled):
                squares.add(equation)
                continue
            if not self._is_linear(equation):
                return None
            linear.add(equation)
            pending += self.live(equation)
        if not squares:
            return None
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
