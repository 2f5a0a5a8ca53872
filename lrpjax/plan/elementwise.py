"""Elementwise regions: the largest parts in which an output element depends on one input element.

Recognition is by dataflow. Every value has a *root*: the value that it is a scalar function of,
element by element. Constant multiplies and adds belong to a region where it takes them in, and
are left to fold into a linear core where it doesn't:

- a parameter or array belongs to the region only if another path goes around it (the slope of a
  PReLU, the beta of a swish); otherwise it is a scale or shift of its own;
- a scalar belongs to the region if it feeds, or follows, a nonlinearity of the region; otherwise
  ``1/(1+exp(-z))`` would merge −1 into the weights in front.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

from lrpjax.plan.facts import Facts, State
from lrpjax.plan.graph import Graph
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation, Literal, Value

CASTS = frozenset({"convert_element_type", "copy", "reduce_precision"})
_POINTWISE = frozenset({Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE, Kind.SELECT, Kind.CUSTOM})


@dataclasses.dataclass(frozen=True, eq=False)
class Pointwise:
    """One elementwise region: its equations in order, its root and its live outputs."""

    equations: tuple[Equation, ...]
    root: Value
    outputs: tuple[Value, ...]


def is_pointwise(equation: Equation) -> bool:
    """Whether the primitive works element by element (a call: whether it was kept whole)."""
    return equation.kind in _POINTWISE or equation.name in CASTS


def roots(
    equations: Iterable[Equation], facts: Facts, breaks: frozenset[Equation] = frozenset()
) -> dict[Atom, Value]:
    """The root of every dependent value; a value that is no one's function is its own."""
    found: dict[Atom, Value] = {}
    for equation in equations:
        root = _common_root(equation, facts, found)
        for out in equation.outputs:
            if root is None or out.shape != root.shape or equation in breaks:
                found[out] = out
            else:
                found[out] = root
    return found


def _common_root(equation: Equation, facts: Facts, found: dict[Atom, Value]) -> Value | None:
    """The one root of an equation's operands; a stopped one from elsewhere counts as constant."""
    if not is_pointwise(equation) or _selects_by_position(equation, facts):
        return None
    dependent = (a for a in equation.inputs if facts[a].state is not State.CONSTANT)
    operands = {a for a in dependent if isinstance(a, Value)}
    live = {a for a in operands if facts[a].live}
    candidates = {found.get(a, a) for a in live or operands}
    if len(candidates) != 1:
        return None
    root = candidates.pop()
    if all(found.get(a, a) is root for a in operands):
        return root
    # A stopped operand from elsewhere may itself depend on this region: start a new one here.
    return live.pop() if len(live) == 1 and equation.kind is not Kind.SELECT else None


def _selects_by_position(equation: Equation, facts: Facts) -> bool:
    """Whether a select's predicate is a constant mask: then it moves elements, it is a route."""
    predicate = facts[equation.inputs[0]]
    constant = predicate.state is State.CONSTANT and bool(predicate.varies)
    return equation.kind is Kind.SELECT and constant


def constant_operand(equation: Equation, facts: Facts) -> Atom | None:
    """The constant that an equation multiplies with or adds to its one live operand.

    Negation and casts, which have none, give None; so ask :func:`is_affine_step` first.
    """
    return next((a for a in equation.inputs if not facts[a].live), None)


def is_affine_step(equation: Equation, facts: Facts) -> bool:
    """Whether an equation only scales, shifts or casts its one live operand."""
    live = [a for a in equation.inputs if facts[a].live]
    if len(live) != 1 or not all(facts[out].live for out in equation.outputs):
        return False
    if equation.name == "div":
        return facts[equation.inputs[0]].live
    return equation.kind in (Kind.ADD, Kind.SCALE) or equation.name in CASTS


def is_scalar(atom: Atom | None, facts: Facts) -> bool:
    """A scalar that stands in the program, as opposed to a parameter or an array."""
    if atom is None or isinstance(atom, Literal):
        return True
    fact = facts[atom]
    return fact.state is State.CONSTANT and not fact.varies and not fact.parameters


def find(graph: Graph) -> list[Pointwise]:
    """All elementwise regions of a region of the program, in its order."""
    membership = _Membership(graph)
    members = [e for e in membership.equations if membership.is_member(e)]
    groups = _components(members, membership.root, graph)
    found = (_pointwise(group, membership.root, graph) for group in groups)
    return [pointwise for pointwise in found if pointwise is not None]


