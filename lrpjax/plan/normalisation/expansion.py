"""What kind of function of its statistic a normaliser is, and whether it has a Taylor expansion.

The scalar functions between statistic and normaliser are run on a few numbers when the plan is
made; a constant whose value does not stand in the program counts as one there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lrpjax.plan import numerics
from lrpjax.plan.coefficients import Moved, Unknown, follow, in_place, undone
from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import NormalisationSpec
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation

_LARGE = (1e10, 1e14, 1e18)


def falls_as_a_power(spec: NormalisationSpec, graph: Graph) -> bool:
    """Whether the factor of x falls as a power of its statistic, where that is large."""
    with np.errstate(all="ignore"):
        steps = np.diff(np.log(_factor(spec, np.array(_LARGE), graph)))
    return bool(np.isfinite(steps).all() and steps[0] < 0 and abs(steps[0] / steps[1] - 1) < 0.02)


def expand(spec: NormalisationSpec, graph: Graph) -> NormalisationSpec:
    """Note whether the Taylor rule can be applied, or why not."""
    spec = dataclasses.replace(spec, adds=any(_adds(e, graph) for e in spec.linear))
    if not np.isfinite(_factor(spec, np.full(1, float(spec.adds)), graph)).all():
        return _without(spec, "k is 0, and a lone x_k = 0 has no expansion")
    try:
        found = movements(spec, lambda atom: _ones(atom, graph), lambda path: 1.0)
    except Unknown as error:
        return _without(spec, f"the diagonal of its sum is not known, through {error}")
    unsigned = {e.kind for e in (*spec.linear, *_scales(spec)) if _unsigned(e, graph)}
    negative = any(np.any(np.asarray(w) < 0) for w in found.weights.values())
    matrix = not negative and unsigned <= {Kind.CONTRACTION} and _mixed_once(spec)
    return dataclasses.replace(
        spec,
        shifts=found.complete,
        signed=not (negative or unsigned),
        matrix=matrix and not found.complete,
    )


def _scales(spec: NormalisationSpec) -> Iterator[Equation]:
    """Constant factors in front of a square, where the other factor doesn't have them too."""
    for square in spec.squares:
        if square.path != square.other:
            yield from (e for e, _ in (*square.path, *square.other) if e.kind is Kind.SCALE)


def _mixed_once(spec: NormalisationSpec) -> bool:
    """Whether one matrix or convolution is all that sums over elements."""
    others = (e.kind in (Kind.SUM, Kind.ADD) for e in spec.linear)
    return [e.kind for e in spec.linear].count(Kind.CONTRACTION) == 1 and not any(others)


def _adds(equation: Equation, graph: Graph) -> bool:
    """Whether an equation adds a constant that is not zero."""
    constants = [a for a in equation.inputs if not graph.facts[a].live]
    return equation.kind is Kind.ADD and any(graph.facts[a].value != 0 for a in constants)


def _unsigned(equation: Equation, graph: Graph) -> bool:
    """Whether an equation multiplies with constants of unknown sign."""
    if equation.kind not in (Kind.CONTRACTION, Kind.SCALE):
        return False
    constants = [a for a in equation.inputs if not graph.facts[a].live]
    return not all(graph.facts[a].nonnegative for a in constants)


def _without(spec: NormalisationSpec, reason: str) -> NormalisationSpec:
    return dataclasses.replace(spec, taylor=reason)


def movements(
    spec: NormalisationSpec,
    constant: Callable[[Atom], Any],
    scale: Callable[[tuple[tuple[Equation, int], ...]], Any],
) -> Moved:
    """What each element of the layer's output takes of each square: L, in the layout of c.

    Args:
        spec: the layer.
        constant: the values of constants.
        scale: the constant factor along a path to a square, in the layout of its end.

    Raises:
        Unknown: where elements are not followed.
    """
    known: dict[Atom, Moved] = {}
    source = Moved.of(spec.centred.shape)
    for equation in reversed(spec.front):
        source = undone(source, equation)
    for square in spec.squares:
        found = source
        for equation, place in square.path:
            step: dict[Atom, Moved] = {equation.inputs[place]: found}
            follow((equation,), step, constant)
            found = step[equation.outputs[0]]
        scaled = any(e.kind is Kind.SCALE for e, _ in square.other)
        known[square.value] = found.times(scale(square.other)) if scaled else found
    follow(spec.linear, known, constant)
    known[spec.statistic] = known[spec.total]
    scalar = frozenset(e for e in spec.chain if e.kind is not Kind.ROUTE)
    follow(spec.chain, known, constant, scalar)
    return in_place(known[spec.join.inputs[spec.normaliser]], spec.centred.shape)


def _ones(atom: Atom, graph: Graph) -> np.ndarray:
    """A stand-in for a constant of the program: its value where that is known, else one."""
    value = graph.facts[atom].value
    return np.broadcast_to(np.float64(1.0 if value is None else value), atom.shape)


def _factor(spec: NormalisationSpec, statistic: np.ndarray, graph: Graph) -> np.ndarray:
    """The size of what x is multiplied with, for a few values of the statistic."""
    known: dict[Atom, np.ndarray] = {spec.statistic: statistic}
    with jax.enable_x64(True):
        for equation in spec.chain:
            known[equation.outputs[0]] = _step(equation, known, graph)
    size = np.abs(known[spec.join.inputs[spec.normaliser]].astype(np.float64))
    with np.errstate(divide="ignore"):
        return 1 / size if spec.join.name == "div" else size


def _step(equation: Equation, known: Mapping[Atom, np.ndarray], graph: Graph) -> np.ndarray:
    """One scalar function; layouts move nothing here, and a guard against zero isn't needed."""
    value = next(known[a] for a in equation.inputs if a in known)
    if equation.kind in (Kind.ROUTE, Kind.SELECT):
        return value
    operands = [known[a] if a in known else _like(a, value, graph) for a in equation.inputs]
    return numerics.apply(equation, operands)[0]


def _like(atom: Atom, value: np.ndarray, graph: Graph) -> np.ndarray:
    constant = graph.facts[atom].value
    return np.full(value.shape, 1.0 if constant is None else constant, value.dtype)
