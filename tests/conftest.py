"""What every test shares: the platform, and double precision for those that ask for it."""

import os

# A test worker per core would otherwise reserve most of an accelerator's memory each. Naming a
# platform in the environment still wins.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import pytest


@pytest.fixture
def x64():
    """Run one test with 64-bit types, and leave the other tests their own precision."""
    with jax.enable_x64(True):
        yield


def _hypothesis_profiles():
    """Few, repeatable examples in CI; HYPOTHESIS_PROFILE=deep draws many new ones."""
    slow = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
    hypothesis.settings.register_profile(
        "ci", max_examples=40, derandomize=True, database=None, **slow
    )
    hypothesis.settings.register_profile("deep", max_examples=1000, print_blob=True, **slow)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_hypothesis_profiles()
