"""Layers with very many weights are taken in slices of their outputs, and nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.compiling import as_users_do
from support.ledgers import check
from support.networks import normal

from lrpjax import audit, lrp, lrp_vjp, rules
from lrpjax.rewrite import slices

RULES = {
    "ZPlus": rules.ZPlus(),
    "Gamma": rules.Gamma(0.25),
    "AlphaBeta": rules.AlphaBeta(2.0, 1.0),
}
X = normal(3, 20, seed=800)
W = normal(20, 48, seed=801)
V = normal(48, 5, seed=802)
B = normal(48, seed=803)
S = normal(48, seed=804)


def network(x):
    return jax.nn.relu(x @ W + B) @ V


def with_batch_norm(x):
    return jax.nn.relu((x @ W - B) * S + B) @ V


def of_tokens(x):
    return jax.nn.relu(x[:, None] @ W + B).sum(1) @ V


def rectified(x):
    return network(jax.nn.relu(x))


NETWORKS = [network, with_batch_norm, of_tokens, rectified]


@pytest.fixture
def sliced(monkeypatch):
    """Slices of at most 16 of 48 outputs, on one device; this suite simulates several."""

    def switch(on):
        jax.clear_caches()
        monkeypatch.setattr(slices, "SLICE", 20 * 16 * 8 if on else 2**40)
        monkeypatch.setattr(slices, "_on_one_device", lambda: on)

    return switch


@pytest.mark.smoke
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("function", NETWORKS)
def test_slices_add_up(sliced, function, name):
    """In double precision, whatever sign the inputs have and whatever is folded in."""
    found = []
    with jax.enable_x64(True):
        for on in (False, True):
            sliced(on)
            compiled = as_users_do(lambda x: lrp(function, RULES[name])(x, target=2), X)
            found.append(np.asarray(compiled(X)))
            assert ("while" in compiled.as_text()) is on
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_under_transforms(sliced, name):
    """Vmap over classes, and the derivative of a heatmap."""
    found = []
    with jax.enable_x64(True):
        for on in (False, True):
            sliced(on)
            _, relevance_of = lrp_vjp(network, RULES[name], X)
            many = jax.vmap(relevance_of)(jnp.arange(5))
            slope = jax.grad(lambda x: (lrp(network, RULES[name])(x, target=1) ** 2).sum())(X)
            found.append((np.asarray(many), np.asarray(slope)))
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-11)


def test_the_ledger(sliced):
    """It sums up what the whole layer's rule says."""
    sliced(True)
    x = X.astype(np.float32)
    check(audit(network, rules.ZPlus(), x, target=0), 1e-5)


def test_which_layers(sliced):
    """Rules that need no copies of the weights are left alone, and widths that don't divide."""
    sliced(True)
    text = as_users_do(lambda x: lrp(network, rules.Epsilon())(x, target=2), X).as_text()
    assert "while" not in text
    wide = normal(40, 47, seed=805)
    x = normal(2, 40, seed=806)
    text = as_users_do(lambda x: lrp(lambda x: x @ wide, rules.ZPlus())(x, target=2), x).as_text()
    assert "while" not in text


def test_what_it_saves(sliced):
    """No copy of all the weights is in memory at any one time."""
    x, w = np.ones((1, 512), np.float32), np.ones((512, 4096), np.float32)
    used = []
    for on in (False, True):
        sliced(on)
        compiled = as_users_do(
            lambda w, x: lrp(lambda w, x: x @ w, rules.ZPlus(), argnums=1)(w, x, target=0), w, x
        )
        used.append(compiled.memory_analysis().temp_size_in_bytes)
    assert used[0] > 0.9 * w.nbytes and used[1] < 0.2 * w.nbytes
