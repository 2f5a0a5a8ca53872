"""Signs: which primitives never make a negative number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lrpjax.trace import Equation

_ALWAYS_NONNEGATIVE = frozenset("abs acosh cosh erfc exp exp2 logistic sqrt rsqrt square".split())

#: Non-negative where every operand is.
_KEEPS_NONNEGATIVE = frozenset(
    """
    add add_any div min asin asinh atan atanh cbrt ceil erf expm1 floor log1p pow round sinh
    sign tan tanh reduce_sum cumsum reduce_window_sum broadcast_in_dim concatenate
    convert_element_type copy device_put dynamic_slice dynamic_update_slice layout_constraint
    optimization_barrier reduce_precision reshape rev sharding_constraint slice split squeeze
    stack tile transpose unstack psum psum_invariant reduce_scatter pvary all_gather
    all_gather_invariant all_to_all ppermute reshard reduce_max reduce_min cummax cummin
    reduce_window_max reduce_window_min stop_gradient dot_general conv_general_dilated rem
    """.split()
)

_SIGNS: dict[str, Callable[[Equation, list[bool]], bool]] = {
    "max": lambda e, signs: any(signs),
    "clamp": lambda e, signs: signs[2] and (signs[0] or signs[1]),
    "select_n": lambda e, signs: all(signs[1:]),
    "gather": lambda e, signs: signs[0] and not (e.params["fill_value"] or 0) < 0,
    "pad": lambda e, signs: all(signs),
    "scatter-add": lambda e, signs: signs[0] and signs[2],
    "sort": lambda e, signs: all(signs),
    "top_k": lambda e, signs: signs[0],
    "integer_pow": lambda e, signs: signs[0] or e.params["y"] % 2 == 0,
    "mul": lambda e, signs: all(signs) or e.inputs[0] is e.inputs[1],
}


def _unsigned(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.unsignedinteger, jnp.bool_))


def nonnegative(equation: Equation, operands: list[bool]) -> bool:
    """Whether no element of an equation's results is negative, by whether its operands have one.

    Args:
        equation: the equation.
        operands: for each operand, whether no element of it is negative.
    """
    name = equation.name
    if name == "convert_element_type" and _unsigned(equation.inputs[0].dtype):
        return True
    if name in _ALWAYS_NONNEGATIVE:
        return True
    if name in _SIGNS:
        return _SIGNS[name](equation, operands)
    return name in _KEEPS_NONNEGATIVE and all(operands)
