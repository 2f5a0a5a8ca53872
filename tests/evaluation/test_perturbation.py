"""Perturbation curves against a slow reference, and what they do not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import compilations
from evaluation import slow_perturbation as slow

import lrpjax
from lrpjax.evaluation import (
    Blur,
    Constant,
    Mean,
    Perturbation,
    UniformNoise,
    bootstrap,
    paired_difference,
    perturbation_curves,
)

IMAGES = np.random.default_rng(0).uniform(0, 255, (5, 5, 7, 3)).astype(np.float32)
MAPS = np.random.default_rng(1).normal(size=(5, 5, 7, 3)).astype(np.float32)


def network(x):
    w1, w2 = slow.W1.astype(np.float32), slow.W2.astype(np.float32)
    return jnp.tanh(jnp.einsum("nhwc,hwck->nk", x, w1)) @ w2


def run(attribution=MAPS, settings=None, images=IMAGES, **options):
    settings = settings or Perturbation(steps=4)
    return perturbation_curves(network, attribution, images, settings, progress=False, **options)


def replacements(operator):
    """What an operator shows in place of each image, in NumPy."""
    make = {
        Constant: lambda image: np.broadcast_to(operator.value, image.shape),
        Mean: lambda image: np.broadcast_to(image.mean((0, 1), np.float64), image.shape),
        Blur: lambda image: slow.blurred(image, operator.sigma),
    }
    return [make[type(operator)](image) for image in IMAGES]


@pytest.mark.parametrize(
    ("operator", "orders", "region", "steps", "per_step", "score"),
    [
        (Constant((0.0, 128.0, 255.0)), ("MoRF", "LeRF"), (1, 1), 35, 1, "logit"),
        (Mean(), ("LeRF", "smallest_absolute", "MoRF"), (2, 3), 3, 2, "probability"),
        (Blur(1.5), ("LeRF", "MoRF"), (3, 2), 2, 4, "logit"),
    ],
)
def test_curves_and_areas_are_those_of_the_formulas(
    operator, orders, region, steps, per_step, score
):
    settings = Perturbation(operator, orders, region, steps, per_step, score=score)
    found = run(settings=settings, batch_size=2)
    expected = {
        order: np.stack(
            [
                slow.curve(image, relevance, filling, order, region, steps, per_step, score)
                for image, relevance, filling in zip(
                    IMAGES, MAPS, replacements(operator), strict=True
                )
            ]
        )
        for order in orders
    }
    assert found.scores.shape == (len(orders), 5, steps + 1)
    np.testing.assert_array_equal(found.targets, [slow.model(i).argmax() for i in IMAGES])
    for order in orders:
        np.testing.assert_allclose(found.curve(order), expected[order], rtol=1e-4, atol=1e-4)
        assert abs(expected[order][:, 0] - expected[order][:, -1]).max() > 0.05
        np.testing.assert_allclose(
            found.auc(order).mean(), slow.auc(expected[order]), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            found.aopc(order).mean(), slow.aopc(expected[order]), rtol=1e-4, atol=1e-4
        )
    areas = slow.abpc(expected["LeRF"], expected["MoRF"])
    np.testing.assert_allclose(found.abpc().mean(), areas, rtol=1e-4, atol=1e-4)


def test_labels_and_a_score_of_ones_own_replace_the_predicted_class_and_its_logit():
    labels = np.array([3, 0, 1, 2, 3])

    def half(outputs, classes):
        return 0.5 * outputs[jnp.arange(len(classes)), classes]

    settings = Perturbation(Constant(9), ("MoRF",), 2, 3, score=half)
    found = run(settings=settings, labels=labels)
    np.testing.assert_array_equal(found.targets, labels)
    for image, relevance, label, scores in zip(IMAGES, MAPS, labels, found.scores[0], strict=True):
        filling = np.full_like(image, 9)
        whole = slow.curve(image, relevance, filling, "MoRF", (2, 2), 3, 1, "logit", label)
        np.testing.assert_allclose(scores, whole / 2, rtol=1e-4, atol=1e-4)


def test_the_explanation_is_part_of_the_program():
    settings = Perturbation(Mean(), steps=6)
    explain = lrpjax.lrp(network)
    maps = explain(jnp.asarray(IMAGES), target=np.argmax(network(IMAGES), -1))
    inside, beforehand = run(explain, settings), run(np.asarray(maps), settings)
    np.testing.assert_allclose(inside.scores, beforehand.scores, rtol=1e-5, atol=1e-5)
    summed = run(np.asarray(maps).sum(-1), settings)
    np.testing.assert_allclose(inside.scores, summed.scores, rtol=1e-5, atol=1e-5)


def test_one_program_serves_all_batches():
    settings, programs = Perturbation(Mean(), ("MoRF",), steps=3), []
    for count in (4, 11):
        traced = []

        def counting(x, traced=traced):
            traced.append(x.shape)
            return network(x)

        images = np.resize(IMAGES, (count, 5, 7, 3))
        with compilations() as compiled:
            attribution = lrpjax.lrp(counting)
            perturbation_curves(
                counting, attribution, images, settings, batch_size=4, progress=False
            )
        assert set(traced) == {(4, 5, 7, 3)}
        programs.append((len(traced), len(compiled)))
    assert programs[0][0] == programs[1][0], "three batches trace as often as one"
    assert programs[1][1] == 1, "one compilation (the first run may find JAX's own helpers cold)"


def test_an_images_curves_depend_on_no_other_image_batch_order_or_method():
    settings = Perturbation(UniformNoise(), ("MoRF", "random"), 2, 5, repetitions=2)
    together = run(settings=settings)
    fewer = run(MAPS[:3], settings, IMAGES[:3], batch_size=2)
    np.testing.assert_allclose(fewer.scores, together.scores[:, :3], rtol=1e-5, atol=1e-6)
    alone = run(settings=Perturbation(UniformNoise(), ("random",), 2, 5, repetitions=2))
    np.testing.assert_allclose(alone.scores[0], together.scores[1], rtol=1e-5, atol=1e-6)
    # When everything is removed only the noise is left, which is each image's own, and the same
    # whatever the method and the order were.
    everything = Perturbation(UniformNoise(), ("MoRF", "LeRF"), 1, 1, 35)
    ends = [run(maps, everything, labels=np.zeros(5, int)).scores for maps in (MAPS, -MAPS[::-1])]
    np.testing.assert_allclose(ends[0][:, :, -1], ends[1][:, :, -1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ends[0][0, :, -1], ends[0][1, :, -1], rtol=1e-5, atol=1e-6)
    assert len(np.unique(ends[0][0, :, -1].round(3))) == 5


def test_noise_and_random_orders_are_drawn_as_documented():
    """The image's place and then repetition and use are folded into the seed's key."""
    settings = Perturbation(UniformNoise(10, 20), ("MoRF", "random"), 1, 4, repetitions=2, seed=5)
    found = run(settings=settings)
    for number, image in enumerate(IMAGES):
        curves = {"MoRF": [], "random": []}
        for repetition in range(2):
            of_image = jax.random.fold_in(jax.random.key(5), number)
            noise, draws = (jax.random.fold_in(of_image, 3 * repetition + use) for use in (0, 1))
            filling = 10 + 10 * np.asarray(jax.random.uniform(noise, image.shape))
            chance = -np.asarray(jax.random.uniform(draws, (35,))).reshape(5, 7, 1)
            for order, relevance in (("MoRF", MAPS[number]), ("random", chance)):
                scores = slow.curve(image, relevance, filling, "MoRF", (1, 1), 4, 1, "logit")
                curves[order].append(scores)
        for order, several in curves.items():
            expected = np.mean(several, axis=0)
            np.testing.assert_allclose(found.curve(order)[number], expected, rtol=1e-4, atol=1e-4)


def test_repetitions_draw_anew_and_are_averaged():
    def linear(x):
        return x.mean((1, 2))

    images = np.zeros((3, 6, 6, 2), np.float32)
    maps = np.ones((3, 6, 6), np.float32)
    spread = {}
    for repetitions in (1, 64):
        settings = Perturbation(UniformNoise(0, 1), ("MoRF",), 6, 1, repetitions=repetitions)
        found = perturbation_curves(linear, maps, images, settings, progress=False)
        spread[repetitions] = abs(found.scores[0, :, 1] - 0.5).max()
    # A mean of 36 uniform draws has a standard deviation of 0.048, and of 64 such means, 0.006.
    assert 0.006 < spread[1] < 0.2
    assert spread[64] < 0.03


@pytest.mark.parametrize(("operator", "forwards"), [(Mean(), 1 + 3), (UniformNoise(), 1 + 3 * 4)])
def test_what_is_not_random_runs_once(operator, forwards):
    calls = []

    def counting(x):
        jax.debug.callback(lambda: calls.append(1))
        return network(x)

    settings = Perturbation(operator, ("MoRF",), 1, 3, repetitions=4)
    perturbation_curves(counting, MAPS, IMAGES, settings, progress=False)
    jax.effects_barrier()
    assert len(calls) == forwards


def test_relevance_by_chance_has_no_area_between_its_curves_and_an_explanation_has():
    images = np.random.default_rng(3).uniform(0, 255, (150, 5, 7, 3)).astype(np.float32)
    settings = Perturbation(UniformNoise(), steps=35)
    explained = run(lrpjax.lrp(network), settings, images, name="lrp")
    chance = run("random", settings, images, name="chance")
    interval = bootstrap(chance.abpc())
    assert interval.low < 0 < interval.high
    assert abs(interval.mean) < 0.15 * explained.abpc().mean()
    assert bootstrap(explained.abpc()).low > 0
    difference = paired_difference(explained, chance)
    assert difference.excludes_zero and difference.mean > 0


def test_a_map_that_says_nothing_has_no_area_at_all():
    flat = run(np.zeros((5, 5, 7), np.float32), Perturbation(Mean(), steps=9))
    np.testing.assert_array_equal(flat.abpc(), 0)


def test_integers_are_images_too():
    images = IMAGES.astype(np.uint8)
    settings = Perturbation(Mean(), ("MoRF",), steps=3)
    found, wanted = (run(MAPS, settings, given) for given in (images, images.astype(np.float32)))
    np.testing.assert_array_equal(found.scores, wanted.scores)
