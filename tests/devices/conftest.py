"""Eight simulated devices and double precision."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _eight_devices_in_double_precision(x64):
    """On behalf of every test in this folder."""
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices; on a CPU they are simulated")
