"""From a unit and its arrays to what its rule sees: the one place where rules meet programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lrpjax.errors import PlanError
from lrpjax.plan.specs import Fold
from lrpjax.plan.units import Unit
from lrpjax.primitives import function_of
from lrpjax.rewrite.affine import affine_view, scale_and_shift
from lrpjax.rewrite.attention import product_view, softmax_view
from lrpjax.rewrite.lookup import lookup_view
from lrpjax.rewrite.normalisation import normalisation_view
from lrpjax.rewrite.run import read, run
from lrpjax.rewrite.windows import is_small_window, window_pullback
from lrpjax.rules import views
from lrpjax.rules.views import at_least_float32 as wide
from lrpjax.trace import Literal, Value

Array = Any
Env = Mapping[Value, Array]


def view(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    """A unit as its family's rules see it, and the relevance of its outputs likewise.

    Args:
        unit: the unit.
        env: the values of its inputs, constants and outputs.
        relevance: one array per output, of its dtype.
    """
    return _VIEWS[unit.family](unit, env, relevance)


def _affine(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    return affine_view(unit, env, relevance[0])


def _shift(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    y = wide(env[unit.outputs[0]])
    scale, shift = jnp.ones((), y.dtype), jnp.zeros((), y.dtype)
    folds: tuple[Fold, ...] = unit.spec.folds
    for fold in folds:
        constant = None if fold.constant is None else wide(read(fold.constant, env))
        s, t = scale_and_shift(fold, constant)
        scale, shift = scale * s, shift * s + t
    return views.Shift(y, wide(env[unit.inputs[0]]) * scale, shift), wide(relevance[0])


def _add(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    y = wide(env[unit.outputs[0]])
    carried = set(unit.inputs)
    operands: list[Array] = []
    constants: list[Array] = []
    for sign, atom in unit.spec.terms:
        term = sign * wide(read(atom, env))
        target = operands if atom in carried else constants
        target.append(jnp.broadcast_to(term, y.shape))
    return views.Sum(y, tuple(operands), tuple(constants)), wide(relevance[0])


def _elementwise(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    outputs = tuple(wide(env[out]) for out in unit.outputs)
    at_zero: tuple[Any, ...] = unit.spec.at_zero
    if None in at_zero:
        x = env[unit.inputs[0]]
        zeros = run(unit.equations, {**env, unit.inputs[0]: jnp.zeros_like(x)})
        at_zero = tuple(wide(zeros[out]) for out in unit.outputs)
    return views.Elementwise(outputs, at_zero), tuple(map(wide, relevance))


def _routing(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    """The unit's own VJP, with respect to its inputs and to its floating-point constants."""
    if len(unit.equations) == 1 and is_small_window(unit.equations[0]):
        return _pooling(unit, env, relevance)
    carrying = [out for out in unit.outputs if out.inexact]
    floats = [v for v in unit.constants if v.inexact]
    literals = _literal_operands(unit)

    def forward(inputs: tuple, constants: tuple, scalars: tuple) -> tuple:
        local = {**env, **dict(zip(unit.inputs, inputs, strict=True))}
        local.update(zip(floats, constants, strict=True))
        results = run(unit.equations, local, dict(zip(literals, scalars, strict=True)))
        return tuple(results[out] for out in carrying)

    arguments = (
        tuple(env[v] for v in unit.inputs),
        tuple(env[v] for v in floats),
        tuple(jnp.asarray(a.value, a.dtype) for a in literals),
    )
    outputs, vjp = jax.vjp(forward, *arguments)

    def pullback(r: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        given, constants, scalars = vjp(
            tuple(a.astype(out.dtype) for a, out in zip(r, outputs, strict=True))
        )
        return tuple(map(wide, given)), tuple(map(wide, (*constants, *scalars)))

    arrays = [r for r, out in zip(relevance, unit.outputs, strict=True) if out.inexact]
    operands = tuple(wide(env[v]) for v in unit.inputs)
    drops = any(equation.name == "gather" for equation in unit.equations)
    seen = views.Routing(operands, tuple(map(wide, outputs)), pullback, drops)
    return seen, tuple(map(wide, arrays))


def _pooling(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    """Max and min pooling: their own VJP, by a faster way."""
    x = env[unit.inputs[0]]
    to_input = window_pullback(unit.equations[0], x)

    def pullback(r: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        return (to_input(r[0]),), ()

    outputs = tuple(wide(env[v]) for v in unit.outputs)
    return views.Routing((wide(x),), outputs, pullback), tuple(map(wide, relevance))


def _literal_operands(unit: Unit) -> list[Literal]:
    """Floating-point scalars of the program that a route may pass on, a padding value say."""
    atoms = dict.fromkeys(a for e in unit.equations for a in e.inputs)
    floats = jnp.floating
    return [a for a in atoms if isinstance(a, Literal) and jnp.issubdtype(a.dtype, floats)]


def _custom(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[Any, Any]:
    """A function the user registered: bare arrays for a primitive with one result."""
    (equation,) = unit.equations
    several = equation.primitive.multiple_results
    operands = [read(atom, env) for atom in equation.inputs]
    outputs = [env[v] for v in equation.outputs]

    def function(r: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        arrived = [a.astype(out.dtype) for a, out in zip(r, outputs, strict=True)]
        rule = function_of(equation.name)
        assert rule is not None, "a unit of the custom family has a registered function"
        given = rule(
            arrived if several else arrived[0],
            operands,
            outputs if several else outputs[0],
            equation.params,
        )
        given = given if isinstance(given, (list, tuple)) else [given]
        if len(given) != len(equation.inputs):
            raise PlanError(
                f"the relevance function registered for '{equation.name}' gives one array per "
                f"operand, {len(equation.inputs)} of them (or None); got {len(given)}"
            )
        live: dict[Value, Array] = {v: jnp.zeros(v.shape, v.dtype) for v in unit.inputs}
        constants = []
        for atom, array in zip(equation.inputs, given, strict=True):
            if array is not None and atom in live:
                live[atom] = live[atom] + array
            elif array is not None:
                constants.append(wide(array))
        return tuple(map(wide, live.values())), tuple(constants)

    return views.Custom(function), tuple(map(wide, relevance))


_VIEWS: dict[str, Callable[[Unit, Env, tuple[Array, ...]], tuple[Any, Any]]] = {
    "affine": _affine,
    "shift": _shift,
    "add": _add,
    "elementwise": _elementwise,
    "routing": _routing,
    "generic": _routing,
    "custom": _custom,
    "lookup": lookup_view,
    "normalisation": normalisation_view,
    "product": product_view,
    "softmax": softmax_view,
}
