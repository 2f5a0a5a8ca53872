"""Lookups: relevance reaches an explained integer input where it takes rows, or becomes a float.

The derivative of integers carries nothing, so each explained integer input has a companion, zeros
of its shape, that relevance goes to instead. It follows the routes of the integers themselves.
"""

from __future__ import annotations

from lrpjax.plan.facts import is_lookup
from lrpjax.plan.graph import Graph
from lrpjax.plan.units import LookupSpec
from lrpjax.trace import Atom, Equation, Value


def recognise(equation: Equation, graph: Graph) -> LookupSpec | None:
    """The lookup that an equation is, with the path from the explained integers, or None."""
    facts = [graph.facts[atom] for atom in equation.inputs]
    if not is_lookup(equation, facts) or not graph.facts[equation.outputs[0]].live:
        return None
    indices = tuple(a for a, fact in zip(equation.inputs, facts, strict=True) if fact.ids)
    (source,) = frozenset().union(*(graph.facts[a].ids for a in indices))
    companion = graph.facts.companion(source)
    return LookupSpec(equation, _path(indices, graph), indices, source, companion)


def _path(indices: tuple[Atom, ...], graph: Graph) -> tuple[Equation, ...]:
    """The equations that make the indices from the explained integers, in order."""
    found: set[Equation] = set()
    queue = [*indices]
    while queue:
        equation = graph.producer.get(queue.pop())
        if equation is None or equation in found:
            continue
        found.add(equation)
        queue += [a for a in equation.inputs if isinstance(a, Value) and graph.facts[a].ids]
    return tuple(sorted(found, key=graph.order.__getitem__))
