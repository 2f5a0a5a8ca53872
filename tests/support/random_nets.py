"""Small random networks for property tests: a list of drawn steps, built into a function.

A network is data (so that Hypothesis can show and shrink it); `build` makes the function, with
weights from the network's seed. A step that doesn't fit the shape it meets is left out.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax

SHAPES = [(2, 5), (2, 6, 3), (2, 5, 4, 2)]

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "leaky_relu": jax.nn.leaky_relu,
}
WRAPPERS = {"plain": lambda f: f, "jit": jax.jit, "remat": jax.checkpoint}


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a network: what it does, a number that varies it, and how it is called."""

    name: str
    variant: int
    wrapper: str


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of an input's shape, its steps and the seed of its weights."""

    shape: tuple[int, ...]
    steps: tuple[Step, ...]
    seed: int


class Weights:
    """Random weights in float64, cast to the input's type where they are used."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, *shape):
        """Scaled by the root of what each output sums."""
        fan_in = max(1, int(np.prod(shape[:-1])))
        return self.rng.normal(size=shape) / np.sqrt(fan_in)


Layer = Callable[[jax.Array], jax.Array]


def dense(shape, variant, draw):
    w, b = draw(shape[-1], 2 + variant % 3), 0.3 * draw(2 + variant % 3)
    if variant % 2:
        return lambda x: x @ w.astype(x.dtype)
    return lambda x: x @ w.astype(x.dtype) + b.astype(x.dtype)


def convolution(shape, variant, draw):
    rank = len(shape) - 2
    if rank < 1:
        return None
    w, b = draw(*(3,) * rank, shape[-1], 3), 0.3 * draw(3)
    numbers = (("NWC", "WIO", "NWC"), ("NHWC", "HWIO", "NHWC"))[rank - 1]
    stride, padding = (1 + variant % 2,) * rank, ("SAME", "VALID")[variant // 2 % 2]

    def layer(x):
        args = (x, w.astype(x.dtype), stride, padding)
        return lax.conv_general_dilated(*args, dimension_numbers=numbers) + b.astype(x.dtype)

    return layer


def pool(shape, variant, draw):
    rank = len(shape) - 2
    if rank < 1 or min(shape[1:-1]) < 2:
        return None
    function = (nn.avg_pool, nn.max_pool)[variant % 2]
    return lambda x: function(x, (2,) * rank, (1 + variant // 2 % 2,) * rank)


def activation(shape, variant, draw):
    return list(ACTIVATIONS.values())[variant % len(ACTIVATIONS)]


def scale_shift(shape, variant, draw):
    s, t = 1.0 + 0.3 * draw(shape[-1]), 0.3 * draw(shape[-1])
    return lambda x: (x - t.astype(x.dtype)) * s.astype(x.dtype) + t[::-1].astype(x.dtype)


def residual(shape, variant, draw):
    w, act = draw(shape[-1], shape[-1]), activation(shape, variant, draw)
    sign = -1.0 if variant % 3 == 2 else 1.0
    if sign < 0:
        return lambda x: x - act(x @ w.astype(x.dtype))
    return lambda x: x + act(x @ w.astype(x.dtype)) + (0.2 if variant % 2 else 0.0)


def concatenate(shape, variant, draw):
    act = activation(shape, variant, draw)
    return lambda x: jnp.concatenate([x, act(x)[..., :1]], -1)


def shape_change(shape, variant, draw):
    changes = [
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: jnp.moveaxis(x, -1, 1),
        lambda x: x[..., ::-1],
        lambda x: x[..., : max(1, x.shape[-1] - 1)],
        lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 0)]),
        lambda x: x[:, None] if x.ndim < 4 else x,
    ]
    return changes[variant % len(changes)]


def reduction(shape, variant, draw):
    if len(shape) < 3:
        return None
    return lambda x: x.mean(1) if variant % 2 else x.sum(1)


def shared(shape, variant, draw):
    w, act = draw(shape[-1], shape[-1]), activation(shape, variant, draw)
    return lambda x: act(act(x @ w.astype(x.dtype)) @ w.astype(x.dtype))


def called_twice(shape, variant, draw):
    inner = WRAPPERS[("jit", "remat")[variant % 2]](residual(shape, variant, draw))
    return lambda x: inner(inner(x))


def stopped(shape, variant, draw):
    w = draw(shape[-1], shape[-1])
    return lambda x: x @ w.astype(x.dtype) + lax.stop_gradient(jnp.tanh(x))


STEPS = {
    f.__name__: f
    for f in (
        dense,
        convolution,
        pool,
        activation,
        scale_shift,
        residual,
        concatenate,
        shape_change,
        reduction,
        shared,
        called_twice,
        stopped,
    )
}


def networks(*, without=()):
    """Strategy: networks of one to five steps between an input and a dense head."""
    step = st.builds(
        Step,
        st.sampled_from([name for name in STEPS if name not in without]),
        st.integers(0, 11),
        st.sampled_from(list(WRAPPERS)),
    )
    return st.builds(
        Network,
        st.sampled_from(SHAPES),
        st.lists(step, min_size=1, max_size=5).map(tuple),
        st.integers(0, 9999),
    )


def build(network):
    """The network as a function of one array of its shape: [2, …] -> [2, 3]."""
    draw = Weights(network.seed)
    layers: list[Layer] = []
    shape = network.shape
    for step in network.steps:
        layer = STEPS[step.name](shape, step.variant, draw)
        if layer is None:
            continue
        after = jax.eval_shape(layer, jax.ShapeDtypeStruct(shape, np.float32)).shape
        if 0 in after:
            continue
        layers.append(WRAPPERS[step.wrapper](layer))
        shape = after
    head = draw(int(np.prod(shape[1:])), 3)

    def f(x):
        for layer in layers:
            x = layer(x)
        return x.reshape(x.shape[0], -1) @ head.astype(x.dtype)

    return f


def example(network, dtype=np.float64):
    """An input of the network, from its seed."""
    return np.random.default_rng(network.seed + 1).normal(size=network.shape).astype(dtype)
