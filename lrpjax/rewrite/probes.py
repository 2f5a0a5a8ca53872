"""Probes: zeros that a unit takes along, whose cotangents carry what its backward reports.

Because a report travels as a cotangent it works wherever relevance does: under ``remat`` and
``vmap``, and once per iteration of a scan.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from lrpjax import _compat
from lrpjax.plan.units import Unit
from lrpjax.rules.base import Split, wide_dtype

Array = Any

#: What a report holds, in this order: the columns of the ledger.
COLUMNS = (
    "relevance_in",
    "relevance_out",
    "bias",
    "stabiliser",
    "stopped",
    "remainder",
    "magnitude",
)

Probe = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Probing:
    """Which units report: all of them for the ledger, some for taps."""

    ledger: bool = False
    taps: frozenset[int] = frozenset()

    def probe(self, unit: Unit) -> Probe:
        """The zeros that a unit takes along; empty for one that isn't asked."""
        probe: Probe = {}
        if self.ledger:
            probe["report"] = jnp.zeros(len(COLUMNS), _dtype(unit))
        if unit.index in self.taps:
            outputs = (v for v in unit.outputs if v.inexact)
            probe["tap"] = tuple(jnp.zeros((*unit.loops, *v.shape), v.dtype) for v in outputs)
        return probe


def answer(
    probe: Probe,
    unit: Unit,
    split: Split,
    relevance: tuple[Array, ...],
    given: tuple[Array, ...],
) -> dict[str, Any]:
    """The cotangents of a unit's probe.

    Args:
        probe: what was asked for.
        unit: who answers.
        split: what bias, stabiliser and stops took.
        relevance: what arrived at the unit's outputs.
        given: what left at its inputs, in their dtypes.
    """
    floats = tuple(r for r, v in zip(relevance, unit.outputs, strict=True) if v.inexact)
    answers: dict[str, Any] = {}
    if "report" in probe:
        axes = _compat.varying(probe["report"])
        answers["report"] = _report(_dtype(unit), split, floats, given, axes)
    if "tap" in probe:
        answers["tap"] = floats
    return answers


def _dtype(unit: Unit) -> Any:
    dtypes = [v.dtype for v in (*unit.outputs, *unit.inputs) if v.inexact]
    return wide_dtype(*dtypes)


def _report(
    dtype: Any,
    split: Split,
    relevance: tuple[Array, ...],
    given: tuple[Array, ...],
    axes: frozenset[str],
) -> Array:
    arrived = [r.astype(dtype) for r in relevance]
    entries = (
        sum(jnp.sum(r) for r in arrived),
        sum(jnp.sum(r.astype(dtype)) for r in given if r is not None) + 0.0,
        split.bias(),
        split.stabiliser(),
        split.stopped(),
        split.remainder(),
        sum(jnp.sum(jnp.abs(r)) for r in arrived),
    )
    return jnp.stack([_part(jnp.asarray(entry, dtype), axes) for entry in entries])


def _part(entry: Array, axes: frozenset[str]) -> Array:
    """Inside a ``shard_map``: what each device reports, so that the reports add up."""
    alike = tuple(axes - _compat.varying(entry))
    return _compat.vary(entry, alike) / math.prod(map(jax.lax.axis_size, alike))
