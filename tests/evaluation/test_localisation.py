"""Localisation scores against loops over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import normal

from lrpjax.evaluation.localisation import (
    centre_gaussian,
    inside_total_ratio,
    masks_from_boxes,
    pointing_game,
    relevance_rank_accuracy,
)

RELEVANCE = normal(6, 7, 5, seed=430).astype(np.float32)
MASKS = masks_from_boxes(
    [
        (0, 0, 2, 2),
        (1, 3, 5, 7),
        (4, 6, 5, 7),
        (0, 0, 5, 7),
        [(0, 0, 1, 1), (3, 2, 5, 4)],
        (2, 1, 3, 6),
    ],
    (7, 5),
)


@pytest.mark.parametrize("weighted", [False, True])
def test_inside_total_ratio_counts_positive_relevance(weighted):
    expected = []
    for relevance, mask in zip(RELEVANCE, MASKS, strict=True):
        inside = total = 0.0
        for at in np.ndindex(7, 5):
            total += max(relevance[at], 0)
            inside += max(relevance[at], 0) if mask[at] else 0
        expected.append(inside / total * (35 / mask.sum() if weighted else 1))
    found = inside_total_ratio(RELEVANCE, MASKS, weighted=weighted)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_map_that_ignores_the_object_has_a_weighted_ratio_of_one():
    np.testing.assert_allclose(inside_total_ratio(np.ones((6, 7, 5)), MASKS, weighted=True), 1)


def test_without_positive_relevance_the_ratio_is_undefined():
    assert np.isnan(inside_total_ratio(-np.ones((6, 7, 5)), MASKS)).all()


@pytest.mark.parametrize("relevance", [RELEVANCE, np.round(RELEVANCE)])
def test_relevance_rank_accuracy_looks_at_as_many_pixels_as_the_object_has(relevance):
    expected = []
    for values, mask in zip(relevance.reshape(6, -1), MASKS.reshape(6, -1), strict=True):
        best = sorted(range(35), key=lambda i: (-values[i], i))[: mask.sum()]
        expected.append(sum(mask[i] for i in best) / mask.sum())
    found = relevance_rank_accuracy(relevance, MASKS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected[3] == 1 and min(expected) < 1


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3, 15])
def test_pointing_game_measures_from_the_maximum_to_the_object(tolerance):
    expected = []
    for relevance, mask in zip(RELEVANCE, MASKS, strict=True):
        peak = max(np.ndindex(7, 5), key=lambda at: relevance[at])
        distances = [
            np.hypot(i - peak[0], j - peak[1]) for i, j in zip(*np.nonzero(mask), strict=True)
        ]
        expected.append(min(distances) <= tolerance)
    found = pointing_game(RELEVANCE, MASKS, tolerance=tolerance)
    assert found.dtype == bool and found.tolist() == expected


def test_the_tolerance_is_a_circle_around_the_first_of_equal_maxima():
    relevance, masks = np.zeros((2, 5, 5)), np.zeros((2, 5, 5), bool)
    relevance[:, 1, 1] = relevance[1, 4, 4] = 1.0
    masks[0, 3, 3], masks[1, 4, 4] = True, True
    assert pointing_game(relevance, masks, tolerance=2.82).tolist() == [False, False]
    assert pointing_game(relevance, masks, tolerance=2.83).tolist() == [True, False]


def test_channels_are_summed_first_and_jit_is_fine():
    channels = np.stack([RELEVANCE - 2.0, np.full_like(RELEVANCE, 2.0)], -1)
    for score in (inside_total_ratio, relevance_rank_accuracy, pointing_game):
        expected = score(RELEVANCE, MASKS)
        np.testing.assert_allclose(score(channels, MASKS), expected, rtol=1e-4)
        np.testing.assert_allclose(jax.jit(score)(channels, MASKS), expected, rtol=1e-4)


def test_boxes_leave_out_right_and_bottom():
    masks = masks_from_boxes([[(1, 2, 4, 3), (0, 0, 1, 4)], []], (4, 5))
    assert masks[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 0, 0, 0, 0],
    ]
    assert not masks[1].any()


# ---------------------------------------------------------------- the control


def test_the_gaussian_knows_nothing_of_image_and_model():
    """A product of two Gaussians in the middle, whose channels add up to it."""
    attribute = centre_gaussian(lambda x: x.sum((1, 2)), width=0.25)
    found = attribute(jnp.asarray(normal(2, 8, 4, 3, seed=431)), target=1)
    expected = np.empty((8, 4))
    for i, j in np.ndindex(8, 4):
        expected[i, j] = np.exp(-(((i - 3.5) / 2) ** 2) / 2 - (((j - 1.5) / 1) ** 2) / 2)
    np.testing.assert_allclose(found.sum(-1), np.stack([expected] * 2), rtol=1e-5)
    np.testing.assert_allclose(found[..., 0], found[..., 2])
    other = attribute(jnp.asarray(normal(2, 8, 4, 3, seed=432)), target=0)
    np.testing.assert_array_equal(found, other)


def test_the_gaussian_of_integer_pixels_is_floating_point():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    found = centre_gaussian(lambda x: x.astype(jnp.float32).sum((1, 2)))(image)
    mask = masks_from_boxes([(3, 3, 5, 5)], (8, 8))
    assert found.dtype == jnp.float32 and pointing_game(found, mask, tolerance=0).all()


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("score", [inside_total_ratio, relevance_rank_accuracy, pointing_game])
@pytest.mark.parametrize(
    ("relevance", "masks", "message"),
    [
        (RELEVANCE, MASKS[:, :6], "h, w"),
        (RELEVANCE[0], MASKS[0], "h, w"),
        (RELEVANCE, MASKS.astype(float), "boolean"),
        (RELEVANCE.astype(int), MASKS, "floating"),
        (RELEVANCE, MASKS & False, "empty"),
        (RELEVANCE * np.inf, MASKS, "infinite"),
    ],
)
def test_input_that_does_not_fit_is_refused(score, relevance, masks, message):
    with pytest.raises(ValueError, match=message):
        score(relevance, masks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pointing_game(RELEVANCE, MASKS, tolerance=-1), "tolerance"),
        (lambda: centre_gaussian(jnp.sin, width=0), "width"),
        (lambda: centre_gaussian(jnp.sin)(np.ones((4, 4))), "shape"),
        (lambda: masks_from_boxes([(0, 0, 6, 2)], (7, 5)), "within 7 rows and 5 columns"),
        (lambda: masks_from_boxes([(2, 0, 2, 2)], (7, 5)), "left, top"),
        (lambda: masks_from_boxes([(-1, 0, 2, 2)], (7, 5)), "left, top"),
        (lambda: masks_from_boxes([(0, 0, 2)], (7, 5)), "four"),
        (lambda: masks_from_boxes([(0, 0, 2.5, 2)], (7, 5)), "whole"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
