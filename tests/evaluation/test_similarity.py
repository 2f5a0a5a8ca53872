"""Similarities of maps against slow references and SciPy (which scikit-image brings along)."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import normal

from lrpjax.evaluation.similarity import cosine, spearman, ssim, top_k_iou

A = normal(5, 6, 7, seed=420)
B = A + normal(5, 6, 7, seed=421)
TIED = np.round(A), np.round(2 * B)


def ranks(values):
    """Each value's rank by counting: those below, and half of its equals."""
    return np.array([np.sum(values < v) + (np.sum(values == v) + 1) / 2 for v in values])


def pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())


# ---------------------------------------------------------------- rank correlation


@pytest.mark.parametrize(("a", "b"), [(A, B), TIED, (A, TIED[1]), (A > 0, B > 0)])
def test_spearman_is_the_correlation_of_ranks(a, b):
    a, b = a.astype(np.float32), b.astype(np.float32)
    expected = [pearson(ranks(x.ravel()), ranks(y.ravel())) for x, y in zip(a, b, strict=True)]
    found = spearman(a, b)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert found.shape == (5,) and found.dtype == jnp.float32


def test_spearman_agrees_with_scipy_on_large_maps_with_ties():
    stats = pytest.importorskip("scipy.stats")
    a = np.maximum(normal(2, 100, 150, seed=422), 0.0).astype(np.float32)
    b = np.round(a + normal(2, 100, 150, seed=423), 2).astype(np.float32)
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=5e-6)


def test_spearman_knows_only_order():
    a = A.astype(np.float32)
    np.testing.assert_allclose(spearman(a, np.exp(a)), 1, rtol=1e-6)
    np.testing.assert_allclose(spearman(a, -(a**3)), -1, rtol=1e-6)


def test_minus_zero_is_zero():
    a = np.array([[0.0, -0.0, 0.0, 1.0]])
    assert spearman(a, np.abs(a)).tolist() == [1.0]
    assert top_k_iou(-a, np.array([[3.0, 2.0, 1.0, 0.0]]), k=1).tolist() == [1.0]


# ---------------------------------------------------------------- the others


def test_cosine_is_the_normalised_product():
    sizes = np.sqrt((A**2).sum((1, 2)) * (B**2).sum((1, 2)))
    expected = (A * B).sum((1, 2)) / sizes
    np.testing.assert_allclose(cosine(A, B), expected, rtol=1e-5)


def test_cosine_has_no_scale():
    a, b = (m.astype(np.float32) for m in (A, B))
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(cosine(scale * a, b / scale), cosine(a, b), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 7, 42])
def test_top_k_iou_compares_sets(k):
    expected = []
    for x, y in zip(TIED[0].reshape(5, -1), TIED[1].reshape(5, -1), strict=True):
        p, q = (set(sorted(range(42), key=lambda i: (-m[i], i))[:k]) for m in (x, y))
        expected.append(len(p & q) / len(p | q))
    np.testing.assert_allclose(top_k_iou(*TIED, k), expected, rtol=1e-6)


def windowed_ssim(x, y, size, extent):
    """The formula at every whole window, averaged; variances with n − 1."""
    c1, c2, found = (0.01 * extent) ** 2, (0.03 * extent) ** 2, []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            p, q = (m[i : i + size, j : j + size].ravel() for m in (x, y))
            (vp, cov), (_, vq) = np.cov(p, q)
            similar = (2 * p.mean() * q.mean() + c1) * (2 * cov + c2)
            found.append(similar / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (vp + vq + c2)))
    return np.mean(found)


def test_ssim_is_its_formula():
    plain, scaled = [], []
    for x, y in zip(A, B, strict=True):
        extent = max(x.max(), y.max()) - min(x.min(), y.min())
        plain.append(windowed_ssim(x, y, 3, extent))
        scaled.append(windowed_ssim(x / np.abs(x).max(), y / np.abs(y).max(), 3, 2.0))
    np.testing.assert_allclose(ssim(A, B, window=3, normalise=False), plain, rtol=1e-4)
    np.testing.assert_allclose(ssim(A, 1e6 * B, window=3), scaled, rtol=1e-4)
    np.testing.assert_allclose(ssim(A, A, window=5), 1)
    assert ssim(0 * A, 0 * A, window=3).tolist() == [1] * 5


def test_all_work_within_jit_and_for_any_number_of_axes():
    a, b = A.reshape(5, 2, 21, 1), B.reshape(5, 2, 21, 1)
    for measure in (spearman, cosine, lambda a, b: top_k_iou(a, b, 4)):
        np.testing.assert_allclose(jax.jit(measure)(a, b), measure(A, B), rtol=1e-6)


def test_what_is_undefined_is_nan():
    flat, hole = np.ones((1, 3)), np.array([[1.0, np.nan, 2.0]])
    some = np.array([[1.0, 2.0, 3.0]])
    assert np.isnan(spearman(flat, some)).all() and np.isnan(cosine(0 * flat, some)).all()
    for measure in (spearman, cosine, lambda a, b: top_k_iou(a, b, 1)):
        assert np.isnan(measure(hole, some)).all() and np.isnan(measure(some, hole)).all()


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spearman(A, A[:4]), "equal shapes"),
        (lambda: cosine(np.ones(3), np.ones(3)), "batch"),
        (lambda: spearman(np.ones((2, 0)), np.ones((2, 0))), "empty"),
        (lambda: spearman(1j * A, A), "real"),
        (lambda: top_k_iou(A, B, 0), "from 1 to 42"),
        (lambda: top_k_iou(A, B, 43), "from 1 to 42"),
        (lambda: top_k_iou(A, B, 2.0), "whole"),
        (lambda: ssim(A[..., None], B[..., None]), "h, w"),
        (lambda: ssim(A, B, window=4), "odd"),
        (lambda: ssim(A, B, window=9), "at most 6"),
        (lambda: ssim(A, np.full_like(A, np.nan), window=3), "finite"),
    ],
)
def test_input_that_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ssim_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(ImportError, match=r"lrpjax\[zoo\]"):
        ssim(A, B)
