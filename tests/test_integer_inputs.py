"""Relevance of integer inputs: what each id gathered, in the ids' shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import lrpjax

TABLE = jax.random.normal(jax.random.key(0), (5, 4))
WEIGHTS = jax.random.normal(jax.random.key(1), (4, 3))
IDS = jnp.array([[0, 3, -1], [2, 2, 4]])


def classify(ids):
    return jnp.take(TABLE, ids, axis=0).sum(1) @ WEIGHTS


def gathered(ids, target):
    """Gradient × input of the gathered rows, which is LRP in a bias-free linear network."""
    rows = TABLE[ids]
    gradient = jax.grad(lambda e: (e.sum(1) @ WEIGHTS)[:, target].sum())(rows)
    return np.sum(rows * gradient, -1)


@pytest.mark.smoke
def test_an_id_gets_the_sum_over_what_it_gathered():
    relevance = lrpjax.lrp(classify)(IDS, target=1)
    assert relevance.dtype == jnp.float32
    np.testing.assert_allclose(relevance, gathered(IDS, 1), rtol=1e-4, atol=1e-5)


def test_relevance_follows_the_routes_of_the_ids():
    def rearranged(ids):
        ids = jnp.concatenate([ids[:, ::-1], jnp.zeros((2, 1), ids.dtype)], 1).T
        return jnp.take(TABLE, ids, axis=0).sum(0) @ WEIGHTS

    relevance = lrpjax.lrp(rearranged)(IDS, target=1)
    np.testing.assert_allclose(relevance, gathered(IDS, 1), rtol=1e-4, atol=1e-5)
    ledger = lrpjax.audit(rearranged, None, IDS, target=1)
    appended = 2 * float(TABLE[0] @ WEIGHTS[:, 1])
    assert ledger.absorbed == pytest.approx(appended, rel=1e-4)


def test_one_id_by_plain_indexing_and_vmap_agree():
    pick = lambda i: TABLE[i] @ WEIGHTS
    ids = jnp.array([1, 4, 0])
    by_hand = (TABLE[ids] @ WEIGHTS).max(-1)
    np.testing.assert_allclose(jax.vmap(lrpjax.lrp(pick))(ids), by_hand, rtol=1e-4)
    np.testing.assert_allclose(lrpjax.lrp(jax.vmap(pick))(ids), by_hand, rtol=1e-4)


def test_embedding_layers_are_routes_named_after_their_module():
    class Text(nn.Module):
        @nn.compact
        def __call__(self, ids):
            positions = self.param("positions", nn.initializers.normal(1.0), (3, 4))
            x = nn.Embed(5, 4, name="embed")(ids) + positions
            return nn.Dense(2, name="head")(nn.relu(x).mean(1))

    model = Text()
    variables = model.init(jax.random.key(2), IDS)
    units = {unit.layer: unit for unit in lrpjax.plan(model, None, variables, IDS).units}
    assert units["embed"].kind == "route"
    assert type(units["positions"].rule).__name__ == "Epsilon"
    ledger = lrpjax.audit(model, None, variables, IDS)
    rows = {row.layer: row for row in ledger.rows}
    assert abs(rows["positions"].bias) > 0
    assert ledger.error < 1e-5


def test_nnx_embeddings_and_pytrees_of_ids_and_floats():
    embed = nnx.Embed(5, 4, rngs=nnx.Rngs(0))
    model = lambda d: embed(d["ids"]).sum(1) + d["x"]
    inputs = {"ids": IDS, "x": jnp.ones((2, 4))}
    relevance = lrpjax.lrp(model)(inputs, target=0)
    by_hand = embed(IDS)[..., 0]
    np.testing.assert_allclose(relevance["ids"], by_hand, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(relevance["x"][:, 0], 1, rtol=1e-4)


def test_a_photograph_in_bytes_is_explained_as_one_in_floats():
    weights = jax.random.normal(jax.random.key(3), (6, 3))
    model = lambda x: ((x.astype("float32") - 127) / 128) @ weights
    pixels = np.array([[0, 255, 3, 127, 90, 12]], np.uint8)
    relevance = lrpjax.lrp(model)(pixels)
    assert relevance.shape == pixels.shape
    np.testing.assert_array_equal(relevance, lrpjax.lrp(model)(pixels.astype("float32")))


def test_integers_that_are_only_compared_are_refused():
    with pytest.raises(lrpjax.PlanError, match="does not depend"):
        lrpjax.lrp(lambda i: jax.nn.one_hot(i, 5) @ TABLE)(IDS)


def test_lookups_that_cannot_be_followed_are_refused():
    flat = TABLE.reshape(-1)
    two = lambda d: flat[d["row"] * 4 + d["column"]]
    rows = {"row": jnp.array([0, 1]), "column": jnp.array([2, 3])}
    with pytest.raises(lrpjax.UnsupportedPrimitiveError, match="gather"):
        lrpjax.lrp(two)(rows)
    followed_outside = lambda i: jax.checkpoint(classify)(i + 0 * i.sum())
    with pytest.raises(lrpjax.UnsupportedPrimitiveError, match="gather"):
        lrpjax.lrp(followed_outside)(IDS)


def test_a_lookup_inside_remat_is_one():
    expected = lrpjax.lrp(classify)(IDS)
    np.testing.assert_allclose(lrpjax.lrp(jax.checkpoint(classify))(IDS), expected, rtol=1e-6)
