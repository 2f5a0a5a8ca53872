"""What perturbation curves refuse, and how they say so."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from lrpjax.evaluation import (
    Blur,
    Constant,
    Dirichlet,
    Perturbation,
    PerturbationCurves,
    UniformNoise,
    curve_figure,
    paired_difference,
    perturbation_curves,
    table,
)

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 4, 4, 2)).astype(np.float32)


def network(x):
    return x.sum((1, 2))


def run(fun=network, attribution="random", images=IMAGES, settings=None, **options):
    settings = settings or Perturbation("mean", ("MoRF",), steps=2)
    return perturbation_curves(fun, attribution, images, settings, progress=False, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "unifrom"}, "no operator named 'unifrom'; did you mean 'uniform'"),
        ({"orders": ("MoRF", "LoRF")}, "no order named 'LoRF'; did you mean"),
        ({"orders": ("MoRF", "morf")}, "orders are at least one, and each once"),
        ({"orders": ()}, "orders are at least one"),
        ({"score": "softmax"}, "no score named 'softmax'; there are: logit, probability"),
        ({"steps": 0}, "steps is a whole number, at least 1; got 0"),
        ({"per_step": 1.5}, "per_step is a whole number"),
        ({"repetitions": True}, "repetitions is a whole number"),
        ({"region": 0}, "region is a whole number"),
        ({"region": (1, 2, 3)}, "a region has a height and a width"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Perturbation(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": UniformNoise}, "an operator is a name"),
        ({"operator": 3}, "an operator is a name"),
        ({"score": 3}, "a score is a name"),
        ({"seed": 0.5}, "seed is an int"),
    ],
)
def test_settings_of_the_wrong_kind(options, message):
    with pytest.raises(TypeError, match=message):
        Perturbation(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformNoise(5, 5), "low 5.0 is not below high 5.0"),
        (lambda: UniformNoise((0, 9), (5, 8)), "is not below"),
        (lambda: UniformNoise((0, 9), (5, 8, 9)), "for 2 and for 3 colours"),
        (lambda: UniformNoise(float("nan"), 1), "low is a finite number"),
        (lambda: Constant("black"), "value is a finite number"),
        (lambda: Constant(()), "value is a finite number"),
        (lambda: Blur(0), "sigma is a number above 0"),
        (lambda: Blur(float("inf")), "sigma is a number above 0"),
        (lambda: Dirichlet(0), "concentration is above 0"),
    ],
)
def test_operators_with_impossible_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def _with(value):
    images = IMAGES.copy()
    images[1, 2, 2, 0] = value
    return images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": IMAGES[0]}, r"images are \[n, h, w, c\]; these are \[4, 4, 2\]"),
        ({"images": IMAGES[:0]}, r"images are \[n, h, w, c\]"),
        ({"images": _with(np.nan)}, "image 1 has NaN or infinite pixels"),
        ({"images": IMAGES.astype(complex)}, "images are real numbers"),
        ({"images": IMAGES > 0.5}, "images are real numbers"),
        ({"labels": [0, 1]}, "labels are 3 class indices"),
        ({"labels": [0, 1, -1]}, "labels are 3 class indices"),
        ({"labels": [0.0, 1.0, 1.0]}, "labels are 3 class indices"),
        ({"labels": [0, 1, 2]}, "label 2, but the model has 2 classes"),
        ({"batch_size": 0}, "batch_size is a whole number"),
        ({"settings": Perturbation(steps=17)}, "17 steps of 1 remove 17 regions; images of 4×4"),
        ({"settings": Perturbation(steps=3, per_step=2, region=2)}, "have 4 of 2×2"),
        ({"settings": Perturbation(Constant((1, 2, 3)), steps=1)}, "3 numbers for images of 2"),
        ({"attribution": np.zeros((3, 4, 4, 1))}, "or maps of shape"),
        ({"attribution": np.zeros((2, 4, 4))}, "or maps of shape"),
        ({"attribution": "gradient"}, "an attribution is a function, 'random', or maps"),
        ({"attribution": np.full((3, 4, 4), np.inf)}, "the maps have NaN or infinite values"),
        ({"attribution": lambda x, target: x[..., :1]}, "the attribution of images"),
        ({"attribution": lambda x, target: np.asarray(x)}, "leaves JAX"),
        ({"fun": lambda x: x}, r"outputs are \[n, classes\]; for 3 images they are \[3, 4, 4, 2\]"),
        ({"fun": lambda x: (network(x), 1)}, "they are tuple"),
        ({"fun": lambda x: network(x).astype(int)}, "outputs are floating point"),
        ({"fun": nn.Dense(3)}, "module.bind"),
        ({"settings": Perturbation(steps=1, score=lambda z, t: z)}, "one number per image"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_is_computed(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_relevance_and_outputs_that_are_not_finite_are_named():
    def broken(x, target):
        return jnp.where(x.mean((1, 2, 3), keepdims=True) > 0.55, jnp.nan, x)

    images = IMAGES.copy()
    images[2] = 0.9
    message = r"1 of 1 images have curves with NaN or infinite values \(images 2\)"
    with pytest.raises(ValueError, match=message):
        run(attribution=broken, images=images, batch_size=1)


def curves(name="a", orders=("MoRF",), count=4, **settings):
    scores = np.random.default_rng(0).normal(size=(len(orders), count, 6))
    return PerturbationCurves(name, orders, scores, np.zeros(count, int), settings)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: curves().curve("LeRF"), "have the orders MoRF, not LeRF"),
        (lambda: curves().abpc(), "have the orders MoRF, not LeRF"),
        (lambda: curves().metric("AOC"), "no metric named 'AOC'"),
        (
            lambda: paired_difference(curves(seed=0), curves("b", seed=1), "AOPC"),
            "'a' and 'b' can't be compared: seed is 0 and 1",
        ),
        (lambda: table([curves(), curves("b", count=5)]), "curves of other shapes"),
        (lambda: curve_figure([curves(), curves("b", ("LeRF",))]), "no order in common"),
        (lambda: table([]), "no results"),
        (lambda: curve_figure([]), "no results"),
        (lambda: table([curves()], baseline="c"), "no method is called 'c': a"),
    ],
)
def test_results_that_do_not_belong_together(act, message):
    with pytest.raises(ValueError, match=message):
        act()
