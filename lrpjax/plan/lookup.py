"""Lookups: relevance reaches an explained integer input where it takes rows, or becomes a float.

The derivative of integers carries nothing, so each explained integer input has a companion, zeros
of its shape, that relevance goes to instead. It follows the routes of the integers themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from lrpjax.plan.facts import is_lookup
from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import LookupSpec
from lrpjax.trace import Atom, Equation, Value


def recognise(equation: Equation, graph: Graph) -> LookupSpec | None:
    """The lookup that an equation is, with the path from the explained integers, or None."""
    facts = [graph.facts[atom] for atom in equation.inputs]
    if not is_lookup(equation, facts) or not graph.facts[equation.outputs[0]].live:
        return None
    indices = tuple(a for a, fact in zip(equation.inputs, facts, strict=True) if fact.ids)
    path = _path(indices, graph)
    sources = {a for e in (*path, equation) for a in _unmade(e, graph)}
    if len(sources) != 1 or (source := sources.pop()) not in graph.facts[source].ids:
        return None  # made from several inputs, or from them outside this region
    companion = graph.facts.companion(source)
    return None if companion is None else LookupSpec(equation, path, indices, source, companion)


def _unmade(equation: Equation, graph: Graph) -> Iterator[Value]:
    """The integers an equation reads that no equation of the region makes."""
    for atom in equation.inputs:
        if isinstance(atom, Value) and graph.facts[atom].ids and atom not in graph.producer:
            yield atom


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
