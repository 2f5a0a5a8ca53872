"""Products of two dependent values and softmaxes as their rules see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.plan.dataflow import PERMUTES
from lrpjax.plan.specs import ProductSpec, SoftmaxSpec
from lrpjax.plan.units import Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.contraction import contract
from lrpjax.rewrite.late import after
from lrpjax.rewrite.wide import apply_wide, read_wide, run_wide, wide_array
from lrpjax.rules import views
from lrpjax.rules.base import wide_dtype
from lrpjax.trace import Equation, Value

Array = Any
Env = Mapping[Value, Array]


#: Of what stands between a sum and what divides by it: a logarithm, a reciprocal, a shift.
_LOOKED_THROUGH = frozenset({Kind.ELEMENTWISE, Kind.SCALE, Kind.ADD})


def product_view(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[views.Product, Array]:
    """A product as its rules see it, and the relevance of its output."""
    spec: ProductSpec = unit.spec
    (y,) = unit.outputs
    dtype = wide_dtype(y.dtype, *(v.dtype for v in unit.inputs))
    a, b = (wide_array(env[v], dtype) for v in unit.inputs)

    def back(c: Array) -> tuple[Array, Array]:
        if not spec.bilinear:
            return c * b, c * a
        to_a, to_b = jax.vjp(lambda a, b: contract(spec.core, a, b), a, b)[1](c)
        return to_a, to_b

    y_wide = after(env[y].astype(dtype), relevance[0])
    seen = views.Product((a, b), y_wide, spec.gate, spec.bilinear, back)
    return seen, relevance[0].astype(dtype)


def softmax_view(unit: Unit, env: Env, relevance: tuple[Array, ...]) -> tuple[views.Softmax, Array]:
    """A softmax as its rule sees it, and the relevance of its output."""
    spec: SoftmaxSpec = unit.spec
    (x,), (s,) = unit.inputs, unit.outputs
    dtype = wide_dtype(x.dtype, s.dtype)
    known = {v: wide_array(env[v], dtype) for v in unit.reads}
    known = run_wide(unit.equations, known, dtype)
    behind = [equation for equation, _ in spec.path[spec.place :]]

    def gathered(array: Array) -> Array:
        """Σ along the axes: the program's own sum, and its own broadcast back."""
        made = {spec.source: undone(array, behind)}
        for equation in spec.linear:
            (out,) = equation.outputs
            live = next(a for a in equation.inputs if a in made)
            if equation.kind in _LOOKED_THROUGH:
                made[out] = made[live]
                continue
            inputs = [made[a] if a in made else read_wide(a, known, dtype) for a in equation.inputs]
            made[out] = apply_wide(equation, inputs, dtype)
        return made[spec.total]

    def back(array: Array) -> Array:
        array = jnp.where(_kept(spec, known, dtype), array, 0)
        return undone(array, [equation for equation, _ in spec.path])

    s_wide = env[s].astype(dtype)
    late = after(known[x], relevance[0])
    return views.Softmax(late, s_wide, gathered, back), relevance[0].astype(dtype)


def undone(array: Array, equations: Iterable[Equation]) -> Array:
    """From behind changes of layout back to in front of them; other equations move nothing."""
    for equation in reversed(list(equations)):
        if equation.name == "transpose":
            array = array.transpose(np.argsort(equation.params["permutation"]))
        elif equation.name in PERMUTES:
            array = array.reshape(equation.inputs[0].shape)
    return array


def _kept(spec: SoftmaxSpec, known: Mapping[Value, Array], dtype: Any) -> Array:
    """Which elements of the output no mask has replaced."""
    kept: Array = jnp.ones((), bool)
    for equation, place in spec.path:
        if equation.name in PERMUTES and kept.ndim:
            kept = apply_wide(equation, [kept], dtype)
        elif equation.kind is Kind.SELECT:
            predicate = read_wide(equation.inputs[0], known, dtype)
            chosen = predicate if place == 2 else ~predicate
            kept = kept & jnp.broadcast_to(chosen, equation.outputs[0].shape)
    return kept
