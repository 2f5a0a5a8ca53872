"""Gates and signals: which factor of a product only lets the other through.

A value that a sigmoid, a softmax or a normaliser bounds, and that is never negative, is a gate;
so it stays where it is moved, scaled, summed up, or taken out of one region into another. Three
passes over the units: forward for what is a gate, backward for which gates weigh signals, and
backward for which values lead to a softmax. A softmax weighs values exactly where the product it
leads to takes it for the gate, so that the two defaults, Stop and "all to the signal", agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from lrpjax.plan.facts import Facts
from lrpjax.plan.specs import (
    SCALES,
    AddSpec,
    ElementwiseSpec,
    Fold,
    ProductSpec,
    ShiftSpec,
    SoftmaxSpec,
)
from lrpjax.plan.units import Child, Plain, Program, Unit, map_units
from lrpjax.trace import Atom, Value


def tell(program: Program, facts: Facts) -> Program:
    """Say of each product which operand is a gate, and of each softmax whether it weighs values."""
    gates = _Gates(facts)
    gates.run(program)

    def sort(unit: Unit) -> Unit:
        return _sorted(unit, gates.found, scores) if isinstance(unit.spec, ProductSpec) else unit

    scores: set[Atom] = set()
    _backward(program, scores, _leads_to_softmax)
    program = map_units(program, sort)
    weighing: set[Atom] = set()
    _backward(program, weighing, lambda unit, found: _weighed(unit, found, gates.found))

    def weigh(unit: Unit) -> Unit:
        softmax = isinstance(unit.spec, SoftmaxSpec)
        return dataclasses.replace(unit, weighs=softmax and unit.outputs[0] in weighing)

    return map_units(program, weigh)


def _sorted(unit: Unit, gates: set[Atom], scores: set[Atom]) -> Unit:
    """A product with its gate, and the keyword of the composite that it thereby has."""
    spec: ProductSpec = unit.spec
    are = [v in gates for v in unit.inputs]
    gate = are.index(True) if sum(are) == 1 else None
    attends = spec.bilinear and (any(are) or unit.outputs[0] in scores)
    kind = "attention" if attends else "product"
    return dataclasses.replace(unit, kind=kind, spec=dataclasses.replace(spec, gate=gate))


# ---------------------------------------------------------------- forward: what is a gate


class _Gates:
    """The values of a program that are gates."""

    def __init__(self, facts: Facts, found: Iterable[Atom] = ()):
        self.facts = facts
        self.found: set[Atom] = set(found)

    def run(self, program: Program) -> None:
        for step in program.steps:
            if isinstance(step, Unit):
                self.found.update(_gates_of(step, self))
            elif isinstance(step, Child):
                self._child(step)

    def holds(self, atom: Atom) -> bool:
        """A gate, or a constant that does no harm among gates: it is never negative."""
        fact = self.facts[atom]
        return atom in self.found or (not fact.live and fact.nonnegative)

    def _child(self, step: Child) -> None:
        """What is carried is a gate if it is one at the start and, that granted, at each end."""
        assumed = {inner for outer, inner in step.entering if self.holds(outer)}
        while True:
            inside = _Gates(self.facts, self.found | {v for v in assumed if self.facts[v].live})
            for program in step.programs:
                inside.run(program)
            lost = {s for end, s in step.carried if s in assumed and not inside.holds(end)}
            if not lost:
                break
            assumed -= lost
        self.found = inside.found
        for out in step.outputs:
            ends = [end for end, result in step.leaving if result is out]
            if all(map(self.holds, ends)) and any(end in self.found for end in ends):
                self.found.add(out)


def _gates_of(unit: Unit, gates: _Gates) -> list[Value]:
    """The outputs of a unit that are gates."""
    if isinstance(unit.spec, SoftmaxSpec):
        return list(unit.outputs)
    kept = bool(unit.inputs) and all(map(gates.holds, unit.inputs)) and _keeps(unit, gates.facts)
    if isinstance(unit.spec, ElementwiseSpec):
        made = unit.spec.gates or (False,) * len(unit.outputs)
        from_gates = unit.spec.keeps or (False,) * len(unit.outputs)
        own = (
            out
            for out, g, k in zip(unit.outputs, made, from_gates, strict=True)
            if g or (kept and k) or _is_sigmoid(unit, out)
        )
        return list(own)
    return list(unit.outputs) if kept else []


def _is_sigmoid(unit: Unit, out: Value) -> bool:
    """A sigmoid whose slope or threshold is a parameter, so that it can't be tried."""
    return any(e.name == "logistic" and out in e.outputs for e in unit.equations)


def _keeps(unit: Unit, facts: Facts) -> bool:
    """Whether gates stay gates through a unit: it moves, sums or scales and never turns a sign."""
    if isinstance(unit.spec, ShiftSpec):
        return all(_keeps_sign(fold, facts) for fold in unit.spec.folds)
    if isinstance(unit.spec, AddSpec):
        return all(sign > 0 and _never_negative(a, facts) for sign, a in unit.spec.terms)
    if unit.kind == "stop":
        return False
    return unit.kind in ("route", "max", "pool", "elementwise") or unit.family == "product"


def _keeps_sign(fold: Fold, facts: Facts) -> bool:
    """Whether a scale or shift turns no gate negative; of 1 − g, g is taken to be at most 1."""
    name = fold.equation.name
    if name == "neg":
        return False
    if fold.constant is None:
        return True
    fact = facts[fold.constant]
    if name == "sub":
        return fold.live == 1 and fact.value is not None and fact.value >= 1
    if name in SCALES:  # a mask of dropout, a learned factor
        return fact.value is None or fact.value >= 0
    return fact.nonnegative


def _never_negative(atom: Atom, facts: Facts) -> bool:
    return facts[atom].live or facts[atom].nonnegative


# ---------------------------------------------------------------- backward


def _backward(
    program: Program, found: set[Atom], reached: Callable[[Unit, set[Atom]], Iterable[Value]]
) -> None:
    """Add the values from which something is reached, through child regions and their rounds."""
    for step in reversed(program.steps):
        if isinstance(step, Unit):
            found.update(reached(step, found))
        elif isinstance(step, Plain):
            continue
        else:
            found.update(inner for inner, out in step.leaving if out in found)
            before = -1
            while len(found) != before:
                before = len(found)
                for inside in step.programs:
                    _backward(inside, found, reached)
                found.update(end for end, start in step.carried if start in found)
            found.update(outer for outer, inner in step.entering if inner in found)


_PASSED = ("route", "scale", "shift", "add", "elementwise", "max")


def _leads_to_softmax(unit: Unit, found: set[Atom]) -> Iterable[Value]:
    passes = unit.kind in _PASSED and any(v in found for v in unit.outputs)
    return unit.inputs if passes or isinstance(unit.spec, SoftmaxSpec) else ()


def _weighed(unit: Unit, found: set[Atom], gates: set[Atom]) -> Iterable[Value]:
    """The gates that a product takes for its gate, and those that such gates are made of."""
    if isinstance(unit.spec, ProductSpec) and unit.spec.gate is not None:
        return (unit.inputs[unit.spec.gate],)
    passes = any(v in found and v in gates for v in unit.outputs)
    return [v for v in unit.inputs if v in gates] if passes else ()