class _Membership:
    """Which equations belong to a region, once arrays that it doesn't take in break it."""

    def __init__(self, graph: Graph):
        self.facts, self.consumers, self.producer = graph.facts, graph.consumers, graph.producer
        free = (e for e in graph.region.equations if not graph.claimed(e))
        self.equations = [e for e in free if e.outputs]
        self._liberal = roots(self.equations, graph.facts)
        breaks = frozenset(e for e in self.equations if self._is_break(e))
        self.root = roots(self.equations, graph.facts, breaks)
        self._nonlinear_above: set[Equation] = set()
        self._nonlinear_below: set[Equation] = set()
        self._mark_nonlinear()

    def inside(self, equation: Equation, root: dict[Atom, Value]) -> bool:
        """Whether an equation is part of its root's region."""
        return root.get(equation.outputs[0], equation.outputs[0]) is not equation.outputs[0]

    def _is_break(self, equation: Equation) -> bool:
        """A scale or shift by a parameter or array that every path of its region passes."""
        if not self.inside(equation, self._liberal) or self._is_nonlinear(equation):
            return False
        if is_scalar(constant_operand(equation, self.facts), self.facts):
            return False
        return not self._bypassed(equation)

    def _bypassed(self, equation: Equation) -> bool:
        """Whether its result is joined, element by element, with a value not made from it."""
        root = self._liberal[equation.outputs[0]]
        below, queue = {equation.outputs[0]}, [equation.outputs[0]]
        while queue:
            for consumer in self.consumers[queue.pop()]:
                out = consumer.outputs[0]
                if self._liberal.get(out) is not root or out in below:
                    continue
                below.add(out)
                queue.append(out)
        for value in below:
            for consumer in self.consumers[value]:
                if self._liberal.get(consumer.outputs[0]) is not root:
                    continue
                others = [a for a in consumer.inputs if isinstance(a, Value) and a not in below]
                if any(self._liberal.get(a, a) is root for a in others):
                    return True
        return False

    def _mark_nonlinear(self) -> None:
        """For each equation inside a region: does a nonlinearity stand above it, or below it?"""
        inside = [e for e in self.equations if self.inside(e, self.root)]
        for equation in inside:
            above = [self.producer.get(a) for a in equation.inputs if isinstance(a, Value)]
            same = [e for e in above if e and self._same_region(e, equation)]
            if any(self._is_nonlinear(e) or e in self._nonlinear_above for e in same):
                self._nonlinear_above.add(equation)
        for equation in reversed(inside):
            below = [c for out in equation.outputs for c in self.consumers[out]]
            same = [e for e in below if self._same_region(e, equation)]
            if any(self._is_nonlinear(e) or e in self._nonlinear_below for e in same):
                self._nonlinear_below.add(equation)

    def _same_region(self, a: Equation, b: Equation) -> bool:
        return self.inside(a, self.root) and self.root[a.outputs[0]] is self.root[b.outputs[0]]

    def _is_nonlinear(self, equation: Equation) -> bool:
        """Not a scale, shift or cast; a factor made of the root itself, (x > 0)·x, counts too."""
        others = (a for a in equation.inputs if not self.facts[a].live)
        root = self._liberal.get(equation.outputs[0])
        own = any(self._liberal.get(a) is root for a in others)
        return own or not is_affine_step(equation, self.facts)

    def is_member(self, equation: Equation) -> bool:
        """Whether an equation goes into an elementwise unit."""
        if not self.inside(equation, self.root):
            return False
        near = equation in self._nonlinear_above or equation in self._nonlinear_below
        return self._is_nonlinear(equation) or near


def _components(
    members: Sequence[Equation], root: dict[Atom, Value], graph: Graph
) -> list[list[Equation]]:
    """Group equations that hang together through values other than their root."""
    parent: dict[Equation, Equation] = {e: e for e in members}

    def top(equation: Equation) -> Equation:
        while parent[equation] is not equation:
            equation = parent[equation]
        return equation

    for equation in members:
        for atom in equation.inputs:
            above = graph.producer.get(atom) if isinstance(atom, Value) else None
            if above in parent and root[above.outputs[0]] is root[equation.outputs[0]]:
                parent[top(equation)] = top(above)
    groups: dict[Equation, list[Equation]] = defaultdict(list)
    for equation in members:
        groups[top(equation)].append(equation)
    return list(groups.values())


def _pointwise(group: list[Equation], root: dict[Atom, Value], graph: Graph) -> Pointwise | None:
    """A component as a unit: what of it is used outside, and what leads there.

    What leads nowhere live (to a stop, say) is none of it, and then uses it from outside.
    """
    ours: set[Equation] = set()
    kept = set(group)
    outputs: tuple[Value, ...] = ()
    while kept != ours:
        ours = kept
        outputs = tuple(
            out for e in group if e in ours for out in e.outputs if _leaves(out, ours, graph)
        )
        kept = _leading_to(outputs, group)
    equations = tuple(e for e in group if e in kept)
    return Pointwise(equations, root[outputs[0]], outputs) if outputs else None


def _leaves(out: Value, ours: set[Equation], graph: Graph) -> bool:
    """Whether a live value is used outside a group of equations."""
    used = out in graph.leaving or any(c not in ours for c in graph.consumers[out])
    return graph.facts[out].live and used


def _leading_to(outputs: tuple[Value, ...], group: list[Equation]) -> set[Equation]:
    needed: set[Atom] = set(outputs)
    kept = set()
    for equation in reversed(group):
        if needed.intersection(equation.outputs):
            kept.add(equation)
            needed.update(equation.inputs)
    return kept
