"""A small decoder-only language model, as they are built today: RMSNorm, rotary embeddings,
grouped queries, SwiGLU, no biases. Token ids [b, t] -> logits [b, t, vocabulary].
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

VOCABULARY, WIDTH, HEADS, GROUPS, DEPTH, HIDDEN = 11, 8, 4, 2, 4, 12
SHARING = HEADS // GROUPS  # query heads for each key and value
IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def angles(tokens):
    """Cosines and sines of each position's rotations, [t, depth]."""
    rates = 100.0 ** -(np.arange(DEPTH // 2) / (DEPTH // 2))
    turns = np.arange(tokens)[:, None] * np.concatenate([rates, rates])
    return np.cos(turns), np.sin(turns)


def rotary(x):
    """x [b, t, h, depth], each pair of features turned by its position's angle."""
    cos, sin = (jnp.asarray(a, x.dtype)[:, None] for a in angles(x.shape[1]))
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos + jnp.concatenate([-second, first], axis=-1) * sin


def grouped(q, k, v):
    """The query heads of a group side by side: q [b, t, h, d], k and v [b, s, g, d]."""
    b, t = q.shape[:2]
    q = q.reshape(b, t, GROUPS, SHARING, DEPTH)
    scores = jnp.einsum("btghd,bsgd->bghts", q, k) * DEPTH**-0.5
    weights = jax.nn.softmax(jnp.where(jnp.tri(t, dtype=bool), scores, -jnp.inf))
    return jnp.einsum("bghts,bsgd->btghd", weights, v).reshape(b, t, HEADS, DEPTH)


def repeated(q, k, v):
    """Keys and values repeated for each query head of their group."""
    k, v = (jnp.repeat(a, SHARING, axis=2) for a in (k, v))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * DEPTH**-0.5
    weights = jax.nn.softmax(scores, where=jnp.tri(q.shape[1], dtype=bool))
    return jnp.einsum("bhts,bshd->bthd", weights, v)


def by_jax_nn(q, k, v):
    """The softmax in float32."""
    return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="xla")


def by_nnx(q, k, v):
    """The same through NNX."""
    return nnx.dot_product_attention(q, k, v, is_causal=True)


ATTENTION = {f.__name__: f for f in (grouped, repeated, by_jax_nn, by_nnx)}


ZEROS = nnx.initializers.zeros_init()  # until the model draws its own


def _linear(rows, columns, rngs):
    return nnx.Linear(rows, columns, use_bias=False, kernel_init=ZEROS, rngs=rngs)


class Block(nnx.Module):
    def __init__(self, rngs):
        linear = lambda rows, columns: _linear(rows, columns, rngs)
        self.norm1, self.norm2 = nnx.RMSNorm(WIDTH, rngs=rngs), nnx.RMSNorm(WIDTH, rngs=rngs)
        self.query = linear(WIDTH, HEADS * DEPTH)
        self.key, self.value = linear(WIDTH, GROUPS * DEPTH), linear(WIDTH, GROUPS * DEPTH)
        self.out = linear(HEADS * DEPTH, WIDTH)
        self.gate, self.up = linear(WIDTH, HIDDEN), linear(WIDTH, HIDDEN)
        self.down = linear(HIDDEN, WIDTH)

    def __call__(self, x, attend):
        normed = self.norm1(x)
        heads = lambda a: a.reshape(*a.shape[:2], -1, DEPTH)
        q, k, v = (heads(layer(normed)) for layer in (self.query, self.key, self.value))
        mixed = attend(rotary(q), rotary(k), v)
        x = x + self.out(mixed.reshape(*x.shape[:2], -1))
        normed = self.norm2(x)
        return x + self.down(nnx.silu(self.gate(normed)) * self.up(normed))


class LanguageModel(nnx.Module):
    def __init__(self, attend=grouped, dtype=np.float32, blocks=1, seed=0):
        rngs = nnx.Rngs(seed)
        init = {"embedding_init": ZEROS, "param_dtype": dtype}
        self.embed = nnx.Embed(VOCABULARY, WIDTH, **init, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(blocks)])
        self.norm = nnx.RMSNorm(WIDTH, rngs=rngs)
        self.head = _linear(WIDTH, VOCABULARY, rngs)
        self.attend = attend
        self._draw(np.random.default_rng(seed), dtype)

    def _draw(self, rng, dtype):
        """Weights around 0, scales around 1."""

        def draw(path, leaf):
            centre = 1.0 if "scale" in jax.tree_util.keystr(path) else 0.0
            return jnp.asarray(centre + 0.5 * rng.normal(size=leaf.shape), dtype)

        nnx.update(self, jax.tree_util.tree_map_with_path(draw, nnx.state(self, nnx.Param)))

    def __call__(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.attend)
        return self.head(self.norm(x))


def parameters(model):
    """All weights as float64 arrays: {layer: array}, and {number: {layer: array}} for blocks."""
    state = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    only = lambda layer: np.asarray(*layer.values(), np.float64)
    blocks = state.pop("blocks")
    own = {name: only(layer) for name, layer in state.items()}
    return own | {i: {name: only(p) for name, p in block.items()} for i, block in blocks.items()}
