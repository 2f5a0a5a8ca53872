"""Every form of `lax.scan` is explained as the same program without a loop."""

import pytest
from control_flow.programs import EXACT, FORMS, X, both, looped, plain
from support.networks import close


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


@pytest.mark.parametrize("form", FORMS)
def test_a_loop_is_explained_as_its_rounds(form):
    close(*both(looped(form), plain(form), EXACT, X), rtol=1e-9)
