"""The path of the normaliser: a chain of scalar functions, a linear program, squares."""

from __future__ import annotations

import dataclasses

from lrpjax.plan.normalisation.dataflow import LAYOUTS, Centre, Dataflow
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

    def statistic(self, value: Value) -> Statistic | None:
        """The sum of squares that a value is, or the variance."""
        equation = self.producer.get(value)
        if equation is None:
            return None
        total, mean = value, None
        if equation.name == "sub" and (squared := self.squared(equation.inputs[1])) is not None:
            first = equation.inputs[0]
            assert isinstance(first, Value)
            total, mean = first, squared
        if (linear := self._linear(total)) is None:
            return None
        equations, squares = linear
        centres = [self.centre(self.live(square)[0]) for square in squares]
        of = centres[0]
        if mean is not None:
            mean = self.strip(mean)
            if of.mean is not None or not self.is_mean(mean, of.x):
                return None
            of = dataclasses.replace(of, mean=mean)
        elif not all(self.equal(of, other) for other in centres[1:]):
            return None
        if not any(self.mixes(e) for e in equations):
            return None
        return Statistic(value, total, equations, squares, of)

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
            if self.is_square(equation):
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
