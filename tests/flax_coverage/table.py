"""A row for every layer: what it is recognised as, which presets plan, how exactly ledgers close."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import flax.linen as nn
from flax import nnx
from flax_coverage import linen_layers, nnx_layers
from flax_coverage.example import Example, Nothing

from lrpjax import PlanError, UnsupportedPrimitiveError, audit, plan, presets, targets

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"

PRESETS = {
    name: presets.epsilon_gamma_box(-3.0, 3.0) if name == "epsilon_gamma_box" else name
    for name in presets.names()
}
AUDITED = ("default", "attn_lrp", "epsilon_plus_flat")

LAYERS: dict[str, Example | Nothing] = {
    **{f"linen.{name}": example for name, example in linen_layers.LAYERS.items()},
    **{f"nnx.{name}": example for name, example in nnx_layers.LAYERS.items()},
}

_HEAD = """\
# Coverage of Flax's layers

Made by `cd tests && python -m flax_coverage`, and checked by `tests/test_coverage.py`: every layer \
that `flax.linen` and `flax.nnx` export, each by itself, with its input explained (of a cell: its \
input, with a carry that isn't zero) and relevance starting at all of its outputs.

- **units**: what the layer is recognised as, besides routes, in the order of the program;
- **presets**: how many of the {count} presets make a plan;
- **ledger**: the largest amount that no column of the ledger accounts for, as a fraction of a \
unit's Σ|R′|, in single precision, for {audited}.

| layer | units | presets | ledger |
| --- | --- | --- | --- |
"""


def exported() -> set[str]:
    """Every class of a layer that the installed Flax exports."""
    return {
        f"{name}.{attribute}"
        for name, module, base in (("linen", nn, nn.Module), ("nnx", nnx, nnx.Module))
        for attribute, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a layer.

    Attributes:
        layer: its name.
        units: what it is recognised as, or why there is nothing to explain.
        presets: how many presets plan.
        ledger: a bound on the error of its ledgers; None where there is none.
    """

    layer: str
    units: str
    presets: str
    ledger: float | None

    def __str__(self) -> str:
        bound = "—" if self.ledger is None else f"≤ {self.ledger:.0e}".replace("e-0", "e-")
        return f"| `{self.layer}` | {self.units} | {self.presets} | {bound} |"

    @classmethod
    def parse(cls, line: str) -> Row:
        """The row that a line of the page is."""
        layer, units, planned, bound = (cell.strip() for cell in line.strip("| \n").split(" | "))
        ledger = None if bound == "—" else float(bound.removeprefix("≤ "))
        return cls(layer.strip("`"), units, planned, ledger)


def committed() -> dict[str, Row]:
    """The rows of docs/coverage.md."""
    lines = PAGE.read_text().splitlines()
    rows = (Row.parse(line) for line in lines if line.startswith("| `"))
    return {row.layer: row for row in rows}


def page(rows: dict[str, Row]) -> str:
    """The whole page."""
    audited = ", ".join(AUDITED[:-1]) + f" and {AUDITED[-1]}"
    head = _HEAD.format(count=len(PRESETS), audited=audited)
    return head + "".join(f"{rows[layer]}\n" for layer in LAYERS if layer in rows)


def row(layer: str) -> Row:
    """Make the row of a layer of the installed Flax."""
    example = LAYERS[layer]
    if isinstance(example, Nothing):
        return Row(layer, f"({example.why})", "—", None)
    model = example.make()
    try:
        planned = _plan(model, example, "default")
    except UnsupportedPrimitiveError as error:
        return Row(layer, f"refused: no rule for `{error.primitive}`", "none", None)
    kinds = Counter(unit.kind for unit in planned.units if unit.kind != "route")
    units = ", ".join(kind + f" ×{n}" * (n > 1) for kind, n in kinds.items()) or "routes only"
    refused = [name for name in PRESETS if not _plans(model, example, name)]
    errors = [_error(model, example, name) for name in AUDITED if name not in refused]
    count = "all" if not refused else f"all but {', '.join(refused)}"
    return Row(layer, units, count, _bound(max(errors)))


def _plan(model: Any, example: Example, preset: str) -> Any:
    options = {"argnums": example.explained, **example.options}
    return plan(model, PRESETS[preset], *example.args, **options)


def _plans(model: Any, example: Example, preset: str) -> bool:
    try:
        _plan(model, example, preset)
    except PlanError:
        return False
    return True


def _error(model: Any, example: Example, preset: str) -> float:
    options = {"argnums": example.explained, "target": targets.all_outputs(), **example.options}
    ledger = audit(model, PRESETS[preset], *example.args, **options)
    assert not ledger.not_finite and any(entry.magnitude > 0 for entry in ledger.rows)
    return ledger.error


def _bound(error: float) -> float:
    """The smallest power of ten from 10⁻⁶ that an error is below."""
    return next(bound for bound in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0) if error <= bound)
