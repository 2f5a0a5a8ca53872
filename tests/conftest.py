"""What every test shares: the platform, and double precision for those that ask for it."""

import os

# A test worker per core would otherwise reserve most of an accelerator's memory each. Naming a
# platform in the environment still wins.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest


@pytest.fixture
def x64():
    """Run one test with 64-bit types, and leave the other tests their own precision."""
    with jax.enable_x64(True):
        yield
