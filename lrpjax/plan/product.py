"""Products of two dependent values, element by element or a contraction.

Which operand is a gate is found once all units are known, across child regions:
:mod:`lrpjax.plan.gates`.
"""

from __future__ import annotations

from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import ProductSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Equation


def recognise(core: Equation, graph: Graph) -> ProductSpec | None:
    """The product that an equation is, or None."""
    bilinear = core.kind is Kind.CONTRACTION
    if not (bilinear or core.name == "mul") or len(core.inputs) != 2:
        return None
    if not all(graph.facts[a].live for a in (*core.inputs, *core.outputs)):
        return None
    return ProductSpec(core, None, bilinear)
