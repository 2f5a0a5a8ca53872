"""Binder et al. 2016: the sum of the messages never falls below a part of the output's own."""

import jax.numpy as jnp
import numpy as np
import pytest
from normalisation import formulas
from normalisation.lrn import neighbours
from support.networks import normal

from lrpjax import Composite, lrp, rules

#: The exponent, the least Σ_j z_jk / z_kk there is, and the most Σ_j |z_jk / Σ_i z_ik|.
BOUNDS = {0.5: (0.615, 2.25), 0.75: (0.546, 2.66), 1.0: (0.5, 3.0), 2.0: (0.407, 3.91)}


def exact(c):
    """The two bounds as formulas."""
    most = 2 * (c / (c + 1)) ** (c + 1)
    return 1 - most, (1 + most) / (1 - most)


def draws(count, n, seed):
    """Windows of numbers of all sizes and both signs; the first is the output's own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, n)) * 10.0 ** rng.uniform(-3, 3, size=(count, n))


def ratios(x, c):
    """Σ_j z_jk / z_kk and Σ_j |z_jk| / |Σ_j z_jk| from the paper's messages, with b = 1."""
    own, squares = x[:, 0], x**2
    alone = own / (1 + squares[:, 0]) ** c
    others = -2 * c * own[:, None] * squares[:, 1:] * (1 + squares.sum(1))[:, None] ** (-c - 1)
    total = alone + others.sum(1)
    return total / alone, (np.abs(alone) + np.abs(others).sum(1)) / np.abs(total)


@pytest.mark.parametrize("c", BOUNDS)
def test_a_million_draws_keep_the_bound_and_come_near_it(c):
    least, most = exact(c)
    assert (least, most) == pytest.approx(BOUNDS[c], abs=0.006)
    found = [ratios(draws(250_000, n, seed=n), c) for n in (2, 3, 5, 9)]
    ratio, size = (np.concatenate(each) for each in zip(*found, strict=True))
    assert ratio.min() >= least * (1 - 1e-12)
    assert ratio.min() < least + 0.01
    assert ratio.max() <= 1
    assert size.max() <= most * (1 + 1e-12)
    assert size.max() > most - 0.1


def test_the_rules_own_denominators_keep_it(x64):
    """A start at the middle of a window of nine: its relevance is z_kk / Σz, without ε."""
    x, middle = draws(20_000, 9, seed=9), 4
    f = lambda c, x: x / (1 + neighbours(x * x, (1, 9))) ** c
    explain = lrp(f, Composite(normalisation=rules.Taylor(epsilon=0.0)), argnums=1)
    start = np.zeros_like(x)
    start[:, middle] = 1.0
    for c in BOUNDS:
        given = np.asarray(explain(c, x, target=lambda y: jnp.asarray(start)))
        least, most = exact(c)
        assert (1 / given[:, middle]).min() >= least * (1 - 1e-9)
        assert np.abs(given).sum(1).max() <= most * (1 + 1e-9)
        own_first = np.roll(x, -middle, axis=1)
        np.testing.assert_allclose(1 / given[:, middle], ratios(own_first, c)[0], rtol=1e-9)


@pytest.mark.parametrize(("size", "b", "c"), [(5, 0.3, 0.75), (3, 2.0, 1.0), (1, 1.0, 0.5)])
def test_the_matrix_of_messages_is_the_papers_loop(size, b, c):
    """The formulas of these tests on a matrix, against the paper's, element by element."""
    x, r = normal(8, seed=40), normal(8, seed=41)
    x[[2, 3]] = 0
    layer = formulas.Layer(b * formulas.window(8, size // 2, size // 2), 1.0, c)
    np.testing.assert_allclose(
        formulas.taylor(layer, x, r), formulas.slow_lrn(x, r, size, b, c), rtol=1e-12, atol=1e-15
    )
