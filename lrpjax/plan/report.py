"""Tables for a person to read: the plan's and the ledger's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from lrpjax.plan.units import Unit
from lrpjax.rules import Rule

_HEADER = ("layer", "unit", "shapes", "rule", "why", "folded in")


def table(units: Iterable[Unit]) -> str:
    """One row per unit: layer, unit, shapes, rule, why that rule, what was folded in."""
    rows = [
        (
            unit.layer,
            unit.kind,
            f"{_shapes(unit.inputs)} → {_shapes(unit.outputs)}",
            describe(unit.rule),
            unit.reason,
            "; ".join(unit.folded),
        )
        for unit in units
    ]
    return layout(_HEADER, rows)


def describe(rule: Rule) -> str:
    """A rule with its numbers, short: ``Gamma(0.25, 1e-06)``."""
    values = (getattr(rule, field.name) for field in dataclasses.fields(rule))
    given = (_short(value) for value in values if value is not None)
    return f"{type(rule).__name__}({', '.join(given)})"


def layout(header: Sequence[str], rows: Sequence[Sequence[str]], right: int | None = None) -> str:
    """Columns in line; from the column ``right`` on, numbers flush right."""
    everything = [header, *rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(header))]
    start = len(header) if right is None else right

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if i >= start else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "  ".join("─" * width for width in widths), *map(line, rows)])


def _shapes(values: Iterable) -> str:
    return " ".join("×".join(map(str, v.shape)) or "scalar" for v in values) or "—"


def _short(value: object) -> str:
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, jax.core.Tracer):
        return "traced"
    array = np.asarray(value)
    return f"{array.item():g}" if array.ndim == 0 else f"array[{'×'.join(map(str, array.shape))}]"
