"""Who makes and who uses each value of a region, and which equations a unit has claimed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from lrpjax.plan.facts import Facts
from lrpjax.trace import Atom, Equation, Region, Value


class Graph:
    """A region's dataflow while its units are being recognised."""

    def __init__(self, region: Region, facts: Facts):
        self.region, self.facts = region, facts
        self.producer: dict[Atom, Equation] = {
            out: equation for equation in region.equations for out in equation.outputs
        }
        self.consumers: dict[Atom, list[Equation]] = defaultdict(list)
        for equation in (e for e in region.equations if e.outputs):
            for value in dict.fromkeys(a for a in equation.inputs if isinstance(a, Value)):
                self.consumers[value].append(equation)
        self.order = {equation: i for i, equation in enumerate(region.equations)}
        self.leaving = frozenset(a for a in region.outputs if isinstance(a, Value))
        self._claimed: set[Equation] = set()

    def only_consumer(self, value: Atom) -> Equation | None:
        """The one equation that uses a value, unless others do or it leaves the region."""
        users = self.consumers[value]
        return users[0] if len(users) == 1 and value not in self.leaving else None

    def claim(self, equations: Iterable[Equation]) -> None:
        """Give equations to a unit; no other may take them."""
        self._claimed.update(equations)

    def claimed(self, equation: Equation) -> bool:
        """Whether an equation belongs to a unit already."""
        return equation in self._claimed
