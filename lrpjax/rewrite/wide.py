"""Run equations in at least float32, whatever dtype the program has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from lrpjax import _compat
from lrpjax.primitives import Kind
from lrpjax.rewrite.contraction import contract
from lrpjax.trace import Atom, Equation, Literal, Value

Array = Any
Env = Mapping[Value, Array]


def wide_array(array: Array, dtype: Any) -> Array:
    """A floating-point array in another dtype; others as they are."""
    floating = jnp.issubdtype(jnp.result_type(array), jnp.floating)
    return jnp.asarray(array).astype(dtype) if floating else array


def read_wide(atom: Atom, env: Env, dtype: Any) -> Array:
    """An atom's value, a scalar of the program in that dtype."""
    if isinstance(atom, Literal):
        return wide_array(np.asarray(atom.value, atom.dtype), dtype)
    return env[atom]


def run_wide(equations: Iterable[Equation], env: Env, dtype: Any) -> dict[Value, Array]:
    """The values that equations make, casts left out.

    Args:
        equations: in an order they can be run in.
        env: what they read.
        dtype: the floating-point dtype of all of it.
    """
    known = dict(env)
    for equation in equations:
        (out,) = equation.outputs
        inputs = [read_wide(atom, known, dtype) for atom in equation.inputs]
        known[out] = apply_wide(equation, inputs, dtype)
    return known


def apply_wide(equation: Equation, inputs: list[Array], dtype: Any) -> Array:
    """One equation with one result; what casts to another floating-point dtype does nothing."""
    if equation.name == "convert_element_type" and equation.outputs[0].inexact:
        return inputs[0].astype(dtype)
    if equation.kind is Kind.CONTRACTION:
        return contract(equation, *inputs)
    source = equation.source_info
    return _compat.bind(equation.primitive, inputs, equation.params, equation.context, source)[0]
