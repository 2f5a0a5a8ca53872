"""What every ledger must satisfy."""

import pytest


def check(ledger, rounding):
    """Every unit explains what it took, and the rows add up."""
    absorbed = sum(row.bias + row.stabiliser + row.stopped + row.remainder for row in ledger.rows)
    scale = max(1.0, abs(ledger.start), max(abs(row.relevance_in) for row in ledger.rows))
    assert ledger.absorbed == ledger.start - ledger.inputs
    assert absorbed == pytest.approx(ledger.absorbed, abs=10 * rounding * scale)
    assert ledger.error <= rounding
    for row in ledger.rows:
        took = row.bias + row.stabiliser + row.stopped + row.remainder
        left = row.relevance_out + took
        size = max(abs(row.relevance_in), abs(left), row.magnitude)
        assert row.relevance_in == pytest.approx(left, abs=rounding * size + 1e-30)
