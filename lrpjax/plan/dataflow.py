"""What normalisations and softmaxes are made of: layouts, means, squares, values that are equal."""

from __future__ import annotations

import dataclasses

from lrpjax.plan.affine import as_fold
from lrpjax.plan.elementwise import CASTS
from lrpjax.plan.facts import State
from lrpjax.plan.graph import Graph
from lrpjax.plan.numbering import Numbering
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Call, Equation, Value

PERMUTES = frozenset({"reshape", "transpose", "squeeze", "expand_dims"})
LAYOUTS = CASTS | PERMUTES | {"broadcast_in_dim", "pvary"}
SUMS = frozenset({"reduce_sum", "psum", "psum_invariant"})
CUTS = frozenset({"pad", "slice", "dynamic_slice", "concatenate", "stack", "gather"})


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
            if self.adds_zero(equation):
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
            sums = sums or equation.name in SUMS
            leads = equation.name in LAYOUTS or self.is_scale(equation)
            if not leads and equation.name not in SUMS:
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
        if equation.name not in ("add", "sub") or len(self.live(equation)) != 1:
            return False
        place = equation.inputs.index(self.live(equation)[0])
        zero = self.facts[equation.inputs[1 - place]].value == 0
        return zero and (place == 0 or equation.name == "add")

    def is_scale(self, equation: Equation) -> bool:
        """Whether an equation multiplies with a constant."""
        fold = as_fold(equation, self.facts)
        return fold is not None and not fold.is_shift

    def is_cut(self, equation: Equation) -> bool:
        """Whether an equation takes a part of one value, or puts zeros beside it."""
        live = self.live(equation)
        if equation.name not in CUTS or len(live) != 1:
            return False
        others = (a for a in equation.inputs if a is not live[0] and a.dtype == live[0].dtype)
        return all(self.facts[a].value == 0 for a in others)

    def is_square(self, equation: Equation, scaled: bool = False) -> bool:
        """Whether an equation squares, in any spelling; at most scaled, (a·x)·x."""
        if equation.name == "square":
            return True
        if equation.name == "integer_pow":
            return equation.params["y"] == 2
        if equation.name == "pow":
            return self.facts[equation.inputs[1]].value == 2
        if equation.name != "mul" or len(self.live(equation)) != 2:
            return False
        operands = self.live(equation)
        return self.same(*(map(self.unscaled, operands) if scaled else operands))

    def unscaled(self, value: Value) -> Value:
        """The value in front of constant factors."""
        equation = self.producer.get(value)
        while equation is not None and self.is_scale(equation):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    def origin(self, value: Value, scaled: bool) -> Value:
        """What a squared value was cut from, laid out anew, and scaled if that is asked for."""
        equation = self.producer.get(value)
        while equation is not None and self.leads(equation, scaled):
            (value,) = self.live(equation)
            equation = self.producer.get(value)
        return value

    def leads(self, equation: Equation, scaled: bool) -> bool:
        """Whether the square of an equation's result is as good as that of its operand."""
        if len(self.live(equation)) != 1:
            return False
        moves = equation.name in LAYOUTS or equation.name == "abs" or self.is_cut(equation)
        return moves or (scaled and self.is_scale(equation))

    def mixes(self, equation: Equation) -> bool:
        """Whether an equation sums over elements."""
        sums = equation.kind in (Kind.SUM, Kind.CONTRACTION)
        return sums or (equation.kind is Kind.ADD and len(self.live(equation)) > 1)

    def between(self, end: Value, x: Value) -> tuple[Equation, ...] | None:
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
