"""The ledger: where every bit of relevance went, unit by unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lrpjax.call import part
from lrpjax.explain import Result, run
from lrpjax.plan.report import describe, layout
from lrpjax.presets import as_composite
from lrpjax.rewrite.probes import COLUMNS
from lrpjax.rules import Rule
from lrpjax.transform import AnyComposite, as_options, plan


@dataclasses.dataclass(frozen=True)
class Row:
    """What one unit did with the relevance that reached it, summed over all elements.

    Attributes:
        layer, unit, rule: as in the plan; ``unit`` is its kind.
        relevance_in: what arrives at its outputs.
        relevance_out: what leaves at its inputs.
        bias: what constants took: biases, shifts, f(0), padding values.
        stabiliser: what ε took, and outputs with a zero denominator.
        stopped: what ended here.
        remainder: what the rule itself leaves out, and says so.
        magnitude: Σ|R′| at its outputs.
    """

    layer: str
    unit: str
    rule: Rule
    relevance_in: float
    relevance_out: float
    bias: float
    stabiliser: float
    stopped: float
    remainder: float
    magnitude: float

    @property
    def absorbed(self) -> float:
        """What the unit took, all columns together."""
        return self.bias + self.stabiliser + self.stopped + self.remainder

    @property
    def unexplained(self) -> float:
        """What no column accounts for: rounding, if all is well."""
        return self.relevance_in - self.relevance_out - self.absorbed


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Where every bit of relevance went. ``str(ledger)`` is a table for a person to read.

    Attributes:
        rows: one per unit, in the order of the program.
        start: the relevance it began with, summed.
        inputs: the relevance that reached the explained inputs, summed.
        not_finite: what held NaN or infinity: explained inputs, outputs, or the first unit (from
            the output) whose relevance did.
    """

    rows: tuple[Row, ...]
    start: float
    inputs: float
    not_finite: tuple[str, ...] = ()

    @property
    def absorbed(self) -> float:
        """Start − inputs; the rows add up to it."""
        return self.start - self.inputs

    @property
    def error(self) -> float:
        """The largest unexplained amount of any unit, over the Σ|R′| that reached it."""
        ratios = [abs(row.unexplained) / row.magnitude for row in self.rows if row.magnitude != 0]
        return float(np.max(ratios, initial=0.0))

    def __str__(self) -> str:
        header = (
            "layer",
            "unit",
            "rule",
            "in",
            "out",
            "bias",
            "stabiliser",
            "stopped",
            "remainder",
        )
        rows = [
            (row.layer, row.unit, describe(row.rule), *map(_number, dataclasses.astuple(row)[3:9]))
            for row in self.rows
        ]
        totals = (
            f"start {self.start:.6g}, inputs {self.inputs:.6g}, absorbed {self.absorbed:.6g}; "
            f"closes to {self.error:.1e} of each unit's Σ|R′|"
        )
        notes = [f"not finite: {name}" for name in self.not_finite]
        return "\n".join([layout(header, rows, right=3), totals, *notes])


def audit(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    target: Any = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    **kwargs: Any,
) -> Ledger:
    """Where every bit of relevance went: what each unit's bias, stabiliser and stops took.

    Args:
        fun, composite, argnums, has_aux: as in :func:`lrpjax.lrp`.
        *args, **kwargs: the arguments of ``fun``.
        target: where relevance starts, as in :func:`lrpjax.lrp`.

    Returns:
        The ledger. ``start − inputs`` is what its rows absorbed, to float rounding.

    Raises:
        PlanError, UnsupportedPrimitiveError: as :func:`lrpjax.lrp` does.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> f = lambda x: x @ jnp.ones((2, 1)) + jnp.array([1.0])
        >>> ledger = lrpjax.audit(f, None, jnp.array([[1.0, 2.0]]))
        >>> round(ledger.start, 4), round(ledger.inputs, 4), round(ledger.rows[0].bias, 4)
        (4.0, 3.0, 1.0)
    """
    rules = as_composite(composite)
    options = dataclasses.replace(as_options(argnums, has_aux), ledger=True)
    result = run(fun, rules, options, target, args, kwargs)
    planned = plan(fun, rules, *args, argnums=argnums, has_aux=has_aux, **kwargs)
    reports = jax.device_get(result.reports)
    rows = tuple(
        Row(
            unit.layer,
            unit.kind,
            unit.rule,
            **dict(zip(COLUMNS, map(float, reports[unit.index]), strict=True)),
        )
        for unit in planned.units
    )
    call, _, _ = part(fun, options, args, kwargs)
    notes = _not_finite([args[i] for i in call.explained], rows, result)
    return Ledger(rows, _sum(result.start), _sum(result.relevance), notes)


def _sum(tree: Any) -> float:
    """The sum of all elements, in float64 on the host."""
    return float(sum(np.sum(np.asarray(a, np.float64)) for a in jax.tree.leaves(tree)))


def _not_finite(explained: Any, rows: tuple[Row, ...], result: Result) -> tuple[str, ...]:
    """Where NaN or infinity was seen: the inputs, the outputs, then from the outputs backwards."""
    notes = []
    if not _is_finite(explained):
        notes.append("the explained inputs")
    if not _is_finite(result.out):
        notes.append("the model's outputs")
    first = next((row for row in reversed(rows) if not np.isfinite(row.relevance_out)), None)
    if first is not None:
        notes.append(f"relevance, first in layer '{first.layer}' ({first.unit})")
    return tuple(notes)


def _is_finite(tree: Any) -> bool:
    return all(np.isfinite(np.asarray(a, np.float64)).all() for a in jax.tree.leaves(tree))


def _number(value: float) -> str:
    return f"{value:.4g}"
