"""Products of two dependent values: gates with signals, attention's scores and values.

A value that a sigmoid, a softmax or a normaliser bounds is a gate; the other factor is then the
signal. Which units made a value is asked of the graph, which knows those recognised so far.
"""

from __future__ import annotations

from lrpjax.plan.elementwise import CASTS
from lrpjax.plan.facts import Facts
from lrpjax.plan.graph import Graph
from lrpjax.plan.units import ElementwiseSpec, ProductSpec, SoftmaxSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation, Value


def recognise(core: Equation, graph: Graph) -> tuple[str, ProductSpec] | None:
    """The composite keyword of a product and what its rules need to know; None for other things."""
    bilinear = core.kind is Kind.CONTRACTION
    if not (bilinear or core.name == "mul") or len(core.inputs) != 2:
        return None
    if not all(graph.facts[a].live for a in core.inputs) or not graph.facts[core.outputs[0]].live:
        return None
    gates = [is_gate(atom, graph) for atom in core.inputs]
    gate = gates.index(True) if sum(gates) == 1 else None
    attends = bilinear and (any(gates) or _scores(core.outputs[0], graph))
    return "attention" if attends else "product", ProductSpec(core, gate, bilinear)


def is_gate(value: Atom, graph: Graph) -> bool:
    """Whether a value is bounded by a sigmoid, a softmax or a normaliser."""
    pending: list[Atom] = [value]
    seen: set[Atom] = set()
    while pending:
        value = pending.pop()
        if not isinstance(value, Value) or value in seen or not graph.facts[value].live:
            continue
        seen.add(value)
        if graph.facts[value].gate:
            continue
        unit, equation = graph.maker.get(value), graph.producer.get(value)
        if unit is not None and isinstance(unit.spec, SoftmaxSpec):
            continue
        if unit is not None and isinstance(unit.spec, ElementwiseSpec):
            gates = dict(zip(unit.outputs, unit.spec.gates, strict=False))
            if not (gates.get(value) or _is_logistic(equation)):
                return False
        elif equation is None or not _keeps_gates(equation, graph.facts):
            return False
        else:
            pending += equation.inputs
    return True


def _is_logistic(equation: Equation | None) -> bool:
    """A sigmoid whose slope or threshold is a parameter."""
    return equation is not None and equation.name == "logistic"


def _keeps_gates(equation: Equation, facts: Facts) -> bool:
    """Whether a value is a gate where its dependent operands are."""
    moves = equation.kind in (Kind.ROUTE, Kind.SELECT) or equation.name in CASTS
    scales = equation.name == "mul" or (equation.name == "div" and facts[equation.inputs[0]].live)
    return moves or (scales and all(facts[a].nonnegative for a in equation.inputs))


def _scores(value: Value, graph: Graph) -> bool:
    """Whether a value leads to a softmax, scaled, shifted, masked or moved on the way."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        for consumer in graph.consumers[value]:
            (out, *_) = consumer.outputs or (None,)
            unit = graph.claims.get(consumer)
            if unit is not None and isinstance(unit.spec, SoftmaxSpec):
                return True
            if out is None or out in seen or not _passes(consumer):
                continue
            seen.add(out)
            pending.append(out)
    return False


_PASSED = frozenset({Kind.ROUTE, Kind.SELECT, Kind.ADD, Kind.SCALE, Kind.ELEMENTWISE})


def _passes(equation: Equation) -> bool:
    return equation.kind in _PASSED
