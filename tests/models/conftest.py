import jax
import pytest

from lrpjax import models


@pytest.fixture(scope="session")
def classifier():
    return models.load("efficientnet_lite0")


@pytest.fixture
def quick_compilation():
    """For what is large and runs once: most of XLA's optimisations would not pay there."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)
