"""Computing late what only the backward pass needs.

XLA's CPU backend runs whatever is ready as early as it can, and drops optimisation barriers before
it schedules. The signed rules' extra maps need only a layer's input: they would run in the forward
pass, and their results would wait there in memory for relevance to arrive. So their weights are
made to depend on it, by a zero that XLA can't tell to be one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

Array = Any


def after(array: Array, relevance: Array) -> Array:
    """The same array, not before relevance is there.

    In double precision, where memory is not what counts, at once: XLA's own kernel for
    convolutions in float64 was seen to read beyond an operand once buffers lay otherwise.
    """
    double = jnp.finfo(array.dtype).bits > jnp.finfo(jnp.float32).bits
    if double or not (_on_one_cpu() and relevance.size):
        return array
    return array + _zero(lax.stop_gradient(relevance)).astype(array.dtype)


def _on_one_cpu() -> bool:
    """Other backends schedule for memory; and to look at one element of an array that is spread
    over devices would take a message between them.
    """
    return jax.default_backend() == "cpu" and jax.device_count() == 1


@custom_vmap
def _zero(relevance: Array) -> Array:
    """0.0, NaN or not: the second bit of a number that has one."""
    first = lax.slice(relevance, (0,) * relevance.ndim, (1,) * relevance.ndim).reshape(())
    sign = lax.bitcast_convert_type(first.astype(jnp.float32), jnp.uint32) >> 31
    return (sign & 2).astype(jnp.float32)


@_zero.def_vmap
def _of_any_example(size: int, batched: list[bool], relevance: Array) -> tuple[Array, bool]:
    """One zero for all: many explanations of one input share the maps of its layers."""
    return _zero(relevance[0] if batched[0] else relevance), False
