"""AttnLRP and CP-LRP on a transformer of two layers, against NumPy, head by head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.reference import explain_all
from attention.transformer import LAYERS, MASKS, PARAMETERS, X, transformer
from support import ledgers
from support.networks import close

from lrpjax import audit, lrp_vjp, plan, value_and_lrp

PRESETS = ("attn_lrp", "cp_lrp", "default")  # the default composite is CP-LRP on a transformer

#: Where the units of attention.transformer.by_hand stand, by what the reference calls them, in
#: the first layer and in the second; and the axes that bring the heads' to the front.
TAPS = {
    "query": (["layer0/attention/query", "layer1/attention/query"], (0, 2, 1, 3)),
    "key": (["layer0/attention/key", "layer1/attention/key"], (0, 2, 1, 3)),
    "value": (["layer0/attention/value", "layer1/attention/value"], (0, 2, 1, 3)),
    "weights": ([f"layer{i}/attention/query/softmax" for i in (0, 1)], (0, 1, 2, 3)),
    "scores": ([f"layer{i}/attention/query/scale" for i in (0, 1)], (0, 1, 2, 3)),
    "mixed": (["bhts,bshd->bthd", "bhts,bshd->bthd#3"], (0, 1, 3, 2)),
}


@pytest.fixture(scope="module")
def explain():
    """One compiled program for all masks of a preset."""
    layers = [name for names, _ in TAPS.values() for name in names]
    return {name: value_and_lrp(transformer, name, taps=layers) for name in PRESETS}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_relevance_is_that_of_the_formulas_head_by_head(preset, mask, explain, x64):
    """Of the inputs, and of what each head makes: query, key, value, scores, weights, mixture."""
    rule = "attn_lrp" if preset == "attn_lrp" else "cp_lrp"
    out, (relevance, taps) = explain[preset](X, PARAMETERS, MASKS[mask])
    logits, expected, heads = explain_all(PARAMETERS, X, MASKS[mask], rule)
    close(out, logits)
    close(relevance, expected)
    for name, (layers, axes) in TAPS.items():
        for i in range(LAYERS):
            found, wanted = np.asarray(taps[layers[i]]).transpose(axes), heads[f"layer{i}"][name]
            if rule == "cp_lrp" and name in ("query", "key", "weights", "scores"):
                assert not found.any()
            else:
                close(found, wanted)


def test_what_a_token_cannot_see_gets_nothing(x64):
    """Explained one token at a time; both texts, the second has two tokens of padding."""
    explained = lrp_vjp(transformer, "attn_lrp", X, PARAMETERS, MASKS["causal and padding"])
    out, relevance_of = jax.tree.map(jnp.asarray, explained)
    tokens = out.shape[1]
    starts = jnp.stack([jnp.where(jnp.arange(tokens)[:, None] == t, out, 0) for t in range(tokens)])
    seen = MASKS["causal and padding"].swapaxes(0, 1) | np.eye(tokens, dtype=bool)[:, None]
    for relevance, sees in zip(jax.vmap(relevance_of)(starts), seen, strict=True):
        np.testing.assert_array_equal(np.asarray(relevance).any(-1), sees)


@pytest.mark.parametrize("preset", ["attn_lrp", "default"])
def test_the_ledger_closes(preset, x64):
    """In double precision, and in single."""
    ledgers.check(audit(transformer, preset, X, PARAMETERS, MASKS["causal"]), 1e-12)
    with jax.enable_x64(False):
        x, p = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (X, PARAMETERS))
        ledgers.check(audit(transformer, preset, x, p, MASKS["causal"]), 1e-5)


def test_cp_lrp_is_the_default():
    """Every unit has the same rule, so that its ledger closes as well."""
    arguments = X, PARAMETERS, MASKS["causal"]
    of = lambda preset: [(u.layer, u.rule) for u in plan(transformer, preset, *arguments).units]
    assert of("cp_lrp") == of("default") != of("attn_lrp")
