"""Eight simulated devices, double precision, and programs that are quick to compile."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _eight_devices_in_double_precision(x64):
    """Programs here are many and run once; the passes over HLO stay as they are."""
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices; on a CPU they are simulated")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
