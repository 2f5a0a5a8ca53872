import pytest

from lrpjax import models


@pytest.fixture(scope="session")
def classifier():
    return models.load("efficientnet_lite0")
