"""Local response normalisation: against PyTorch's and TensorFlow's own numbers, and a slow loop.

The golden arrays are made by benchmarks/peers/lrn_golden.py from tests/golden/lrn_cases.py.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import lrn_cases

from lrpjax.models import LocalResponseNorm

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = [(framework, name) for framework, cases in lrn_cases.CASES.items() for name in cases]
SPELLINGS = {"torch": LocalResponseNorm.torch, "tensorflow": LocalResponseNorm.tensorflow}


def slowly(x, size, alpha, beta, k):
    """Channel by channel, from the formula, in double precision; channels last."""
    x = np.asarray(x, np.float64)
    y = np.empty_like(x)
    for channel in range(x.shape[-1]):
        window = x[..., max(channel - size // 2, 0) : channel + (size - 1) // 2 + 1]
        y[..., channel] = x[..., channel] / (k + alpha / size * (window**2).sum(-1)) ** beta
    return y


def output_and_gradient(norm, x, cotangent):
    y, pullback = jax.vjp(norm, x)
    return y, pullback(cotangent)[0]


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_output_and_gradient_are_the_frameworks(framework, name, x64):
    norm = SPELLINGS[framework](**lrn_cases.CASES[framework][name])
    x, cotangent = map(np.float64, lrn_cases.inputs(framework, name))
    with np.load(GOLDEN / f"lrn_{framework}.npz") as stored:
        expected = stored[f"{name}/output"], stored[f"{name}/gradient"]
    # PyTorch's are float64; TensorFlow's operator computes in float32 only.
    rtol, atol = (1e-12, 1e-14) if framework == "torch" else (5e-6, 5e-7)
    for found, wanted in zip(output_and_gradient(norm, x, cotangent), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_the_output_is_the_formulas(size):
    x = np.random.default_rng(size).normal(size=(4, 6)).astype(np.float32)
    arguments = {"alpha": 2.0, "beta": 0.75, "k": 0.5}
    found = LocalResponseNorm(size, **arguments)(x)
    np.testing.assert_allclose(found, slowly(x, size, **arguments), rtol=2e-6)


@pytest.mark.parametrize(
    "norm",
    [
        LocalResponseNorm(5, 2.0, 0.6, 0.5),
        LocalResponseNorm.torch(5, alpha=2.0, beta=0.6, k=0.5),
        LocalResponseNorm.caffe(5, alpha=2.0, beta=0.6, k=0.5),
        LocalResponseNorm.tensorflow(2, bias=0.5, alpha=0.4, beta=0.6),
    ],
)
def test_the_frameworks_have_different_words_for_one_layer(norm):
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    np.testing.assert_allclose(norm(x), slowly(x, 5, 2.0, 0.6, 0.5), rtol=2e-6)


def test_the_window_moves_along_any_axis():
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 4)).astype(np.float32)
    last = slowly(np.moveaxis(x, 1, -1), 3, 1.0, 0.5, 1.0)
    for axis in (1, -3):
        found = LocalResponseNorm(3, 1.0, 0.5, axis=axis)(x)
        np.testing.assert_allclose(found, np.moveaxis(last, -1, 1), rtol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_dtype_stays_and_is_no_narrower_than_float32_inside(dtype):
    # Squares of 300 leave float16's range; their sum needs more than bfloat16's eight bits.
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8)) * 300, dtype)
    y = LocalResponseNorm(5, 1.0)(x)
    assert y.dtype == dtype
    expected = slowly(x, 5, 1.0, 0.75, 1.0)
    np.testing.assert_allclose(np.float64(y), expected, rtol=float(jnp.finfo(dtype).eps) * 8)


def test_zeros_stay_zeros_with_a_finite_gradient():
    y, gradient = output_and_gradient(LocalResponseNorm(5, 1.0, k=2.0), jnp.zeros(6), jnp.ones(6))
    np.testing.assert_array_equal(y, np.zeros(6))
    np.testing.assert_allclose(gradient, 2**-0.75, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalResponseNorm(0), "size is 0; a window has at least one channel"),
        (lambda: LocalResponseNorm(alpha=-1e-4), "alpha is -0.0001; it should be"),
        (lambda: LocalResponseNorm(beta=float("nan")), "beta is nan; it should be"),
        (lambda: LocalResponseNorm(k=float("inf")), "k is inf; it should be"),
        (lambda: LocalResponseNorm.torch(-1), "size is -1"),
        (lambda: LocalResponseNorm.tensorflow(-1), "depth_radius is -1; it should be at least 0"),
        (lambda: LocalResponseNorm.tensorflow(bias=-1.0), "bias is -1.0; it should be"),
        (lambda: LocalResponseNorm.caffe(4), "local_size is 4; Caffe's windows are odd"),
        (lambda: LocalResponseNorm(axis=2)(jnp.ones((3, 4))), r"axis 2 is none of .* \(3, 4\)"),
    ],
)
def test_impossible_arguments_are_refused_with_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_that_are_no_channels_or_no_floats_are_refused():
    for make in (LocalResponseNorm, LocalResponseNorm.tensorflow, LocalResponseNorm.caffe):
        with pytest.raises(TypeError):
            make(2.5)
    for x in (jnp.arange(4), jnp.ones(4, complex)):
        with pytest.raises(TypeError, match="LocalResponseNorm takes floats, not"):
            LocalResponseNorm()(x)
