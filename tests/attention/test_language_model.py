"""A decoder-only language model: relevance of token ids, against NumPy, and its ledgers."""

import jax
import numpy as np
import pytest
from attention.language_model import (
    ATTENTION,
    IDS,
    VOCABULARY,
    LanguageModel,
    parameters,
)
from attention.language_reference import explain
from support import ledgers
from support.networks import close

from lrpjax import audit, lrp, lrp_vjp, plan, value_and_lrp

PRESETS = ("attn_lrp", "cp_lrp", "default")
IN_SINGLE = ("by_jax_nn", "by_nnx")  # these take the softmax in float32


def in_numpy(model, preset):
    """Logits and relevance of every text."""
    rule = "attn_lrp" if preset == "attn_lrp" else "cp_lrp"
    each = [explain(parameters(model), ids, rule) for ids in IDS]
    return tuple(map(np.stack, zip(*each, strict=True)))


@pytest.mark.parametrize("preset", PRESETS)
def test_relevance_of_the_ids_is_that_of_the_formulas(preset, x64):
    """In the ids' shape; a key's and a value's are summed over the queries that share them."""
    model = LanguageModel(dtype=np.float64, blocks=2)
    out, relevance = value_and_lrp(model, preset)(IDS)
    assert out.shape == (*IDS.shape, VOCABULARY)
    assert relevance.shape == IDS.shape
    close((out, relevance), in_numpy(model, preset))


@pytest.mark.parametrize("name", ["repeated", *IN_SINGLE])
def test_keys_and_values_are_shared_in_every_library(name, x64):
    """To ten digits, but for those that take the softmax in float32."""
    model = LanguageModel(ATTENTION[name], np.float64)
    rtol = 1e-6 if name in IN_SINGLE else 1e-10
    close(value_and_lrp(model, "attn_lrp")(IDS), in_numpy(model, "attn_lrp"), rtol)


@pytest.mark.parametrize("preset", ["attn_lrp", "default"])
def test_the_ledger_closes(preset, x64):
    """In double precision, and in single."""
    ledgers.check(audit(LanguageModel(dtype=np.float64), preset, IDS), 1e-12)
    with jax.enable_x64(False):
        ledgers.check(audit(LanguageModel(dtype=np.float32), preset, IDS), 1e-5)


def test_cp_lrp_is_the_default():
    """Every unit has the same rule, so that its ledger closes as well."""
    of = lambda preset: [(u.layer, u.rule) for u in plan(LanguageModel(), preset, IDS).units]
    assert of("cp_lrp") == of("default") != of("attn_lrp")


def test_the_ledger_closes_around_a_softmax_in_float32(x64):
    """Where relevance is in float32 too."""
    model = LanguageModel(ATTENTION["by_jax_nn"], np.float64)
    ledgers.check(audit(model, "attn_lrp", IDS), 1e-6)


def test_in_single_precision_it_is_the_same_to_its_rounding():
    model = LanguageModel()
    relevance = lrp(model, "attn_lrp")(IDS)
    _, expected = in_numpy(model, "attn_lrp")
    assert relevance.dtype == np.float32
    assert np.abs(relevance - expected).max() < 1e-4 * np.abs(expected).max()


def test_no_id_behind_the_explained_token_gets_anything():
    """The start is one token's; what it can't see gets exactly zero."""
    model = LanguageModel()
    out, relevance_of = lrp_vjp(model, "attn_lrp", IDS)
    starts = [np.zeros(out.shape, np.float32) for _ in range(IDS.shape[1])]
    for token, start in enumerate(starts):
        start[:, token] = out[:, token]
    found = np.asarray(jax.vmap(relevance_of)(np.stack(starts)))
    for token, relevance in enumerate(found):
        assert not relevance[:, token + 1 :].any()
        assert relevance[:, : token + 1].all()


def test_the_layers_have_the_models_names_and_the_rules_of_the_preset():
    units = {u.layer: u for u in plan(LanguageModel(blocks=2), "attn_lrp", IDS).units}
    kinds = dict.fromkeys(("query", "key", "value", "out", "gate", "up", "down"), "dense")
    kinds |= {"norm1": "normalisation", "norm2": "normalisation"}
    assert units["embed"].kind == "route"
    for block in ("blocks/0", "blocks/1"):
        assert {name: units[f"{block}/{name}"].kind for name in kinds} == kinds
    assert sum(u.kind == "softmax" for u in units.values()) == 2
    assert sum(u.kind == "attention" for u in units.values()) == 4
    assert sum(u.kind == "product" for u in units.values()) == 2
