"""Softmaxes: exp(x) over its sum along some axes, however the program shifts and masks.

Found from the division that joins the exponential and its sum, or from the exponential of x less
the logarithm of that sum. A shift by a value that is the same along the axes changes nothing and
is looked through, as are masks that put a constant in place of some elements; the unit's input
is the logit before both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from lrpjax.plan.coefficients import Moved, Unknown, follow, in_place, undone
from lrpjax.plan.dataflow import LAYOUTS, PERMUTES, Dataflow
from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import SoftmaxSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation, Value

Path = tuple[tuple[Equation, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Softmax:
    """What one unit is made of.

    Attributes:
        equations: all between x and the output, in the order of the program.
        x: the logits.
        output: the weights, masked.
    """

    spec: SoftmaxSpec
    equations: tuple[Equation, ...]
    x: Value
    output: Value


def find(graph: Graph) -> Iterator[Softmax]:
    """All softmaxes of a region, in the order of the program."""
    search = _Search(graph)
    for equation in graph.region.equations:
        if not graph.claimed(equation) and (found := search.at(equation)) is not None:
            yield found


@dataclasses.dataclass(frozen=True, eq=False)
class _Sum:
    """A sum of exponentials over axes, or its logarithm, and the equations that lead there."""

    value: Value
    source: Value
    linear: tuple[Equation, ...]


class _Search(Dataflow):
    def at(self, join: Equation) -> Softmax | None:
        """The softmax that a division, or an exponential, completes."""
        found = None
        if join.name == "div" and len(self.live(join)) == 2:
            numerator, denominator = self.live(join)
            found = self._quotient(join, numerator, denominator)
        elif join.name == "mul" and len(self.live(join)) == 2:
            a, b = self.live(join)
            found = self._quotient(join, a, b, True) or self._quotient(join, b, a, True)
        elif join.name == "exp":
            found = self._of_logarithm(join)
        return found

    def _quotient(
        self, join: Equation, numerator: Value, denominator: Value, inverse: bool = False
    ) -> Softmax | None:
        """exp(x) over its sum, or times the reciprocal of it."""
        total = self._total(denominator, inverse=inverse)
        if total is None:
            return None
        after = self._along(
            numerator, lambda e: self._permutes(e) or self._casts(e) or self._zeroes(e)
        )
        exponential = self.producer.get(after[0])
        if exponential is None or not self.same(after[0], total.source):
            return None
        if exponential.name != "exp" or self.graph.claimed(exponential):
            return None
        x, before = self._logits(exponential, total)
        path = (*before, (exponential, 0), *after[1], (join, join.inputs.index(numerator)))
        return self._unit(x, path, len(before) + 1, total)

    def _of_logarithm(self, join: Equation) -> Softmax | None:
        """exp(w − log Σ exp(w)), or with a shift inside the sum that is added back behind it."""
        if not self.live(join):
            return None
        masked, masks = self._along(self.live(join)[0], self._masks)
        difference = self.producer.get(masked)
        if difference is None or difference.name != "sub" or len(self.live(difference)) != 2:
            return None
        w, logarithm = self.live(difference)
        added = self._shift_behind(logarithm)
        total = self._total(logarithm if added is None else added[0], logarithm=True)
        inner = None if total is None else self.producer.get(total.source)
        if total is None or inner is None:
            return None
        x, before = self._logits(difference, total)
        if added is None and not self.same(self.live(inner)[0], w):
            return None
        if added is not None and not self._is_shifted(self.live(inner)[0], w, added[1]):
            return None
        if added is not None:
            linear = (*total.linear, *added[2])
            total = dataclasses.replace(total, value=logarithm, linear=linear)
        path = (*before, (difference, 0), *masks, (join, 0))
        return self._unit(x, path, len(before), total)

    def _shift_behind(self, value: Value) -> tuple[Value, Atom, tuple[Equation, ...]] | None:
        """A logarithm, what is added to it, and that sum with changes of layout behind it."""
        end, layouts = self._along(value, self._moves)
        equation = self.producer.get(end)
        if equation is None or equation.name != "add":
            return None
        live = [a for a in equation.inputs if isinstance(a, Value) and self.facts[a].live]
        for atom in live:
            if self._total(atom, logarithm=True) is not None:
                other = equation.inputs[1 - equation.inputs.index(atom)]
                return atom, other, (equation, *(e for e, _ in layouts))
        return None

    def _is_shifted(self, inside: Value, w: Value, shift: Atom) -> bool:
        """Whether a value is w less a shift."""
        equation = self.producer.get(inside)
        if equation is None or equation.name != "sub" or not self.same(equation.inputs[0], w):
            return False
        return self.same(self._bare(equation.inputs[1]), self._bare(shift))

    def _bare(self, atom: Atom) -> Atom:
        """A value in front of changes of layout and broadcasts, live or not."""
        equation = self.producer.get(atom)
        while equation is not None and equation.name in LAYOUTS:
            atom = equation.inputs[0]
            equation = self.producer.get(atom)
        return atom

    def _unit(self, x: Value, path: Path, place: int, total: _Sum) -> Softmax | None:
        output = path[-1][0].outputs[0]
        last = self.graph.only_consumer(output)
        if last is not None and self._zeroes(last) and not self.graph.claimed(last):
            path = (*path, (last, last.inputs.index(output)))
            output = last.outputs[0]
        if not self._joins(path[place:], total):
            return None
        while (equations := self.between(output, x)) is None:
            layout = self.producer.get(x)  # a shift may have been worked out in front of it
            if layout is None or not self._permutes(layout) or self.graph.claimed(layout):
                return None
            path, place, x = ((layout, 0), *path), place + 1, self.live(layout)[0]
        spec = SoftmaxSpec(path, place, total.source, total.linear, total.value)
        return Softmax(spec, equations, x, output)

    def _joins(self, behind: Path, total: _Sum) -> bool:
        """Whether the sum lies beside the exponentials that it sums, with the same ones masked."""
        masks = [e.inputs[0] for e in total.linear if e.kind is Kind.SELECT]
        ours = [e.inputs[0] for e, _ in behind if e.kind is Kind.SELECT]
        if not all(any(self.same(mask, other) for other in ours) for mask in masks):
            return False
        source = Moved.of(total.source.shape)
        known: dict[Atom, Moved] = {total.source: source}
        still = frozenset(e for e in total.linear if e.kind is not Kind.ROUTE and not _sums(e))
        try:
            for (
                equation
            ) in total.linear:  # no matrix is among them: sums over axes mix nothing else
                follow((equation,), known, lambda atom: 1.0, still)
                (out,) = equation.outputs
                known[out] = dataclasses.replace(known[out], complete=True)
            found = known[total.linear[-1].outputs[0]]
            for equation, _ in reversed(behind):
                found = undone(found, equation)
            in_place(found, total.source.shape)
        except Unknown:
            return False
        return True

    def _total(self, value: Value, inverse: bool = False, logarithm: bool = False) -> _Sum | None:
        """A value as a sum of exponentials, broadcast, as one over it, or as its logarithm."""
        wanted = {"log"} if logarithm else {"div", "integer_pow", "pow"} if inverse else set()
        linear: list[Equation] = []
        end, sums = value, False
        while True:
            equation = self.producer.get(value)
            if equation is None or self.graph.claimed(equation) or len(self.live(equation)) != 1:
                return None
            if equation.name == "exp" and sums and not wanted:
                return _Sum(end, value, tuple(linear))
            if equation.name in wanted and not sums and self._inverts(equation):
                wanted = set()
            elif equation.name == "reduce_sum":
                sums = True
            elif equation.name == "abs" and self.facts[equation.inputs[0]].nonnegative:
                pass  # logsumexp takes it of the sum
            elif not (self._moves(equation) or (sums and self._zeroes(equation))):
                return None
            linear.insert(0, equation)
            (value,) = self.live(equation)

    def _inverts(self, equation: Equation) -> bool:
        if equation.name == "div":
            live = equation.inputs.index(self.live(equation)[0])
            return live == 1 and self.facts[equation.inputs[0]].value == 1
        if equation.name == "integer_pow":
            return equation.params["y"] == -1
        return equation.name == "log" or self.facts[equation.inputs[1]].value == -1

    def _logits(self, last: Equation, total: _Sum) -> tuple[Value, Path]:
        """The value in front of shifts along the axes, masks and casts, and the way from there."""
        axes = next((e.params["axes"] for e in total.linear if e.name == "reduce_sum"), ())
        same_axes = all(e.name == "reduce_sum" or not self._permutes(e) for e in total.linear)

        def passes(equation: Equation) -> bool:
            shifts = equation.name == "sub" and equation.inputs[0] in self.live(equation)
            varies = self.facts[equation.inputs[-1]].varies if shifts else ()
            shifts = shifts and same_axes and not set(varies) & set(axes)
            return shifts or self._masks(equation) or self._casts(equation)

        return self._along(self.live(last)[0], passes)

    def _along(self, value: Value, passes: Callable[[Equation], bool]) -> tuple[Value, Path]:
        """Back from a value as long as equations pass, and the way from there."""
        path: list[tuple[Equation, int]] = []
        equation = self.producer.get(value)
        while equation is not None and not self.graph.claimed(equation) and passes(equation):
            value = self.live(equation)[0]
            path.insert(0, (equation, equation.inputs.index(value)))
            equation = self.producer.get(value)
        return value, tuple(path)

    def _moves(self, equation: Equation) -> bool:
        return equation.name in LAYOUTS and len(self.live(equation)) == 1

    def _permutes(self, equation: Equation) -> bool:
        return equation.name in PERMUTES

    def _casts(self, equation: Equation) -> bool:
        return equation.name == "convert_element_type" and len(self.live(equation)) == 1

    def _masks(self, equation: Equation) -> bool:
        """Whether an equation puts a constant in place of some elements."""
        return equation.kind is Kind.SELECT and len(self.live(equation)) == 1

    def _zeroes(self, equation: Equation) -> bool:
        """Whether an equation puts zeros in place of some elements."""
        others = (a for a in equation.inputs[1:] if not self.facts[a].live)
        return self._masks(equation) and all(self.facts[a].value == 0 for a in others)


def _sums(equation: Equation) -> bool:
    return equation.name == "reduce_sum"
