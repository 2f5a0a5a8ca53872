"""docs/coverage.md says of every layer that Flax exports what is explained of it.

``cd tests && python -m flax_coverage`` writes the page again.
"""

import jax
import pytest
from flax_coverage import table


@pytest.fixture(autouse=True)
def _quick_to_compile():
    """Programs here are small, many, and run once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


EXPORTED = table.exported()


def test_every_layer_that_flax_exports_has_an_example():
    assert sorted(EXPORTED - set(table.LAYERS)) == []


def test_the_page_has_a_row_of_every_example_and_is_as_the_table_writes_it():
    rows = table.committed()
    assert set(rows) == set(table.LAYERS)
    assert table.PAGE.read_text() == table.page(rows)


@pytest.mark.parametrize("layer", [layer for layer in table.LAYERS if layer in EXPORTED])
def test_a_layer_is_as_the_page_says(layer):
    """Its units and presets exactly; its ledgers close at least as well."""
    said, found = table.committed()[layer], table.row(layer)
    assert (found.units, found.presets) == (said.units, said.presets)
    assert (found.ledger is None) == (said.ledger is None)
    assert found.ledger is None or found.ledger <= said.ledger
