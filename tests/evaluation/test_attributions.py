"""The baselines are the papers' formulas, for every target and every kind of model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import (
    B1,
    B2,
    W1,
    W2,
    close,
    mlp,
    mlp_output,
    normal,
)

from lrpjax import PlanError, targets
from lrpjax.evaluation.attributions import (
    gradient,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    smoothgrad,
)

XS = normal(3, 4, seed=400)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def mlp_gradient(x, cotangent):
    """The gradient of cotangent·mlp(x) for one example, by hand."""
    return W1 @ ((W1.T @ x + B1 > 0) * (W2 @ cotangent))


def softmax(z):
    powers = np.exp(z - z.max())
    return powers / powers.sum()


def one_hot(z, t):
    return np.eye(z.size)[t]


def without(z, t):
    """The softmax of all other logits."""
    powers = np.exp(z) * (1 - one_hot(z, t))
    return powers / powers.sum()


# ---------------------------------------------------------------- targets

#: Each target, and what it makes of the logits z of one example of class t: its gradient.
TARGETS = {
    "largest": (None, lambda z, t: one_hot(z, np.argmax(z))),
    "index": (np.array([2, 0, -2]), one_hot),
    "logit": (targets.logit(np.array([2, 0, 1])), one_hot),
    "one_hot": (targets.one_hot([2, 0, 1]), one_hot),
    "softmax_gradient": (
        targets.softmax_gradient(jnp.array([2, 0, 1])),
        lambda z, t: softmax(z)[t] * (one_hot(z, t) - softmax(z)),
    ),
    "contrastive": (
        targets.contrastive(np.array([2, 0, 1])),
        lambda z, t: 1.5 * one_hot(z, t) - 0.5,
    ),
    "log_odds": (
        targets.log_odds(np.array([2, 0, 1])),
        lambda z, t: one_hot(z, t) - without(z, t),
    ),
    "all": (targets.all_outputs(), lambda z, t: np.ones(3)),
    "function": (lambda z: jnp.sin(z), lambda z, t: np.cos(z)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_names_the_score_whose_gradient_is_taken(name):
    target, cotangent = TARGETS[name]
    expected = np.stack(
        [mlp_gradient(x, cotangent(mlp_output(x), t)) for x, t in zip(XS, [2, 0, 1], strict=True)]
    )
    close(gradient(mlp)(XS, target=target), expected)


def test_outputs_of_several_arrays_have_each_their_largest_logit():
    f = lambda x: {"a": x**2, "b": (3.0 * x[:2],)}
    x = np.array([1.0, 2.0, -5.0])
    close(gradient(f)(x), np.array([0.0, 3.0, -10.0]))
    with pytest.raises(PlanError, match="2"):
        gradient(f)(x, target=0)


def test_an_index_out_of_range_is_an_error_or_nan():
    with pytest.raises(PlanError, match="range"):
        gradient(mlp)(XS, target=3)
    for method in (gradient, integrated_gradients):
        found = np.asarray(method(mlp)(XS, target=jnp.array([0, 3, 1])))
        assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize("target", [None, 0, targets.all_outputs()])
def test_a_scalar_output_is_its_own_score(target):
    w = normal(4, seed=401)
    close(gradient_times_input(lambda x: x @ w)(XS[0], target=target), XS[0] * w)


# ---------------------------------------------------------------- methods


def test_gradient_times_input_is_the_product():
    expected = [x * mlp_gradient(x, one_hot(mlp_output(x), 1)) for x in XS]
    close(gradient_times_input(mlp)(XS, target=1), np.stack(expected))


def test_smoothgrad_is_the_mean_under_noise_in_proportion_to_each_examples_range():
    """E[3(x + n)²] = 3x² + 3σ², with a standard error of 3·sqrt((4x²σ² + 2σ⁴)/samples)."""
    xs, level, samples = np.array([[0.0, 1.0, 2.0], [0.0, 10.0, 40.0]]), 0.2, 4000
    cubes = lambda x: (x**3).sum(-1, keepdims=True)
    found = smoothgrad(cubes, samples=samples, noise_level=level)(xs)
    sigma = level * np.array([[2.0], [40.0]])
    error = 3 * np.sqrt((4 * xs**2 * sigma**2 + 2 * sigma**4) / samples)
    assert (np.abs(found - 3 * xs**2 - 3 * sigma**2) < 4 * error).all()
    assert (np.abs(found - 3 * xs**2) > 0.01 * error).all()


def test_smoothgrad_without_a_batch_takes_the_range_of_all():
    cube = lambda x: (x**3).sum()
    x, samples = np.array([[0.0, 1.0], [2.0, 40.0]]), 2000
    found = smoothgrad(cube, samples=samples, noise_level=0.2)(x)
    error = 3 * np.sqrt((4 * x**2 * 64 + 2 * 64**2) / samples)
    assert (np.abs(found - 3 * x**2 - 3 * 64) < 4 * error).all()


def test_smoothgrad_is_repeatable():
    seeds = [0, 0, 1, jax.random.key(1)]
    found = [np.asarray(smoothgrad(mlp, samples=2, seed=s)(XS)) for s in seeds]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])
    assert np.abs(found[0] - found[2]).max() > 0
    close(smoothgrad(mlp, samples=2, noise_level=0.0)(XS), gradient(mlp)(XS))


def test_the_largest_logit_is_that_of_the_input_itself():
    """With noise, or on the way from the baseline, the other class would be the largest."""
    f = lambda x: jnp.stack([x[0], 1.0 - 9.0 * x[0]])
    x = np.array([0.2, 3.0])
    close(smoothgrad(f, noise_level=0.3)(x), np.array([1.0, 0.0]))
    close(integrated_gradients(f)(x), np.array([0.2, 0.0]))
    close(occlusion(f, window=(1,), axes=(0,))(x), np.array([0.2, 0.0]))


def smooth(x):
    """Two dense layers with tanh."""
    return jnp.tanh(x @ W1 + B1) @ W2 + B2


def test_integrated_gradients_is_the_integral_along_the_path():
    start, many = normal(4, seed=402), 20000
    expected = np.zeros_like(XS)
    for a in (np.arange(many) + 0.5) / many:
        hidden = np.tanh((start + a * (XS - start)) @ W1 + B1)
        expected += ((1 - hidden**2) * W2[:, 1]) @ W1.T / many
    found = integrated_gradients(smooth, steps=50, baseline=start)(XS, target=1)
    close(found, expected * (XS - start), rtol=1e-7)
    outputs = [np.tanh(x @ W1 + B1) @ W2[:, 1] for x in (XS, start)]
    close(found.sum(1), outputs[0] - outputs[1], rtol=1e-7)


def test_integrated_gradients_is_complete_but_for_the_kinks():
    """Where the gradient jumps the sum errs by at most the jump times the largest weight."""
    steps = 100
    found = integrated_gradients(mlp, steps=steps)(XS, target=0)
    outputs = (mlp_output(XS) - mlp_output(np.zeros(4)))[:, 0]
    jumps = np.abs(XS @ W1 * W2[:, 0]).sum(1)
    error = np.abs(found.sum(1) - outputs)
    assert (error < jumps * np.pi / (2 * steps)).all() and (error > 0).all()


def test_integrated_gradients_of_a_polynomial_is_exact_with_few_steps():
    x = normal(3, seed=403)
    close(integrated_gradients(lambda x: (x**4).sum(), steps=2)(x), x**4)


def test_a_baseline_may_have_the_inputs_structure():
    f = lambda pair: (pair["a"] * pair["b"]).sum()
    pair = {"a": np.array([2.0, 3.0]), "b": np.array([5.0, 7.0])}
    found = integrated_gradients(f, baseline={"a": pair["a"], "b": 1.0})(pair)
    close(found["b"], np.array([8.0, 18.0]))
    np.testing.assert_array_equal(found["a"], 0)


def occluded(f, x, value, window, stride, axes):
    """The drops of one example, averaged element by element."""
    total, count = np.zeros(x.shape), np.zeros(x.shape)
    starts = [[0] for _ in axes]
    for one, axis, size, step in zip(starts, axes, window, stride, strict=True):
        while one[-1] + size < x.shape[axis]:
            one.append(one[-1] + step)
    for corner in np.ndindex(*map(len, starts)):
        where = [slice(None)] * x.ndim
        for axis, one, i, size in zip(axes, starts, corner, window, strict=True):
            where[axis] = slice(one[i], one[i] + size)
        changed = x.copy()
        changed[tuple(where)] = np.broadcast_to(value, x.shape)[tuple(where)]
        total[tuple(where)] += f(x) - f(changed)
        count[tuple(where)] += 1
    assert count.min() > 0
    return total / count


PIXELS = normal(5, 6, 2, 3, seed=404)


def image_score(x):
    """Three logits of an image [..., 5, 6, 2], neither linear nor symmetric."""
    return jnp.einsum("...hwc,hwck->...k", jnp.sin(x), PIXELS)


@pytest.mark.parametrize(
    ("window", "stride", "at_a_time"),
    [((2, 2), None, 1), ((3, 4), (1, 3), 4), ((2, 9), (1, 5), 100)],
)
def test_occlusion_is_the_mean_drop_of_the_windows_over_a_pixel(window, stride, at_a_time):
    images, value = normal(2, 5, 6, 2, seed=405), np.array([0.5, -1.0])
    method = occlusion(
        image_score, window=window, stride=stride, value=value, windows_at_a_time=at_a_time
    )
    found = method(images, target=np.array([2, 0]))
    for image, map_, t in zip(images, found, [2, 0], strict=True):
        score = lambda x, t=t: np.einsum("hwc,hwc", np.sin(x), PIXELS[..., t])
        close(map_, occluded(score, image, value, window, stride or window, (0, 1)))


def test_occlusion_of_one_image_along_any_axes():
    image = normal(5, 6, 2, seed=406)
    method = occlusion(image_score, window=(1, 4), stride=(1, 2), axes=(-1, 0))
    score = lambda x: np.einsum("hwc,hwc", np.sin(x), PIXELS[..., 1])
    expected = occluded(score, image, 0.0, (1, 4), (1, 2), (2, 0))
    close(method(image, target=1), expected)


def test_occlusion_takes_integer_ids():
    table, ids = normal(7, 3, seed=407), np.array([[1, 2, 3], [4, 4, 6]])
    f = lambda ids: jnp.asarray(table)[ids].sum(1)
    found = occlusion(f, window=(1,), axes=(1,), value=0)(ids, target=2)
    assert jnp.issubdtype(found.dtype, jnp.floating)
    close(found, table[ids][..., 2] - table[0, 2])
