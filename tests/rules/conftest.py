"""The rule tests compare with float64 formulas, so all of them run in double precision."""

import pytest


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Ask for 64-bit types on behalf of every test in this folder."""
