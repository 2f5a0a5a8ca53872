"""An example of every layer that flax.linen exports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

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


def bound(
    module: Callable[[], nn.Module], *args: Any, explained: int = 0, **options: Any
) -> Example:
    """A module with random parameters."""

    def make() -> nn.Module:
        made = module()
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        shapes = jax.eval_shape(lambda: made.init(keys, *args, **options))
        return made.bind(jax.tree.map(jax.numpy.asarray, parameters(shapes)))

    return Example(make, args, explained, options)


def cell(make: Callable[[], nn.Module], carry: Any, x: np.ndarray) -> Example:
    """One step of a recurrent cell, its new carry and its output explained."""
    return bound(make, carry, x, explained=1)


class Fp8Einsum(nn.Module):
    """An einsum with parameters, in float8."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        kernel = self.param("kernel", nn.initializers.normal(), (4, 3))
        return nn.Fp8Einsum()("bd,df->bf", x, kernel)


def float8(module: Callable[[], nn.Module]) -> Example:
    """A module that computes in float8."""
    return dataclasses.replace(bound(module, ROWS), float8=True)


def dense_by(operation: Any) -> Callable[[], nn.Module]:
    """A dense layer whose product is computed by this class."""
    return lambda: nn.Dense(3, dot_general_cls=operation)


LAYERS: dict[str, Example | Nothing] = {
    "Dense": bound(lambda: nn.Dense(3), ROWS),
    "DenseGeneral": bound(lambda: nn.DenseGeneral((2, 3), axis=(1, 2)), SEQUENCES),
    "Einsum": bound(lambda: nn.Einsum((4, 3), "...d,df->...f"), ROWS),
    "Embed": bound(lambda: nn.Embed(7, 4), IDS),
    "Conv": bound(lambda: nn.Conv(3, (3, 3)), IMAGES),
    "ConvLocal": bound(lambda: nn.ConvLocal(3, (3, 3)), IMAGES),
    "ConvTranspose": bound(lambda: nn.ConvTranspose(3, (2, 2), (2, 2)), IMAGES),
    "BatchNorm": bound(lambda: nn.BatchNorm(use_running_average=True), IMAGES),
    "LayerNorm": bound(nn.LayerNorm, ROWS),
    "RMSNorm": bound(nn.RMSNorm, ROWS),
    "GroupNorm": bound(lambda: nn.GroupNorm(2), IMAGES),
    "InstanceNorm": bound(nn.InstanceNorm, IMAGES),
    "SpectralNorm": bound(lambda: nn.SpectralNorm(nn.Dense(3)), ROWS, update_stats=False),
    "WeightNorm": bound(lambda: nn.WeightNorm(nn.Dense(3)), ROWS),
    "PReLU": bound(nn.PReLU, ROWS),
    "Dropout": bound(lambda: nn.Dropout(0.5, deterministic=True), ROWS),
    "Sequential": bound(lambda: nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(3)]), ROWS),
    "MultiHeadAttention": bound(lambda: nn.MultiHeadAttention(2), SEQUENCES),
    "MultiHeadDotProductAttention": bound(lambda: nn.MultiHeadDotProductAttention(2), SEQUENCES),
    "SelfAttention": bound(lambda: nn.SelfAttention(2), SEQUENCES),
    "LSTMCell": cell(lambda: nn.LSTMCell(3), (CARRY, CARRY), ROWS),
    "OptimizedLSTMCell": cell(lambda: nn.OptimizedLSTMCell(3), (CARRY, CARRY), ROWS),
    "GRUCell": cell(lambda: nn.GRUCell(3), CARRY, ROWS),
    "MGUCell": cell(lambda: nn.MGUCell(3), CARRY, ROWS),
    "SimpleCell": cell(lambda: nn.SimpleCell(3), CARRY, ROWS),
    "ConvLSTMCell": cell(lambda: nn.ConvLSTMCell(2, (3, 3)), (floats(2, 5, 5, 2),) * 2, IMAGES),
    "RNN": bound(lambda: nn.RNN(nn.LSTMCell(3)), SEQUENCES),
    "Bidirectional": bound(
        lambda: nn.Bidirectional(nn.RNN(nn.GRUCell(3)), nn.RNN(nn.GRUCell(3))), SEQUENCES
    ),
    "RNNCellBase": Nothing("the base class of cells"),
    "Fp8DotGeneral": float8(dense_by(nn.Fp8DotGeneral)),
    "Fp8DotGeneralOp": bound(dense_by(nn.Fp8DotGeneralOp), ROWS),
    "Fp8DirectDotGeneralOp": float8(dense_by(nn.Fp8DirectDotGeneralOp)),
    "NANOOFp8DotGeneralOp": bound(dense_by(nn.NANOOFp8DotGeneralOp), ROWS),
    "Fp8Einsum": float8(Fp8Einsum),
}
