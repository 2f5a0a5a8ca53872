"""Training an adapter on a few made-up sentences: what is learnt, drawn, resumed and refused."""

import json

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file
from support import small_text

from lrpjax import models
from lrpjax.models.minilm import adapter, data, pretrained, train, training, weights

WORDS = ("--epochs", "8", "--batch", "8", "--rank", "2", "--seed", "5", "--peak-rate", "3e-2")


def sentences(count, seed):
    """A few words; "good" or "fine" among them makes a sentence positive."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    signs = np.where(
        labels, rng.choice(["good", "fine"], count), rng.choice(["bad", "dull"], count)
    )
    rows = [["a", *rng.choice(["film", "very", "."], rng.integers(0, 4)), sign] for sign in signs]
    return [" ".join(rng.permutation(row)) for row in rows], labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, (split, count) in enumerate({"train": 67, "dev": 70, "test": 30}.items()):
        lines = [f"{text}\t{label}\n" for text, label in zip(*sentences(count, seed), strict=True)]
        (folder / f"{split}.tsv").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    """The small encoder and tokenizer in the place of the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "encoder", small_text.encoder)
        patch.setattr(pretrained, "tokenizer", small_text.tokenizer)
        yield


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The folder that a run without interruption has written to."""
    out = tmp_path_factory.mktemp("finished")
    train.main(["--data", str(folder), "--out", str(out), *WORDS])
    return out


def test_the_adapter_learns_and_its_accuracy_is_written_down(folder, finished):
    report = json.loads((finished / "sst2.json").read_text())
    losses = [epoch["loss"] for epoch in report["history"]]
    assert len(losses) == 8
    assert losses[-1] < losses[0] / 9
    assert report["sentences"] == {"train": 67, "dev": 70, "test": 30}
    # Without training's help: a classifier as a person would put it together.
    learnt = weights.read(finished / "sst2.safetensors")
    model = adapter.classifier(small_text.encoder(), learnt)
    whole = models.TextClassifier("small", model, weights.LABELS, small_text.tokenizer())
    for split in ("dev", "test"):
        part = data.load(folder, split)
        hits = whole.predict(part.texts).argmax(-1) == part.labels
        assert report[f"{split}_accuracy"] == round(hits.mean(), 4) > 0.9


def test_an_adapter_adds_its_products_and_leaves_the_encoder_alone(finished):
    learnt = weights.read(finished / "sst2.safetensors")
    before = small_text.encoder()
    after = adapter.classifier(before, learnt).encoder
    kernel = lambda model: np.asarray(model.layers[1].attention.value.kernel[...])
    np.testing.assert_array_equal(kernel(before), kernel(small_text.encoder()))
    name = "layers.1.attention.value"
    product = learnt[f"{name}.down"] @ learnt[f"{name}.up"]
    assert np.linalg.matrix_rank(product) == 2
    np.testing.assert_allclose(kernel(after) - kernel(before), product, atol=1e-6)
    changed = {
        ".".join(map(str, path[:-1]))
        for (path, a), (_, b) in zip(
            *(nnx.to_flat_state(nnx.state(model)) for model in (before, after)), strict=True
        )
        if (np.asarray(a[...]) != np.asarray(b[...])).any()
    }
    matrices = ("query", "key", "value", "out")
    assert changed == {f"layers.{i}.attention.{matrix}" for i in (0, 1) for matrix in matrices}
    assert changed == set(adapter.updates(learnt))


def test_an_interrupted_run_goes_on_to_the_same_bits(
    folder, finished, tmp_path, monkeypatch, capsys
):
    def interrupt(trainer, epoch):
        def batches(drawn):
            for number, batch in enumerate(drawn):
                if (epoch, number) == (1, 2):
                    raise KeyboardInterrupt
                yield batch

        return batches

    words = ["--data", str(folder), "--out", str(tmp_path), *WORDS]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_progress", interrupt)
        train.main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["sst2.checkpoint.safetensors"]
    assert "epoch 1:" in capsys.readouterr().out

    train.main(words)
    out, err = capsys.readouterr()
    assert "epoch 1:" not in out and "epoch 8:" in out
    assert "epoch 2/8: 100%" in err
    for name in ("sst2.safetensors", "sst2.json"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()

    for other_words, message in [
        ([*words, "--weight-decay", "0.5"], "is of a run with other settings"),
        (words, "is no checkpoint of a training"),
    ]:
        with pytest.raises(SystemExit):
            train.main(other_words)
        assert message in capsys.readouterr().err
        (tmp_path / "sst2.checkpoint.safetensors").write_bytes(b"cut short")


def trainer(**changes):
    settings = training.Settings(**{"batch": 8, "seed": 3} | changes)
    texts, labels = sentences(67, 0)
    part = data.Sentences(tuple(texts), labels.astype(np.int32))
    return training.Trainer(settings, small_text.encoder(), small_text.tokenizer(), part)


def test_an_epoch_reads_each_sentence_at_most_once_and_depends_on_seed_and_epoch_alone():
    texts, labels = sentences(67, 0)
    ids, _, _ = small_text.tokenizer()(texts)
    known = {}
    for row, label in zip(ids, labels, strict=True):
        known.setdefault(row[row > 0].tobytes(), []).append(int(label))

    def drawn(epoch, **changes):
        rows = [
            pair for i, _, y in trainer(**changes).batches(epoch) for pair in zip(i, y, strict=True)
        ]
        return [(row[row > 0].tobytes(), int(label)) for row, label in rows]

    first = drawn(0)
    assert len(first) == 64
    for sentence, label in first:
        assert label in known[sentence]
    assert all(sum(s == one for s, _ in first) <= len(known[one]) for one in known)
    assert drawn(0) == first
    assert drawn(1) != first
    assert drawn(0, seed=4) != first


def test_rank_zero_trains_the_head_alone():
    found = trainer(rank=0)
    assert set(found.start().adapter) == {"head.kernel", "head.bias"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "at least one epoch"),
        ({"batch": 68}, "67 sentences do not fill a batch of 68"),
        ({"rank": -1}, "rank -1 should be at least 0"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(**changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fine\t1\nno label\n", "train.tsv, line 2: "),
        ("fine\t2\n", "line 1"),
        (" \t1\n", "line 1"),
        ("", "line 1"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content, message):
    (tmp_path / "train.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path, "train")


def test_sentences_keep_all_but_the_end_of_their_line(tmp_path):
    (tmp_path / "dev.tsv").write_bytes("one\x85two \u2028 three\t1\r\nfour\t0".encode())
    found = data.load(tmp_path, "dev")
    assert found.texts == ("one\x85two \u2028 three", "four")
    assert found.labels.tolist() == [1, 0]


def test_another_encoders_adapter_is_refused(finished, tmp_path):
    learnt = load_file(finished / "sst2.safetensors")
    wrong = {
        "missing": {k: v for k, v in learnt.items() if k != "layers.0.attention.key.up"},
        "left over": learnt | {"layers.2.attention.key.up": np.zeros((2, 12), np.float32)},
        "of another size": learnt | {"head.kernel": np.zeros((13, 2), np.float32)},
        "empty": {"x": np.zeros(1, np.float32)},
    }
    for arrays in wrong.values():
        save_file(arrays, tmp_path / "other.safetensors")
        with pytest.raises(models.CheckpointError, match="another encoder's adapter"):
            adapter.classifier(small_text.encoder(), weights.read(tmp_path / "other.safetensors"))
