"""A layer with very many weights, some of its outputs at a time.

Rules that treat positive and negative weights apart make copies of them: of VGG16's first dense
layer, 411 MB. Relevance of each output is shared by its own weights alone, so such a layer can be
taken in slices of its outputs, one after another, and the parts added up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lrpjax import _compat
from lrpjax.plan.units import Unit
from lrpjax.rules import Rule, views
from lrpjax.rules.base import Split

Array = Any

#: How large the weights of a slice may be, in bytes.
SLICE = 64 * 2**20


def slices(unit: Unit, rule: Rule, layer: views.Affine) -> int:
    """In how many slices of equal size a layer is taken: one, but for the largest."""
    if not (rule.needs_signs and unit.family == "affine" and _on_one_device()):
        return 1
    spec = unit.spec
    if spec.weights != 1 or spec.core.name != "dot_general" or _compat.has_sharding(layer.z):
        return 1
    weights, features = spec.core.inputs[1], layer.z.shape[-1]
    if spec.core.params["dimension_numbers"] != (((layer.x.ndim - 1,), (0,)), ((), ())):
        return 1
    wanted = -(-weights.size * layer.z.dtype.itemsize // SLICE)
    return next((n for n in range(wanted, 2 * wanted + 1) if features % n == 0), 1)


def _on_one_device() -> bool:
    """Slices of weights that are spread over several devices would have to be gathered."""
    return jax.device_count() == 1


def share_in_slices(
    number: int,
    formula: Callable[[views.Affine, Array], Split],
    layer: views.Affine,
    relevance: Array,
) -> Split:
    """What the formula gives for the whole layer; nothing but relevance is summed up."""
    features = layer.z.shape[-1]
    size = features // number

    def cut(array: Array, start: Array) -> Array:
        whole = array.ndim and array.shape[-1] == features
        return lax.dynamic_slice_in_dim(array, start, size, axis=-1) if whole else array

    def add(given: Array, start: Array) -> tuple[Array, None]:
        w = cut(layer.fold(), start)
        part = dataclasses.replace(
            layer,
            z=cut(layer.z, start),
            bias=cut(layer.bias, start),
            fold=lambda: w,
            pull=lambda c: layer.transpose(c, w),
            after=lambda array: array,  # a loop doesn't begin before relevance is there
        )
        (one,) = formula(part, cut(relevance, start)).relevance
        return given + one, None

    starts = jnp.arange(0, features, size)
    given, _ = lax.scan(add, jnp.zeros_like(layer.x), starts)
    return Split((given,))
