"""Flax's recurrent networks, linen and NNX, with the weights of :mod:`recurrent.cells`."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import nnx
from recurrent.cells import CELLS
from support.networks import normal

D, H = 3, 4

#: Which of a gate's biases a cell has: of the input kernel, of the recurrent kernel.
BIASES = {"lstm": (0, 1), "gru": (1, 0), "simple": (1, 0)}


def weights(cell, seed=0, bias=0.5, features=D):
    """Random float64 weights of a cell, as linen and NNX both can hold them."""
    on_x, on_h = BIASES[cell]
    return {
        gate: (
            normal(features, H, seed=seed + 4 * n) / np.sqrt(features),
            on_x * bias * normal(H, seed=seed + 4 * n + 1),
            normal(H, H, seed=seed + 4 * n + 2) / np.sqrt(H),
            on_h * bias * normal(H, seed=seed + 4 * n + 3),
        )
        for n, gate in enumerate(CELLS[cell].gates)
    }


# ---------------------------------------------------------------- linen

LINEN = {
    "lstm": nn.LSTMCell,
    "optimised lstm": nn.OptimizedLSTMCell,
    "gru": nn.GRUCell,
    "simple": nn.SimpleCell,
}


def linen_cell(cell, **options):
    return LINEN[cell](H, param_dtype=jnp.float64, **options)


def linen_parameters(cell, w):
    """The parameters of a linen cell."""
    layer = lambda kernel, bias: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    bare = lambda kernel: {"kernel": jnp.asarray(kernel)}
    if cell == "simple":
        wx, bx, wh, _ = w["n"]
        return {"i": layer(wx, bx), "h": bare(wh)}
    tree = {}
    for gate, (wx, bx, wh, bh) in w.items():
        with_bias = cell == "gru"
        tree[f"i{gate}"] = layer(wx, bx) if with_bias else bare(wx)
        tree[f"h{gate}"] = bare(wh) if with_bias and gate != "n" else layer(wh, bh)
    return tree


def linen_rnn(cell, w, **options):
    """(module, variables)"""
    return nn.RNN(linen_cell(cell), **options), {"params": {"cell": linen_parameters(cell, w)}}


# ---------------------------------------------------------------- NNX

NNX = {
    "lstm": nnx.LSTMCell,
    "optimised lstm": nnx.OptimizedLSTMCell,
    "gru": nnx.GRUCell,
    "simple": nnx.SimpleCell,
}


def nnx_cell(cell, w, features=D):
    options = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    made = NNX[cell](features, H, **options)
    if cell == "lstm":
        for gate, (wx, _, wh, bh) in w.items():
            name = "if_" if gate == "f" else f"i{gate}"
            getattr(made, name).kernel[...] = wx
            getattr(made, f"h{gate}").kernel[...] = wh
            getattr(made, f"h{gate}").bias[...] = bh
        return made
    wx, bx, wh, bh = (np.concatenate(part, -1) for part in zip(*w.values(), strict=True))
    made.dense_i.kernel[...], made.dense_h.kernel[...] = wx, wh
    for layer, bias in ((made.dense_i, bx), (made.dense_h, bh)):
        if layer.bias is not None:
            layer.bias[...] = bias
    return made


def nnx_rnn(cell, w, features=D, **options):
    return nnx.RNN(nnx_cell(cell, w, features), **options)


def as_function(model):
    """An NNX module as a function: it counts its random keys, so a copy is made for each trace."""
    graph, state = nnx.split(model)
    return lambda x, **options: nnx.merge(graph, state, copy=True)(x, **options)
