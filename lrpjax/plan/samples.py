"""What an elementwise function does at zero and below, found by trying it on a few numbers.

The function is run when the plan is made, on a handful of scalars, and only where all its
constants stand in the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lrpjax.plan import numerics
from lrpjax.plan.elementwise import Pointwise
from lrpjax.plan.graph import Graph
from lrpjax.plan.specs import ElementwiseSpec
from lrpjax.trace import Atom, Call, Equation

_NEGATIVE = (-1e-6, -1e-3, -1.0, -1e3)
_SAMPLES = (0.0, 1e-6, *_NEGATIVE, 0.5, 1.0, 3.0, -30.0, 30.0, -80.0, 80.0)
_BELOW = slice(2, 2 + len(_NEGATIVE))
_UNIT = [_SAMPLES.index(x) for x in (0.0, 1e-6, 0.5, 1.0)]
_NEAR = [_SAMPLES.index(x) for x in (0.0, -1.0, 0.5, 1.0, 3.0, -30.0, 30.0)]
_FAR = [_SAMPLES.index(x) for x in (-80.0, 80.0)]
_STEEP = 100  # times the argument, at ±1e-6
_IDENTITIES = frozenset(["broadcast_in_dim", "reshape", "squeeze", "expand_dims", "pvary"])


class _Unknown(Exception):
    """A constant whose value doesn't stand in the program."""


def describe(region: Pointwise, graph: Graph) -> ElementwiseSpec:
    """What f does at zero, beside it and below; nothing is known where a constant isn't."""
    argument = np.asarray(_SAMPLES, dtype=region.root.dtype)
    try:
        env = _run(region.equations, {region.root: argument}, graph)
        values = [np.asarray(env[out], dtype=np.float64) for out in region.outputs]
    except _Unknown:
        return ElementwiseSpec((None,) * len(region.outputs))
    return ElementwiseSpec(
        tuple(float(v[0]) for v in values),
        rectifies=all(not v[_BELOW].any() for v in values),
        steep=any(map(_is_steep, values)),
        gates=tuple(_is_gate(v, graph.facts[region.root].nonnegative) for v in values),
        keeps=tuple(map(_keeps_gates, values)),
    )


def _is_steep(values: np.ndarray) -> bool:
    """Whether f(x) − f(0) is large beside x, by more than rounding, where f(0) is a number."""
    rounding = 1e-6 * abs(values[0])
    moved = np.abs(values[1:3] - values[0]).max()
    return bool(np.isfinite(values[0]) and moved > max(_STEEP * 1e-6, rounding))


def _is_gate(values: np.ndarray, nonnegative: bool) -> bool:
    """Whether a function opens and closes: a sigmoid, a falling power; it never grows far out.

    Args:
        values: at the samples.
        nonnegative: no argument is negative.
    """
    if nonnegative:
        values = np.where(np.array(_SAMPLES) < 0, values[0], values)
    far, near = values[_FAR], values[_NEAR]
    finite = near[np.isfinite(near)]
    bounded = np.isfinite(far).all() and finite.size and far.max() <= 1.0001 * finite.max()
    positive = (values[[*_FAR, *_NEAR]] >= 0).all()
    opens = values[0] > 0 or finite.max() <= 1  # relu6, shut at zero, is a signal
    return bool(bounded and positive and opens and np.ptp(finite) > 0)


def _keeps_gates(values: np.ndarray) -> bool:
    inside = values[_UNIT]
    return bool((inside >= 0).all() and np.isfinite(inside).all())


def _run(equations: Iterable[Equation], env: dict[Atom, Any], graph: Graph) -> dict[Atom, Any]:
    for equation in equations:
        inputs = [_read(atom, env, graph) for atom in equation.inputs]
        env.update(zip(equation.outputs, _apply(equation, inputs, graph), strict=True))
    return env


def _apply(equation: Equation, inputs: list[Any], graph: Graph) -> list[Any]:
    if equation.name in _IDENTITIES:
        return inputs[:1]
    if isinstance(equation, Call):
        env = _run(
            equation.body.equations, dict(zip(equation.body.inputs, inputs, strict=True)), graph
        )
        return [_read(atom, env, graph) for atom in equation.body.outputs]
    return numerics.apply(equation, inputs)


def _read(atom: Atom, env: dict[Atom, Any], graph: Graph) -> Any:
    """An operand's value; a scalar made from scalars of the program is worked out on the way."""
    if atom in env:
        return env[atom]
    value = graph.facts[atom].value
    if value is not None:
        return np.full(len(_SAMPLES), value, dtype=atom.dtype)
    equation = graph.producer.get(atom)
    if equation is None or any(operand.shape for operand in equation.inputs):
        raise _Unknown
    _run((equation,), env, graph)
    return env[atom]
