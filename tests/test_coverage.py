"""docs/coverage.md says of every layer that Flax exports what is explained of it.

``cd tests && python -m flax_coverage`` writes the page again.
"""

import jax
import pytest
from flax_coverage import table
from flax_coverage.example import ROWS, Example

AGAIN = "and write docs/coverage.md again: cd tests && python -m flax_coverage"

pytestmark = pytest.mark.smoke


def test_every_layer_that_flax_exports_is_in_the_table():
    """Of whichever Flax is installed."""
    missing = table.not_in_the_table()
    assert not missing, (
        f"Flax exports {', '.join(missing)}: add an example of each to LAYERS in "
        f"tests/flax_coverage/linen_layers.py or nnx_layers.py, {AGAIN}"
    )


def test_a_layer_that_flax_exports_anew_is_missed(monkeypatch):
    monkeypatch.setattr(table.nnx, "Fresh", type("Fresh", (table.nnx.Linear,), {}), raising=False)
    assert table.not_in_the_table() == ["nnx.Fresh"]


def test_the_page_has_a_row_of_every_example_and_is_as_the_table_writes_it():
    rows = table.committed()
    assert set(rows) == set(table.LAYERS), AGAIN
    assert table.PAGE.read_text() == table.page(rows), AGAIN


def test_a_layer_without_a_rule_is_said_to_be_refused(monkeypatch):
    without = Example(lambda: lambda x: jax.lax.cumlogsumexp(x, 1), (ROWS,))
    monkeypatch.setitem(table.LAYERS, "nnx.Fresh", without)
    assert table.row("nnx.Fresh").units == "refused: no rule for `cumlogsumexp`"


@pytest.mark.parametrize("layer", [name for name in table.LAYERS if name in table.exported()])
def test_a_layer_is_as_the_page_says(layer):
    """Its units and presets exactly; what no one took is rounding, here and on the page."""
    said, found = table.committed()[layer], table.row(layer)
    assert (found.units, found.presets) == (said.units, said.presets)
    assert max(found.largest, said.largest) <= table.allowed(layer)
