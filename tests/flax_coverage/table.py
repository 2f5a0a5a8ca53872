"""A row for every layer: what it is recognised as, which presets plan, what is conserved."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from flax_coverage import linen_layers, nnx_layers
from flax_coverage.example import Example, Nothing
from lrpjax import PlanError, UnsupportedPrimitiveError, audit, lrp, plan, presets, targets

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

#: The largest errors that rounding explains: in single precision, and where relevance is float8,
#: with 4 significant bits.
SINGLE, FLOAT8 = 1e-6, 2.0**-4

_HEAD = """\
# Coverage of Flax's layers

Made by `cd tests && python -m flax_coverage`, and checked by `tests/test_coverage.py`: every \
layer that `flax.linen` and `flax.nnx` export, each by itself, with its input explained (of a \
cell: its input, with a carry that isn't zero) and relevance starting at all of its outputs.

- **units**: what the layer is recognised as, besides routes, in the order of the program;
- **presets**: how many of the {count} presets make a plan;
- **units' error**: the largest amount that no column of the ledger accounts for, as a fraction of \
a unit's Σ|R′|;
- **layer's error**: |ΣR + absorbed − start| as a fraction of Σ|start|. ΣR is what `lrp` gives the \
input, *absorbed* what all units of the ledger took, and *start* the sum of the layer's own outputs.

Errors are the largest of {audited}, in single precision. The largest of all is {largest}; the \
layers that compute in float8 have relevance in float8 there: the largest is {rounded}.

| layer | units | presets | units' error | layer's error |
| --- | --- | --- | --- | --- |
"""


def exported() -> set[str]:
    """Every class of a layer that the installed Flax exports."""
    return {
        f"{name}.{attribute}"
        for name, module, base in (("linen", nn, nn.Module), ("nnx", nnx, nnx.Module))
        for attribute, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


def not_in_the_table() -> list[str]:
    """Layers of the installed Flax without an example."""
    return sorted(exported() - set(LAYERS))


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a layer.

    Attributes:
        layer: its name.
        units: what it is recognised as, or why there is nothing to explain.
        presets: how many presets plan.
        errors: of its units and of the whole layer, each a number; "—" where there are none.
    """

    layer: str
    units: str
    presets: str = "—"
    errors: tuple[str, str] = ("—", "—")

    def __str__(self) -> str:
        return "| " + " | ".join([f"`{self.layer}`", self.units, self.presets, *self.errors]) + " |"

    @classmethod
    def parse(cls, line: str) -> Row:
        """The row that a line of the page is."""
        layer, units, planned, *errors = (cell.strip() for cell in line.strip("| \n").split(" | "))
        return cls(layer.strip("`"), units, planned, (errors[0], errors[1]))

    @property
    def largest(self) -> float:
        """The larger error."""
        return max((float(error) for error in self.errors if error != "—"), default=0.0)


def allowed(layer: str) -> float:
    """The largest error that a layer may have."""
    example = LAYERS[layer]
    return FLOAT8 if isinstance(example, Example) and example.float8 else SINGLE


def committed() -> dict[str, Row]:
    """The rows of docs/coverage.md."""
    lines = PAGE.read_text().splitlines()
    rows = (Row.parse(line) for line in lines if line.startswith("| `"))
    return {row.layer: row for row in rows}


def page(rows: dict[str, Row]) -> str:
    """The whole page."""
    there = [rows[layer] for layer in LAYERS if layer in rows]
    head = _HEAD.format(
        count=len(PRESETS),
        audited=" and ".join([", ".join(AUDITED[:-1]), AUDITED[-1]]),
        largest=_largest(there, SINGLE),
        rounded=_largest(there, FLOAT8),
    )
    return head + "".join(f"{row}\n" for row in there)


def _largest(rows: list[Row], precision: float) -> str:
    """The largest error of the layers that compute in a precision."""
    row = max((row for row in rows if allowed(row.layer) == precision), key=lambda r: r.largest)
    return f"{row.largest:.1e} (`{row.layer}`)"


def row(layer: str) -> Row:
    """Make the row of a layer of the installed Flax."""
    example = LAYERS[layer]
    if isinstance(example, Nothing):
        return Row(layer, f"({example.why})")
    model = example.make()
    try:
        units = _units(model, example)
    except UnsupportedPrimitiveError as error:
        return Row(layer, f"refused: no rule for `{error.primitive}`", "none")
    except PlanError as error:
        return Row(layer, f"refused: {error}", "none")
    refused = [name for name in PRESETS if not _plans(model, example, name)]
    found = [_errors(model, example, name) for name in AUDITED if name not in refused]
    errors = tuple(f"{max(each):.1e}" if max(each) else "0" for each in zip(*found, strict=True))
    count = "all" if not refused else f"all but {', '.join(refused)}"
    return Row(layer, units, count, errors)


def _units(model: Any, example: Example) -> str:
    """The kinds of a layer's units, each with how many there are."""
    # A lookup is a route by its rule; a person would call it a lookup.
    units = _plan(model, example, "default").units
    kinds = ["lookup" if unit.family == "lookup" else unit.kind for unit in units]
    counts = Counter(kind for kind in kinds if kind != "route")
    return ", ".join(kind + f" ×{n}" * (n > 1) for kind, n in counts.items()) or "routes only"


def _plan(model: Any, example: Example, preset: str) -> Any:
    options = {"argnums": example.explained, **example.options}
    return plan(model, PRESETS[preset], *example.args, **options)


def _plans(model: Any, example: Example, preset: str) -> bool:
    try:
        _plan(model, example, preset)
    except (PlanError, UnsupportedPrimitiveError):
        return False
    return True


def _errors(model: Any, example: Example, preset: str) -> tuple[float, float]:
    """Of the units and of the whole layer, which is a sum of its own."""
    explain = lrp(model, PRESETS[preset], argnums=example.explained)
    relevance = explain(*example.args, target=targets.all_outputs(), **example.options)
    options = {"argnums": example.explained, "target": targets.all_outputs(), **example.options}
    ledger = audit(model, PRESETS[preset], *example.args, **options)
    assert not ledger.not_finite and ledger.inputs != 0
    outputs = _numbers(model(*example.args, **example.options))
    absorbed = sum(row.absorbed for row in ledger.rows)
    lost = _numbers(relevance).sum() + absorbed - outputs.sum()
    return ledger.error, abs(lost) / np.abs(outputs).sum()


def _numbers(tree: Any) -> np.ndarray:
    """All elements of all arrays, in double precision."""
    return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])
