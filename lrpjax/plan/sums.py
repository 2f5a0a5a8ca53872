"""Sums of dependent values, and the scales and shifts that have no linear core to fold into."""

from __future__ import annotations

from lrpjax.plan.affine import as_fold
from lrpjax.plan.facts import State
from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import AddSpec, Fold, ShiftSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation, Value


def add(head: Equation, graph: Graph) -> tuple[AddSpec, tuple[Equation, ...]] | None:
    """The n-ary sum that ends in ``head``, with its equations; None for a sum of one operand.

    Inner sums that nothing else uses are part of it, constants among their operands too.
    """
    if head.kind is not Kind.ADD or _is_shift_before_scale(head, graph):
        return None
    terms: list[tuple[int, Atom]] = []
    equations: list[Equation] = []

    def expand(equation: Equation, sign: int) -> None:
        for i, atom in enumerate(equation.inputs):
            term_sign = -sign if equation.name == "sub" and i == 1 else sign
            inner = _inner_sum(atom, equation, graph)
            if inner is not None:
                expand(inner, term_sign)
            else:
                terms.append((term_sign, atom))
        equations.append(equation)

    expand(head, 1)
    dependent = [a for _, a in terms if graph.facts[a].state is not State.CONSTANT]
    return (AddSpec(tuple(terms)), tuple(equations)) if len(dependent) > 1 else None


def _inner_sum(atom: Atom, outer: Equation, graph: Graph) -> Equation | None:
    """The sum that makes an operand, where it is part of the outer sum."""
    equation = graph.producer.get(atom) if isinstance(atom, Value) else None
    if equation is None or equation.kind is not Kind.ADD or graph.claimed(equation):
        return None
    same = atom.shape == outer.outputs[0].shape and atom.dtype == outer.outputs[0].dtype
    alone = graph.only_consumer(atom) is outer and outer.inputs.count(atom) == 1
    return equation if same and alone and graph.facts[atom].live else None


def _is_shift_before_scale(equation: Equation, graph: Graph) -> bool:
    """Whether a constant add belongs to a normalisation behind the sum, not to the sum.

    BatchNorm behind a residual sum subtracts its mean first: that is one shift with its scale.
    """
    if as_fold(equation, graph.facts) is None:
        return False
    chain, _ = _chain(equation, graph)
    return not all(fold.is_shift for fold in chain)


def shift(start: Equation, graph: Graph) -> tuple[str, ShiftSpec] | None:
    """The scale or shift that begins with ``start``: its composite keyword and its steps."""
    chain, only_scales = _chain(start, graph)
    return ("scale" if only_scales else "shift", ShiftSpec(chain)) if chain else None


def _chain(start: Equation, graph: Graph) -> tuple[tuple[Fold, ...], bool]:
    """Scales and shifts that follow each other and nothing else uses in between."""
    chain: list[Fold] = []
    equation: Equation | None = start
    while equation is not None and not graph.claimed(equation):
        fold = as_fold(equation, graph.facts) or _stopped_scale(equation, graph)
        if fold is None:
            break
        chain.append(fold)
        equation = graph.only_consumer(equation.outputs[0])
    return tuple(chain), not any(fold.is_shift for fold in chain)


def _stopped_scale(equation: Equation, graph: Graph) -> Fold | None:
    """A multiply with a value that depends on the input but that no relevance passes."""
    if equation.name not in ("mul", "div") or not graph.facts[equation.outputs[0]].live:
        return None
    live = [i for i, atom in enumerate(equation.inputs) if graph.facts[atom].live]
    if len(live) != 1 or (equation.name == "div" and live != [0]):
        return None
    other = equation.inputs[1 - live[0]]
    return Fold(equation, other, live[0], graph.facts[other].varies)
