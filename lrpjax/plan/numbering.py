"""Which values of a region are the same computation, written twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from lrpjax.plan.graph import Graph
from lrpjax.trace import Atom, Literal, Value


class Numbering:
    """Gives each value a number; values of one number are equal whatever the input is.

    ``jnp.mean(x)`` and the mean inside ``jnp.var(x)`` are two reductions of one value.
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        self._numbers: dict[Value, int] = {}
        self._known: dict[Hashable, int] = {}

    def same(self, a: Atom, b: Atom) -> bool:
        """Whether two values are the same computation."""
        return self._key(a) == self._key(b)

    def _key(self, atom: Atom) -> Hashable:
        if isinstance(atom, Literal):
            return ("literal", str(atom.dtype), np.asarray(atom.value).tobytes())
        if atom not in self._numbers:
            self._number(atom)
        return self._numbers[atom]

    def _number(self, value: Value) -> None:
        """Number a value and all that it is made from; no recursion, programs are deep."""
        pending = [value]
        while pending:
            top = pending[-1]
            equation = self._graph.producer.get(top)
            inputs = () if equation is None else equation.inputs
            missing = [a for a in inputs if isinstance(a, Value) and a not in self._numbers]
            if missing:
                pending += missing
                continue
            pending.pop()
            self._numbers.setdefault(top, len(self._numbers))
            if equation is not None and len(equation.outputs) == 1:
                self._numbers[top] = self._known.setdefault(
                    self._signature(equation, top), self._numbers[top]
                )

    def _signature(self, equation: Any, value: Value) -> Hashable:
        try:
            params = frozenset(equation.params.items())
        except TypeError:  # parameters that can't be compared
            return value
        return (equation.primitive, params, tuple(map(self._key, equation.inputs)))
