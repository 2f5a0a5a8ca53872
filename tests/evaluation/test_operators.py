"""What regions are replaced with, and which pixels and which order they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import slow_perturbation as slow

from lrpjax.evaluation import (
    OPERATORS,
    ORDERS,
    Blur,
    Constant,
    Dirichlet,
    Mean,
    Operator,
    UniformNoise,
)
from lrpjax.evaluation.operators import as_operator
from lrpjax.evaluation.orders import Grid, removal_order

IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 12, 10, 3)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(1), 3)


def test_uniform_noise_fills_its_range_for_each_colour():
    low, high = np.array([0.0, -1.0, 100.0]), np.array([1.0, 1.0, 300.0])
    noise = np.asarray(UniformNoise(tuple(low), tuple(high))(KEYS, IMAGES))
    assert (noise >= low).all() and (noise < high).all()
    unit = (noise - low) / (high - low)
    # 360 draws for each colour: a standard error of 0.015 for the mean, 0.008 for the deviation.
    np.testing.assert_allclose(unit.mean((0, 1, 2)), 0.5, atol=0.06)
    np.testing.assert_allclose(unit.std((0, 1, 2)), 12**-0.5, atol=0.04)
    assert len(np.unique(unit)) > 1000, "each pixel and colour is drawn by itself"


def test_dirichlet_has_its_distributions_moments():
    alpha = np.array([1.0, 2.0, 5.0])
    drawn = np.asarray(Dirichlet(tuple(alpha), 10, 20)(KEYS, IMAGES))
    mixture = (drawn - 10) / 10
    np.testing.assert_allclose(mixture.sum(-1), 1, atol=1e-4)
    mean = alpha / alpha.sum()
    np.testing.assert_allclose(mixture.mean((0, 1, 2)), mean, atol=0.04)
    variance = mean * (1 - mean) / (alpha.sum() + 1)
    np.testing.assert_allclose(mixture.var((0, 1, 2)), variance, rtol=0.25)
    with pytest.raises(ValueError, match="one colour"):
        Dirichlet()(KEYS, IMAGES[..., :1])


def test_blur_is_a_normalised_gaussian():
    found = Blur(1.7)(None, jnp.asarray(IMAGES))
    for image, blurred in zip(IMAGES, found, strict=True):
        np.testing.assert_allclose(blurred, slow.blurred(image, 1.7), rtol=1e-4)


def test_mean_and_constant_are_one_colour():
    means = np.array([[[pixel for row in image for pixel in row]] for image in IMAGES])
    np.testing.assert_allclose(
        Mean()(None, jnp.asarray(IMAGES))[:, 5, 5], means.mean((1, 2)), rtol=1e-5
    )
    filled = Constant(7)(None, jnp.asarray(IMAGES))
    assert filled.shape == IMAGES.shape and filled.dtype == jnp.float32
    assert (np.asarray(filled) == 7).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", OPERATORS)
def test_replacements_are_like_the_images(name, dtype):
    operator = as_operator(name)
    assert isinstance(operator, Operator)
    shown = jax.eval_shape(operator, KEYS, jax.ShapeDtypeStruct(IMAGES.shape, dtype))
    assert (shown.shape, shown.dtype) == (IMAGES.shape, dtype)


@pytest.mark.parametrize("region", [(1, 1), (3, 4), (5, 10), (20, 3)])
def test_every_pixel_is_in_one_region_whose_score_is_its_sum(region):
    grid = Grid(12, 10, region)
    boxes = slow.regions_of((12, 10), region)
    assert grid.regions == len(boxes)
    relevance = np.random.default_rng(2).integers(-9, 9, (2, 12, 10, 3)).astype(np.float32)
    sums = [[sum(one[i, j].sum() for i, j in box) for box in boxes] for one in relevance]
    np.testing.assert_array_equal(grid.scores(jnp.asarray(relevance)), sums)
    spread = grid.spread(jnp.arange(grid.regions)[None])[0]
    for number, box in enumerate(boxes):
        assert {int(spread[i, j]) for i, j in box} == {number}


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "random"])
def test_orders_with_ties(order):
    scores = np.random.default_rng(3).integers(-3, 4, (4, 20)).astype(np.float32)
    scores[:, ::7] = -0.0
    place = removal_order(0, (order,), jnp.asarray(scores), jax.random.split(KEYS[0], 4))
    for one, places in zip(scores, np.asarray(place), strict=True):
        np.testing.assert_array_equal(np.argsort(places), slow.sorted_regions(order, one))


def test_the_random_order_is_a_permutation_of_each_image():
    keys = jax.random.split(jax.random.key(3), 300)
    place = np.asarray(removal_order(0, ("random",), jnp.zeros((300, 6)), keys))
    np.testing.assert_array_equal(np.sort(place), np.tile(np.arange(6), (300, 1)))
    # Each region is equally often at each place: 50 times, give or take 6.5.
    counts = [[(place[:, region] == p).sum() for p in range(6)] for region in range(6)]
    assert np.min(counts) > 22 and np.max(counts) < 78
