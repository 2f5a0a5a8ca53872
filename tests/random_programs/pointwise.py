"""Functions of each element: activations, and a function for every elementwise primitive.

What would grow fast, or is defined on an interval only, gets a bounded argument, so that deep
programs stay finite.
"""

import jax
import jax.numpy as jnp
from jax import lax


def tame(x):
    """Within ±3."""
    return jnp.clip(x, -3.0, 3.0)


@jax.custom_jvp
def doubled_slope(x):
    """A relu with a slope of its own: its derivative is another function's."""
    return jnp.maximum(x, 0.0)


@doubled_slope.defjvp
def _doubled_slope_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return doubled_slope(x), 2.0 * t * (x > 0)


@jax.custom_vjp
def straight_through(x):
    """Rounds to quarters; its derivative is the identity's."""
    return jnp.round(4.0 * x) / 4.0


straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, g: (g,))

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "exp": lambda x: jnp.exp(tame(x)),
    "abs": jnp.abs,
    "square": lambda x: jnp.square(tame(x)),
    "own square": lambda x: tame(x) * tame(x),
    "x·y of one value": lambda x: x * jnp.tanh(x),
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "hard_tanh": jax.nn.hard_tanh,
    "mish": jax.nn.mish,
    "soft_sign": jax.nn.soft_sign,
    "rational": lambda x: x / (1.0 + x * x),
    "own sigmoid": lambda x: 1.0 / (1.0 + jnp.exp(-tame(x))),
    "where": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "masked by itself": lambda x: (x > 0) * x,
    "clip": lambda x: jnp.clip(x, -0.5, 1.0),
    "custom_jvp": doubled_slope,
    "custom_vjp": straight_through,
}

_unit = lambda x: 0.9 * jnp.tanh(x)

PRIMITIVES = {
    "acos": lambda x: lax.acos(_unit(x)),
    "acosh": lambda x: lax.acosh(1.5 + x * x),
    "asin": lambda x: lax.asin(_unit(x)),
    "asinh": lax.asinh,
    "atan": lax.atan,
    "atan2": lambda x: lax.atan2(x, jnp.full_like(x, 1.5)),
    "atanh": lambda x: lax.atanh(_unit(x)),
    "bessel_i0e": lax.bessel_i0e,
    "bessel_i1e": lax.bessel_i1e,
    "cbrt": lax.cbrt,
    "clamp": lambda x: lax.clamp(jnp.asarray(-1.0, x.dtype), x, jnp.asarray(0.5, x.dtype)),
    "ceil": lax.ceil,
    "cos": lax.cos,
    "cosh": lambda x: lax.cosh(tame(x)),
    "digamma": lambda x: lax.digamma(1.5 + jax.nn.sigmoid(x)),
    "erf": lax.erf,
    "erf_inv": lambda x: lax.erf_inv(_unit(x)),
    "erfc": lax.erfc,
    "exp2": lambda x: lax.exp2(tame(x)),
    "expm1": lambda x: lax.expm1(tame(x)),
    "floor": lax.floor,
    "integer_pow": lambda x: tame(x) ** 3,
    "is_finite": lambda x: jnp.where(lax.is_finite(x), x, 0.0),
    "lgamma": lambda x: lax.lgamma(2.5 + jax.nn.sigmoid(x)),
    "log": lambda x: lax.log(0.5 + x * x),
    "log1p": lambda x: lax.log1p(jnp.abs(x)),
    "log2": lambda x: jnp.log2(0.5 + x * x),
    "logistic": lax.logistic,
    "min": lambda x: jnp.minimum(x, 0.7),
    "nextafter": lambda x: jnp.nextafter(x, jnp.asarray(2.0, x.dtype)),
    "pow": lambda x: (0.5 + jnp.abs(x)) ** 1.5,
    "pow of a constant": lambda x: 1.5 ** tame(x),
    "rem": lambda x: lax.rem(x, jnp.full_like(x, 1.5)),
    "round": lax.round,
    "rsqrt": lambda x: lax.rsqrt(1.0 + x * x),
    "sign": lax.sign,
    "sin": lax.sin,
    "sinh": lambda x: lax.sinh(tame(x)),
    "sqrt": lambda x: lax.sqrt(jnp.abs(x)),
    "tan": lambda x: lax.tan(_unit(x)),
    "and": lambda x: jnp.where((x > -1.0) & (x <= 1.0), x, 0.0),
    "or": lambda x: jnp.where((x < -0.5) | (x >= 0.5), x, 0.0),
    "xor": lambda x: jnp.where((x < 0.5) ^ (x < -0.5), 0.0, x),
    "not": lambda x: jnp.where(~(x > 0), 0.2 * x, x),
    "eq": lambda x: jnp.where(x == 0, 0.0, jnp.tanh(x)),
    "ne": lambda x: jnp.where(x != 0, x, 0.0),
    "gelu exact": lambda x: jax.nn.gelu(x, approximate=False),
}


def activation(shape, pick, new):
    """One of the activations of networks."""
    function = pick(list(ACTIVATIONS.values()))
    return lambda p, x: function(x)


def primitive(shape, pick, new):
    """One of the rarer elementwise primitives."""
    function = pick(list(PRIMITIVES.values()))
    return lambda p, x: function(x)


def with_array(shape, pick, new):
    """An activation with parameters of its own: the slope of a PReLU, the β of a swish."""
    a = new(shape[-1], around=0.3)
    functions = [
        lambda p, x: jnp.where(x >= 0, x, p[a] * x),
        lambda p, x: x * jax.nn.sigmoid(p[a] * x),
        lambda p, x: jnp.maximum(x, p[a] * x),
        lambda p, x: jnp.tanh(x + p[a]) - jnp.tanh(p[a]),
        lambda p, x: jax.nn.relu(x - p[a]) + 0.1 * x,
    ]
    return pick(functions)


def two_results(shape, pick, new):
    """One value read by two activations: fan-out within one region, or around it."""
    f, g = pick(list(ACTIVATIONS.values())), pick(list(ACTIVATIONS.values()))
    joins = [
        lambda p, x: f(x) + 0.5 * g(x),
        lambda p, x: jnp.concatenate([f(x), g(x)[..., :1]], -1),
        lambda p, x: jnp.maximum(f(x), g(x)),
    ]
    return pick(joins)


POINTWISE = {
    "activation": activation,
    "primitive": primitive,
    "with_array": with_array,
    "two_results": two_results,
}
