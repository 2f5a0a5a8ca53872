"""Elementwise primitives in NumPy are what JAX computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lrpjax.plan import numerics
from lrpjax.trace import trace

X = np.array([-30.0, -2.5, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.0, 30.0])
Y = np.array([2.0, -1.5, -1.0, 1e-3, 0.0, 0.5, 0.5, 3.0, -2.0, 0.25])

#: primitive -> a function that is it, of one or two arrays
FLOATS = {
    "abs": jnp.abs,
    "add": jnp.add,
    "cbrt": jnp.cbrt,
    "ceil": jnp.ceil,
    "convert_element_type": lambda x: lax.convert_element_type(x, jnp.int32),
    "cos": jnp.cos,
    "div": jnp.divide,
    "eq": jnp.equal,
    "erf": lax.erf,
    "erfc": lax.erfc,
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "floor": jnp.floor,
    "ge": jnp.greater_equal,
    "gt": jnp.greater,
    "integer_pow": lambda x: lax.integer_pow(x, 3),
    "is_finite": lax.is_finite,
    "le": jnp.less_equal,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "logistic": lax.logistic,
    "lt": jnp.less,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "mul": jnp.multiply,
    "ne": jnp.not_equal,
    "neg": jnp.negative,
    "pow": lax.pow,
    "rsqrt": lax.rsqrt,
    "sign": lax.sign,
    "sin": jnp.sin,
    "sqrt": jnp.sqrt,
    "square": lax.square,
    "sub": jnp.subtract,
    "tanh": jnp.tanh,
}
INTEGERS = {
    "and": lax.bitwise_and,
    "div": lax.div,
    "max": jnp.maximum,
    "not": lax.bitwise_not,
    "or": lax.bitwise_or,
}
TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def equation(function, *arrays):
    (found,) = trace(function, arrays, [None] * len(arrays), [0]).region.equations
    return found


def arrays_for(function, dtype):
    arguments = function.__code__.co_argcount if hasattr(function, "__code__") else None
    both = [np.asarray(X).astype(dtype), np.asarray(Y).astype(dtype)]
    if arguments == 1:
        return both[:1]
    try:
        jax.eval_shape(function, *both)
    except TypeError:
        return both[:1]
    return both


def agree(name, function, arrays, tolerance):
    found = equation(function, *arrays)
    assert found.name == name
    (ours,) = numerics.apply(found, arrays)
    theirs = np.asarray(function(*arrays))
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(
        ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", FLOATS)
def test_of_floating_point(name, dtype):
    """NaN where JAX says NaN, infinity likewise, and the dtype of the operands."""
    dtype = jnp.dtype(dtype)
    with np.errstate(all="ignore"), jax.enable_x64(True):
        arrays = arrays_for(FLOATS[name], dtype)
        agree(name, FLOATS[name], arrays, TOLERANCE[dtype.name])


@pytest.mark.parametrize("name", INTEGERS)
def test_of_integers(name):
    """Integers divide towards zero: JAX does it."""
    arrays = [np.array([-7, -1, 0, 5, 12], np.int32), np.array([2, 3, 4, -2, 5], np.int32)]
    if name == "not":
        arrays = arrays[:1]
    agree(name, INTEGERS[name], arrays, 0.0)


def test_choosing():
    """The cases of a select in their order, for a boolean and for an integer choice."""
    cases = [np.asarray(X, np.float32), np.asarray(Y, np.float32)]
    for which in (X > 0, (X > 0).astype(np.int32)):
        agree("select_n", lambda w, a, b: lax.select_n(w, a, b), [which, *cases], 0.0)


def test_what_is_missing_is_left_to_jax():
    """Under jit as well: the numbers are known there, though all else is traced."""
    x = np.asarray(X, np.float32)
    found = equation(lax.asinh, x)

    @jax.jit
    def inside(_):
        (made,) = numerics.apply(found, [x])
        assert isinstance(made, np.ndarray)
        return jnp.asarray(made)

    np.testing.assert_allclose(inside(0.0), np.arcsinh(x), rtol=2e-6, atol=1e-7)


def test_the_whole_table_is_tested():
    """A primitive that is added there is added here."""
    assert set(numerics._UFUNCS) - {"add_any", "select_n"} <= {*FLOATS, *INTEGERS}
