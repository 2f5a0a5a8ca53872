"""Max pooling by comparing slices: the elements that the primitive's own VJP chooses, ties too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.networks import close, normal

from lrpjax import audit, lrp

WINDOWS = {
    "2×2": dict(dims=(1, 2, 2, 1), strides=(1, 2, 2, 1), padding="VALID"),
    "3×3 over 2, padded": dict(
        dims=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding=((0, 0), (1, 1), (1, 1), (0, 0))
    ),
    "overlapping, SAME": dict(dims=(1, 3, 2, 1), strides=(1, 1, 1, 1), padding="SAME"),
    "gaps between windows": dict(dims=(1, 2, 1, 1), strides=(1, 3, 2, 1), padding="VALID"),
    "over channels": dict(dims=(1, 1, 1, 2), strides=(1, 1, 1, 2), padding="VALID"),
    "spread input": dict(
        dims=(1, 2, 2, 1), strides=(1, 2, 2, 1), padding="VALID", base_dilation=(1, 2, 1, 1)
    ),
    "one window over all": dict(dims=(1, 9, 8, 1), strides=(1, 1, 1, 1), padding="VALID"),
}


def pool(x, reducer, dims, strides, padding, **dilations):
    fill = -jnp.inf if reducer is lax.max else jnp.inf
    return lax.reduce_window(x, fill, reducer, dims, strides, padding, **dilations)


@pytest.mark.parametrize("reducer", [lax.max, lax.min], ids=["max", "min"])
@pytest.mark.parametrize("name", WINDOWS)
def test_pooling_gives_to_the_elements_its_vjp_gives_to(x64, name, reducer):
    """Whole numbers from −2 to 2, so that most windows have several largest elements."""
    x = jnp.asarray(np.round(normal(2, 9, 8, 2, seed=5)).clip(-2, 2))
    function = lambda x: pool(x, reducer, **WINDOWS[name])
    y, vjp = jax.vjp(function, x)
    start = normal(*y.shape, seed=6)
    close(lrp(function)(x, target=lambda out: jnp.asarray(start)), vjp(jnp.asarray(start))[0])


def test_windows_with_gaps_inside_which_have_no_vjp_of_their_own(x64):
    """Output (i, j) takes the largest of rows i and i + 3, columns 2j and 2j + 2."""
    x = normal(1, 9, 8, 1, seed=8)
    settings = dict(dims=(1, 2, 2, 1), strides=(1, 1, 2, 1), padding="VALID")
    start = normal(1, 6, 3, 1, seed=9)
    expected = np.zeros_like(x)
    for i, j in np.ndindex(6, 3):
        places = [(0, i + 3 * a, 2 * j + 2 * b, 0) for a in range(2) for b in range(2)]
        expected[max(places, key=lambda place: x[place])] += start[0, i, j, 0]
    function = lambda x: pool(x, lax.max, **settings, window_dilation=(1, 3, 2, 1))
    close(lrp(function)(jnp.asarray(x), target=lambda out: jnp.asarray(start)), expected)


def test_it_is_the_first_of_equals_that_gets_the_relevance():
    x = jnp.array([[1.0, 3.0, 3.0, 2.0], [0.0, 5.0, 5.0, 5.0]])
    function = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID")
    found = lrp(function)(x, target=lambda out: out)
    np.testing.assert_array_equal(found, [[0.0, 3.0, 3.0, 0.0], [0.0, 5.0, 5.0, 0.0]])


def test_pooling_keeps_all_relevance_when_mapped_over_and_differentiated():
    x = jnp.asarray(normal(3, 6, 6, 1, seed=7), jnp.float32)
    function = lambda x: pool(x, lax.max, **WINDOWS["3×3 over 2, padded"])
    everything = lambda out: out
    mapped = jax.vmap(lambda one: lrp(function)(one[None], target=everything)[0])(x)
    np.testing.assert_array_equal(mapped, lrp(function)(x, target=everything))
    assert audit(function, None, x, target=everything).error < 1e-6
    slope = jax.grad(lambda x: (lrp(function)(x, target=everything) ** 2).sum())(x)
    assert np.isfinite(slope).all() and np.any(slope)
