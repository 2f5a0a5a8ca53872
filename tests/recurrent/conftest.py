"""Programs here are small, many, and run once: LLVM's optimisations cost more than they save."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _quick_to_compile():
    """The passes over HLO, which decide what operations there are, stay as they are."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
