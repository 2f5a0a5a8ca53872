"""What every test shares: platform, compilation, memory, and double precision if asked for."""

import ctypes
import os
from pathlib import Path

# A test worker per core would otherwise reserve most of an accelerator's memory each. Naming a
# platform in the environment still wins.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import pytest
from support import compiling

compiling.quickly()

# Programs for many devices run on simulated ones; it must be said before the first array is made.
# All else runs on the first of them, as fast as if it were alone.
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def x64():
    """Run one test with 64-bit types, and leave the other tests their own precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory():
    """Let go of what earlier modules compiled, about a megabyte a program, before it is much."""
    yield
    if _resident() > 1 << 30:
        jax.clear_caches()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # or glibc keeps it, and every module would seem to be too large


def _resident():
    """The memory that this process takes, in bytes; where /proc doesn't say, 0."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def _hypothesis_profiles():
    """Few, repeatable examples in CI; HYPOTHESIS_PROFILE=deep draws many new ones."""
    slow = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
    hypothesis.settings.register_profile(
        "ci", max_examples=40, derandomize=True, database=None, **slow
    )
    hypothesis.settings.register_profile("deep", max_examples=1000, print_blob=True, **slow)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_hypothesis_profiles()
