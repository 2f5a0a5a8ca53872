"""How relevance goes back through a lookup: from the rows that were taken to who asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lrpjax.plan.specs import LookupSpec
from lrpjax.plan.units import Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.run import bind, read, run
from lrpjax.rules import views
from lrpjax.rules.base import divide
from lrpjax.rules.views import at_least_float32 as wide
from lrpjax.trace import Atom, Equation, Value

Array = Any


def lookup_view(
    unit: Unit, env: Mapping[Value, Array], relevance: tuple[Array, ...]
) -> tuple[views.Routing, tuple[Array, ...]]:
    """A lookup as the routing rule sees it."""
    spec: LookupSpec = unit.spec
    integers = run(spec.path, env)

    def pullback(r: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        asked = _asked(spec, r[0], integers)
        like = jax.ShapeDtypeStruct(spec.source.shape, asked[0].dtype)
        return tuple(jax.linear_transpose(lambda c: _follow(spec, c, integers), like)(asked)), ()

    outputs = tuple(wide(env[v]) for v in unit.outputs)
    inputs = tuple(wide(env[v]) for v in unit.inputs)
    return views.Routing(inputs, outputs, pullback), tuple(map(wide, relevance))


def _asked(spec: LookupSpec, relevance: Array, integers: Mapping[Value, Array]) -> list[Array]:
    """The relevance of what each index took; several numbers that make one index share it."""
    if spec.take.name == "convert_element_type":
        return [relevance]
    if spec.take.name == "dynamic_slice":
        return [jnp.sum(relevance) / len(spec.indices)] * len(spec.indices)
    taken = jnp.sum(relevance, spec.take.params["dimension_numbers"].offset_dims)
    ones = jnp.ones(spec.source.shape, relevance.dtype)
    (ours,) = (jnp.where(c != 0, 1, 0) for c in _follow(spec, ones, integers))
    return [divide(taken[..., None], jnp.sum(ours, -1, keepdims=True).astype(taken.dtype)) * ours]


def _follow(spec: LookupSpec, companion: Array, integers: Mapping[Value, Array]) -> list[Array]:
    """Where the companion's elements end up among the indices."""
    carried: dict[Atom, Array] = {spec.source: companion}
    for equation in spec.path:
        (out,) = equation.outputs
        if equation.kind in (Kind.ROUTE, Kind.SELECT) and equation.name != "convert_element_type":
            carried[out] = _route(equation, carried, integers)
        else:  # arithmetic on an index: a wrapped negative, an offset into a larger table
            sources = [carried[a] for a in equation.inputs if a in carried]
            wide_sources = [jnp.broadcast_to(c, out.shape) for c in sources]
            carried[out] = sum(wide_sources[1:], wide_sources[0]) / len(sources)
    return [carried[a] for a in spec.indices]


def _route(
    equation: Equation, carried: Mapping[Atom, Array], integers: Mapping[Value, Array]
) -> Array:
    """Move the companion as the integers were moved; what came beside them is zero."""
    dtype = next(c.dtype for c in carried.values())
    inputs = []
    for position, atom in enumerate(equation.inputs):
        if atom in carried:
            inputs.append(carried[atom])
        elif _is_data(equation, position):
            inputs.append(jnp.zeros(atom.shape, dtype))
        else:
            inputs.append(read(atom, integers))
    return bind(equation, inputs)[0]


def _is_data(equation: Equation, position: int) -> bool:
    """Whether an operand is moved too, as opposed to saying what is moved."""
    if equation.kind is Kind.SELECT:
        return position > 0
    return equation.name in ("concatenate", "stack", "pad") or (
        equation.name == "dynamic_update_slice" and position < 2
    )
