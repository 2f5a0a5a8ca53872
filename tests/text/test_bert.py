"""The encoder against NumPy in double precision, written from the paper's equations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support import small_text

from lrpjax.models import minilm

IDS = np.array([[2, 6, 5, 9, 3], [2, 7, 3, 0, 0], [2, 4, 11, 3, 0]])
ERF = np.vectorize(math.erf)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])


def weights(model):
    flat = nnx.to_flat_state(nnx.state(model))
    return {".".join(map(str, path)): np.asarray(leaf[...], np.float64) for path, leaf in flat}


def dense(x, w, name):
    return x @ w[f"{name}.kernel"] + w[f"{name}.bias"]


def normalise(x, w, name):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-12) * w[f"{name}.scale"] + w[f"{name}.bias"]


def attention(x, w, name, heads):
    """One text [tokens, features] without padding, one head after another."""
    size, outputs = x.shape[1] // heads, []
    query, key, value = (dense(x, w, f"{name}.{part}") for part in ("query", "key", "value"))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / np.sqrt(size)
        powers = np.exp(scores)
        outputs.append(powers / powers.sum(1, keepdims=True) @ value[:, part])
    return dense(np.concatenate(outputs, 1), w, f"{name}.out")


def states(ids, w, heads=3, layers=2):
    """The states of one text without padding: [tokens, features]."""
    x = w["words.embedding"][ids] + w["positions.embedding"][: len(ids)]
    x = normalise(x + w["segments.embedding"][0], w, "norm")
    for layer in range(layers):
        at = f"layers.{layer}"
        x = normalise(x + attention(x, w, f"{at}.attention", heads), w, f"{at}.attention_norm")
        hidden = dense(x, w, f"{at}.up")
        hidden = hidden * (1 + ERF(hidden / np.sqrt(2))) / 2
        x = normalise(x + dense(hidden, w, f"{at}.down"), w, f"{at}.norm")
    return x


@pytest.fixture(scope="module")
def encoder():
    return small_text.encoder()


def test_states_and_means_equal_the_equations_whatever_the_padding(encoder, x64):
    w = weights(encoder)
    double = nnx.clone(encoder)
    nnx.update(double, jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), nnx.state(encoder)))
    found = nnx.jit(lambda model, i, m: model(i, m))(double, IDS, MASK)
    means = minilm.mean_pool(found, MASK)
    unit = minilm.mean_pool(found, MASK == 1, normalise=True)
    assert found.dtype == jnp.float64
    for row, length in enumerate(MASK.sum(1)):
        expected = states(IDS[row, :length], w)
        np.testing.assert_allclose(found[row, :length], expected, rtol=1e-9, atol=1e-11)
        mean = expected.mean(0)
        np.testing.assert_allclose(means[row], mean, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(unit[row], mean / np.sqrt(mean @ mean), rtol=1e-9, atol=1e-11)


@nnx.jit
def logits(model, ids, mask):
    return model(ids, mask)


def test_what_stands_at_padding_does_not_matter(encoder):
    model = minilm.BertClassifier(encoder, nnx.Linear(12, 2, rngs=nnx.Rngs(3)))
    other = np.where(MASK == 1, IDS, 8)
    assert (other != IDS).any()
    found = logits(model, IDS, MASK)
    np.testing.assert_array_equal(logits(model, other, MASK), found)
    assert np.abs(logits(model, IDS, np.ones_like(MASK)) - found)[1:].max() > 1e-3
    embedded = encoder.words.embedding[...][IDS]
    np.testing.assert_array_equal(model.embed(IDS), embedded)
    rest = nnx.jit(lambda m, e, mask: m.from_embeddings(e, mask))(model, embedded, MASK)
    np.testing.assert_allclose(rest, found, atol=1e-5)


def test_texts_that_do_not_fit_are_refused(encoder):
    with pytest.raises(ValueError, match="25 tokens; this encoder has 24 positions"):
        encoder(np.zeros((1, 25), int), np.ones((1, 25), int))
    with pytest.raises(ValueError, match=r"the mask has shape \(1, 5\); it should be \(3, 5\)"):
        encoder(IDS, MASK[:1])
    with pytest.raises(ValueError, match="5 heads do not divide 12 features"):
        minilm.BertConfig(vocabulary=9, features=12, layers=1, heads=5, hidden=4)
