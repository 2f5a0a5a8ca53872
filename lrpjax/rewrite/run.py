"""Run equations as the program would: the same primitives, in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from lrpjax import _compat
from lrpjax.rewrite.exchange import exchanged, has_largest_second
from lrpjax.trace import Atom, Equation, Literal, Value


def run(
    equations: Iterable[Equation],
    env: Mapping[Value, Any],
    literals: Mapping[Literal, Any] | None = None,
) -> dict[Value, Any]:
    """The values of everything that equations read and make.

    Args:
        equations: in an order they can be run in.
        env: the values of what they read.
        literals: other values for scalars that stand in the program.
    """
    known = dict(env)
    replaced = literals or {}

    def value_of(atom: Atom) -> Any:
        return replaced.get(atom, atom.value) if isinstance(atom, Literal) else known[atom]

    for equation in equations:
        results = bind(equation, map(value_of, equation.inputs))
        known.update(zip(equation.outputs, results, strict=True))
    return known


def read(atom: Atom, env: Mapping[Value, Any]) -> Any:
    """An atom's value."""
    return jnp.asarray(atom.value, atom.dtype) if isinstance(atom, Literal) else env[atom]


def bind(equation: Equation, inputs: Iterable[Any]) -> list[Any]:
    """Run one equation, a product in its faster order; a call with its own derivatives whole."""
    if has_largest_second(equation):
        return [exchanged(equation, inputs)]
    return _compat.bind(
        equation.primitive, list(inputs), equation.params, equation.context, equation.source_info
    )
