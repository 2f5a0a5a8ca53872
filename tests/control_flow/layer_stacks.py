"""Stacks of equal layers, as a loop over stacked weights and written out, with remat."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from support.networks import conv, normal

LAYERS = 3

# ---------------------------------------------------------------- convolutions

IMAGES = normal(2, 4, 4, 2, seed=630)
STEM, HEAD = normal(3, 3, 2, 3, seed=631), normal(3, 5, seed=632)
STACK = {
    "kernel": normal(LAYERS, 3, 3, 3, 3, seed=633) / 5.0,
    "scale": 1.0 + 0.3 * normal(LAYERS, 3, seed=634),
    "bias": 0.3 * normal(LAYERS, 3, seed=635),
}


def residual(h, p):
    """A convolution with a folded scale and shift, a relu and a skip connection."""
    return jax.nn.relu(conv(h, p["kernel"]) * p["scale"] + p["bias"]) + h


def convnet(scan, x, remat=None):
    """`remat` wraps the body of the loop."""
    body = lambda h, p: (residual(h, p), None)
    body = remat(body) if remat else body
    h = jax.nn.relu(conv(x, STEM))
    return scan(body, h, STACK)[0].mean((1, 2)) @ HEAD


# ---------------------------------------------------------------- transformers

BLOCKS, WIDTH, HEADS, TOKENS = 2, 8, 2, 5
SEQUENCES = normal(2, TOKENS, WIDTH, seed=640)
OPTIONS = {"param_dtype": jnp.float64, "dtype": jnp.float64}


class Block(nn.Module):
    """A transformer block, normalised first; `(x, _) -> (x, None)` as a scan wants it."""

    @nn.compact
    def __call__(self, x, _=None):
        attention = nn.MultiHeadDotProductAttention(HEADS, name="attention", **OPTIONS)
        x = x + attention(nn.LayerNorm(name="norm_1", **OPTIONS)(x))
        y = nn.Dense(2 * WIDTH, name="up", **OPTIONS)(nn.LayerNorm(name="norm_2", **OPTIONS)(x))
        return x + nn.Dense(WIDTH, name="down", **OPTIONS)(nn.gelu(y)), None


class Stack(nn.Module):
    """Blocks by `nn.scan` behind a stem; `inside` and `outside` are options of `nn.remat`."""

    inside: dict | None = None
    outside: dict | None = None

    @nn.compact
    def __call__(self, x):
        block = Block if self.inside is None else nn.remat(Block, **self.inside)
        axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        stack = nn.scan(block, length=BLOCKS, **axes)
        stack = stack if self.outside is None else nn.remat(stack, **self.outside)
        x = nn.Dense(WIDTH, name="stem", **OPTIONS)(x)
        return stack(name="blocks")(x, None)[0]


def linen_variables():
    """Random weights, those of all blocks stacked."""
    shapes = jax.eval_shape(Stack().init, jax.random.key(0), SEQUENCES)
    rng = np.random.default_rng(641)

    def draw(path, leaf):
        value = 0.3 * rng.normal(size=leaf.shape)
        return jnp.asarray(1.0 + value if path[-1].key == "scale" else value)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def written_out(variables):
    """The same blocks one after another, without a loop."""
    parameters = variables["params"]

    def f(x):
        x = nn.Dense(WIDTH, **OPTIONS).apply({"params": parameters["stem"]}, x)
        for i in range(BLOCKS):
            layer = jax.tree.map(lambda a, i=i: a[i], parameters["blocks"])
            x = Block().apply({"params": layer}, x)[0]
        return x

    return f


class NnxBlock(nnx.Module):
    """The same block."""

    def __init__(self, rngs):
        options = {**OPTIONS, "rngs": rngs}
        self.norm_1, self.norm_2 = (nnx.LayerNorm(WIDTH, **options) for _ in range(2))
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, **options)
        self.up = nnx.Linear(WIDTH, 2 * WIDTH, **options)
        self.down = nnx.Linear(2 * WIDTH, WIDTH, **options)

    def __call__(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.down(nnx.gelu(self.up(self.norm_2(x))))


class NnxStack(nnx.Module):
    """Blocks by `nnx.scan`, or one after another."""

    def __init__(self, scans=True, remat=False):
        self.blocks = nnx.vmap(NnxBlock)(nnx.Rngs(0).split(BLOCKS))
        self.stem = nnx.Linear(WIDTH, WIDTH, rngs=nnx.Rngs(1), **OPTIONS)
        self.scans, self.remat = scans, remat
        for i, (_, value) in enumerate(sorted(nnx.state(self, nnx.Param).flat_state())):
            value[...] = value[...] + 0.3 * normal(*value.shape, seed=642 + i)

    def __call__(self, x):
        x = self.stem(x)
        if not self.scans:
            graph, state = nnx.split(self.blocks)
            for i in range(BLOCKS):
                x = nnx.merge(graph, jax.tree.map(lambda a, i=i: a[i], state))(x)
            return x
        apply = lambda block, h: block(h)
        apply = nnx.remat(apply) if self.remat else apply
        return nnx.scan(apply, in_axes=(0, nnx.Carry), out_axes=nnx.Carry)(self.blocks, x)
