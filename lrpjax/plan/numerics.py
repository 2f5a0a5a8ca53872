"""Elementwise primitives in NumPy: a function is tried on a few numbers without compiling it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lrpjax import _compat
from lrpjax.trace import Equation

Array = Any

_UFUNCS: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "cos": np.cos,
    "div": np.divide,
    "eq": np.equal,
    "erf": np.vectorize(math.erf),
    "erfc": np.vectorize(math.erfc),
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "is_finite": np.isfinite,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.bitwise_not,
    "or": np.bitwise_or,
    "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, *cases: np.choose(np.asarray(which, int), cases),
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
    "tanh": np.tanh,
}


def apply(equation: Equation, inputs: Sequence[Array]) -> list[Array]:
    """The results of an elementwise equation; one that isn't in the table is run by JAX itself.

    Args:
        equation: its primitive and parameters.
        inputs: NumPy arrays of one shape, of any dtype.
    """
    with np.errstate(all="ignore"):
        if equation.name == "integer_pow":
            return [_rounded(lambda x: x ** float(equation.params["y"]), inputs)]
        if equation.name == "convert_element_type":
            return [np.asarray(inputs[0]).astype(equation.params["new_dtype"])]
        if equation.name in _UFUNCS and not _divides_integers(equation, inputs):
            return [_rounded(_UFUNCS[equation.name], inputs)]
    with jax.ensure_compile_time_eval():
        results = _compat.bind(
            equation.primitive, inputs, equation.params, equation.context, equation.source_info
        )
    return [np.asarray(result) for result in results]


def _divides_integers(equation: Equation, inputs: Sequence[Array]) -> bool:
    return equation.name in ("div", "pow") and not any(map(_floats, inputs))


def _floats(array: Array) -> bool:
    return bool(jax.numpy.issubdtype(array.dtype, np.floating))


def _rounded(function: Callable[..., Array], inputs: Sequence[Array]) -> Array:
    """A function worked out in at least single precision, in the dtype of its operands."""
    arrays = [np.asarray(a) for a in inputs]
    wide = [a.astype(np.promote_types(a.dtype, np.float32)) if _floats(a) else a for a in arrays]
    result = np.asarray(function(*wide))
    narrow = next((a.dtype for a in reversed(arrays) if _floats(a)), None)
    return result.astype(narrow) if narrow is not None and _floats(result) else result
