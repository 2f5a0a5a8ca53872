"""An example of every layer that flax.nnx exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import nnx

from flax_coverage.example import (
    CARRY,
    IDS,
    IMAGES,
    ROWS,
    SEQUENCES,
    Example,
    Nothing,
    floats,
    parameters,
)


def made(
    module: Callable[[nnx.Rngs], nnx.Module], *args: Any, explained: int = 0, **options: Any
) -> Example:
    """A module in evaluation mode with random parameters."""

    def make() -> nnx.Module:
        model = module(nnx.Rngs(0))
        model.eval()
        numbers = nnx.state(model, nnx.Not(nnx.RngState))
        nnx.update(model, parameters(numbers))
        return model

    return Example(make, args, explained, options)


def cell(make: Callable[[nnx.Rngs], nnx.Module], carry: Any) -> Example:
    """One step of a recurrent cell, its new carry and its output explained."""
    return made(make, carry, ROWS, explained=1)


def sequential(rngs: nnx.Rngs) -> nnx.Sequential:
    """Two dense layers."""
    return nnx.Sequential(nnx.Linear(4, 5, rngs=rngs), nnx.relu, nnx.Linear(5, 3, rngs=rngs))


def attention(rngs: nnx.Rngs) -> nnx.Module:
    """Two heads, without a cache."""
    return nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)


def both_ways(rngs: nnx.Rngs) -> nnx.Module:
    """Two GRUs."""
    rnn = lambda: nnx.RNN(nnx.GRUCell(4, 3, rngs=rngs))
    return nnx.Bidirectional(rnn(), rnn())


def spectral(rngs: nnx.Rngs) -> nnx.Module:
    """A dense layer of spectral norm one."""
    return nnx.SpectralNorm(nnx.Linear(4, 3, rngs=rngs), rngs=rngs)


LAYERS: dict[str, Example | Nothing] = {
    "Linear": made(lambda rngs: nnx.Linear(4, 3, rngs=rngs), ROWS),
    "LinearGeneral": made(
        lambda rngs: nnx.LinearGeneral((3, 4), (2, 3), axis=(1, 2), rngs=rngs), SEQUENCES
    ),
    "Einsum": made(lambda rngs: nnx.Einsum("...d,df->...f", (4, 3), (3,), rngs=rngs), ROWS),
    "Embed": made(lambda rngs: nnx.Embed(7, 4, rngs=rngs), IDS),
    "Conv": made(lambda rngs: nnx.Conv(4, 3, (3, 3), rngs=rngs), IMAGES),
    "ConvTranspose": made(lambda rngs: nnx.ConvTranspose(4, 3, (2, 2), (2, 2), rngs=rngs), IMAGES),
    "BatchNorm": made(lambda rngs: nnx.BatchNorm(4, rngs=rngs), IMAGES),
    "LayerNorm": made(lambda rngs: nnx.LayerNorm(4, rngs=rngs), ROWS),
    "RMSNorm": made(lambda rngs: nnx.RMSNorm(4, rngs=rngs), ROWS),
    "GroupNorm": made(lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs), IMAGES),
    "InstanceNorm": made(lambda rngs: nnx.InstanceNorm(4, rngs=rngs), IMAGES),
    "SpectralNorm": made(spectral, ROWS),
    "WeightNorm": made(lambda rngs: nnx.WeightNorm(nnx.Linear(4, 3, rngs=rngs), rngs=rngs), ROWS),
    "PReLU": made(lambda rngs: nnx.PReLU(), ROWS),
    "Dropout": made(lambda rngs: nnx.Dropout(0.5, rngs=rngs), ROWS),
    "LoRA": made(lambda rngs: nnx.LoRA(4, 2, 3, rngs=rngs), ROWS),
    "LoRALinear": made(lambda rngs: nnx.LoRALinear(4, 3, lora_rank=2, rngs=rngs), ROWS),
    "Sequential": made(sequential, ROWS),
    "MultiHeadAttention": made(attention, SEQUENCES),
    "LSTMCell": cell(lambda rngs: nnx.LSTMCell(4, 3, rngs=rngs), (CARRY, CARRY)),
    "OptimizedLSTMCell": cell(lambda rngs: nnx.OptimizedLSTMCell(4, 3, rngs=rngs), (CARRY, CARRY)),
    "GRUCell": cell(lambda rngs: nnx.GRUCell(4, 3, rngs=rngs), CARRY),
    "SimpleCell": cell(lambda rngs: nnx.SimpleCell(4, 3, rngs=rngs), CARRY),
    "RNN": made(lambda rngs: nnx.RNN(nnx.LSTMCell(4, 3, rngs=rngs)), SEQUENCES),
    "Bidirectional": made(both_ways, SEQUENCES),
    "RoPE": made(lambda rngs: nnx.RoPE(), floats(2, 3, 2, 4)),
    "RNNCellBase": Nothing("the base class of cells"),
    "Dict": Nothing("holds modules"),
    "List": Nothing("holds modules"),
}
