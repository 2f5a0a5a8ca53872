"""What normalisations are made of: changes of layout, means, squares, values that are equal."""

from __future__ import annotations

import dataclasses

from lrpjax.plan.affine import as_fold
from lrpjax.plan.elementwise import CASTS
from lrpjax.plan.graph import Graph
from lrpjax.plan.numbering import Numbering
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Call, Equation, Value

LAYOUTS = CASTS | {"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim"}


@dataclasses.dataclass(frozen=True, eq=False)
class Centre:
    """x − mean(x), or x itself: what is squared, and what is scaled.

    Attributes:
        value: it, as the program holds it.
        x: what the mean is taken of, changes of layout stripped.
        mean: the mean, changes of layout stripped; None where none is taken.
    """

    value: Value
    x: Value
    mean: Value | None


class Dataflow:
    """Questions about a region's values, for recognisers that walk it backwards."""

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

    def centre(self, value: Value) -> Centre:
        """A value as x minus its mean, where it is one."""
        equation = self.producer.get(self.strip(value))
        if equation is not None and equation.name in ("sub", "add"):
            live = self.live(equation)
            others = [a for a in equation.inputs if a not in live]
            if (
                len(live) == 1
                and self.facts[others[0]].value == 0
                and live[0] is equation.inputs[0]
            ):
                return dataclasses.replace(self.centre(live[0]), value=value)
            if equation.name == "sub" and len(live) == 2:
                x, mean = map(self.strip, live)
                if self.is_mean(mean, x):
                    return Centre(value, x, mean)
        return Centre(value, self.strip(value), None)

    def equal(self, a: Centre, b: Centre) -> bool:
        """Whether two values are the same x, less the same mean."""
        if (a.mean is None) != (b.mean is None) or not self.same(a.x, b.x):
            return False
        return a.mean is None or b.mean is None or self.same(a.mean, b.mean)

    def is_mean(self, mean: Value, x: Value) -> bool:
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

    def strip(self, value: Atom) -> Value:
        """The value in front of changes of layout and casts."""
        assert isinstance(value, Value)
        equation = self.producer.get(value)
        while equation is not None and equation.name in LAYOUTS and self.live(equation):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    def adds_zero(self, equation: Equation) -> bool:
        """Whether an equation leaves a value as it is: RMSNorm in Flax subtracts a mean of 0."""
        others = [a for a in equation.inputs if not self.facts[a].live]
        zero = bool(others) and self.facts[others[0]].value == 0
        return equation.name in ("add", "sub") and len(self.live(equation)) == 1 and zero

    def is_square(self, equation: Equation) -> bool:
        """Whether an equation squares, in any spelling."""
        if equation.name == "square":
            return True
        if equation.name == "integer_pow":
            return equation.params["y"] == 2
        if equation.name == "pow":
            return self.facts[equation.inputs[1]].value == 2
        return equation.name == "mul" and self.same(*equation.inputs)

    def squared(self, atom: Atom) -> Value | None:
        """What a value is the square of, changes of layout stripped from the square."""
        equation = self.producer.get(self.strip(atom)) if isinstance(atom, Value) else None
        if equation is None or not self.is_square(equation) or not self.live(equation):
            return None
        return self.live(equation)[0]

    def mixes(self, equation: Equation) -> bool:
        """Whether an equation sums over elements."""
        sums = equation.kind in (Kind.SUM, Kind.CONTRACTION)
        return sums or (equation.kind is Kind.ADD and len(self.live(equation)) > 1)
