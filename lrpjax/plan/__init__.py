"""The plan: which equations of a program form a unit, and which rule each unit gets.

``settle`` → ``recognise`` → ``locate`` → ``gates.tell`` → ``Namer`` → ``assign``; nothing is
computed.
"""

from __future__ import annotations

import dataclasses

from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.plan import gates
from lrpjax.plan.assign import assign, matches
from lrpjax.plan.names import Namer
from lrpjax.plan.position import locate
from lrpjax.plan.recognise import recognise
from lrpjax.plan.report import table
from lrpjax.plan.settle import settle
from lrpjax.plan.units import Program, Unit
from lrpjax.trace import TracedFunction, Value

__all__ = ["Plan", "make_plan", "matches"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What an explanation does, unit by unit. ``str(plan)`` is a table for a person to read.

    Attributes:
        traced: the program.
        program: its units, each with its rule and the reason for it.
        inlined_custom: see :class:`lrpjax.plan.settle.Settled`.
    """

    traced: TracedFunction
    program: Program
    inlined_custom: bool

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units in the order of the program.

        Each has ``layer``, ``kind``, ``rule``, ``reason``, ``inputs`` and ``outputs`` (with shape
        and dtype), and ``folded``.
        """
        return self.program.units()

    def __repr__(self) -> str:
        return table(self.units)


def make_plan(traced: TracedFunction, composite: Composite, top_scope: str | None = None) -> Plan:
    """Plan the explanation of a traced program.

    Args:
        traced: the program.
        composite: the rules.
        top_scope: the outermost named scope, left out of layer names.

    Raises:
        PlanError: for rules that don't fit, or an output that doesn't depend on the input.
        UnsupportedPrimitiveError: for a primitive on a relevance path that no unit covers.
    """
    settled = settle(traced)
    primary = settled.region.outputs[: traced.primary]
    outputs = [a for a in primary if isinstance(a, Value)]
    if not any(settled.facts[v].live for v in outputs):
        raise PlanError(
            "the output does not depend on the explained input by any path that relevance passes "
            "(stop_gradient, comparisons and argmax end it)"
        )
    program = recognise(settled.region, settled.facts, range(traced.primary))
    program = gates.tell(locate(program, settled, traced), settled.facts)
    program = Namer(settled.facts, top_scope).program(program)
    return Plan(traced, assign(program, composite), settled.inlined_custom)
