"""What the commands of ``lrpjax`` compute, write and print."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from cli_files import LABELS, SIZE, arrays, files, lines, photograph
from PIL import Image

import lrpjax
from lrpjax import models
from lrpjax.cli import explain, main
from lrpjax.cli.settings import Settings


def test_a_photograph_gets_a_figure_and_its_raw_relevance(run, tmp_path, classifier):
    photograph(tmp_path / "cat.jpg")
    code, out, err = run("explain", "cat.jpg")
    assert (code, lines(err)) == (0, [])
    assert files("heatmaps") == ["cat.npz", "cat.png"]

    stored = arrays("heatmaps/cat.npz")
    pixels = classifier.preprocess(Image.open("cat.jpg"))
    probabilities = classifier.predict(pixels)
    best = np.argsort(-probabilities)[:3]
    np.testing.assert_array_equal(stored["image"], pixels)
    np.testing.assert_array_equal(stored["classes"], best)
    assert stored["labels"].tolist() == [LABELS[index] for index in best]
    np.testing.assert_allclose(stored["scores"], probabilities[best], rtol=1e-5)
    assert stored["relevance"].dtype == np.float32
    assert stored["relevance"].shape == (3, SIZE, SIZE, 3)
    relevance_of = lrpjax.lrp(classifier.model, "default")
    for index, relevance in zip(best, stored["relevance"], strict=True):
        alone = relevance_of(jnp.asarray(pixels[None]), target=int(index))[0]
        np.testing.assert_allclose(relevance, alone, rtol=1e-4, atol=1e-6)
    assert str(stored["model"]) == "tiny"
    lrpjax.Composite.from_json(str(stored["composite"]))

    seen = ", ".join(f"{LABELS[index]} {probabilities[index]:.2f}" for index in best)
    assert f"cat.jpg: {seen} → heatmaps/cat.png" in out
    assert "1 explained" in out
    with Image.open("heatmaps/cat.png") as picture:
        assert picture.width > 2 * picture.height, "the photograph and three heatmaps in a row"


def test_batches_change_nothing(run, tmp_path):
    for number in range(5):
        photograph(tmp_path / f"photos/{number}.png", seed=number)
    code, out, err = run("explain", "photos", "--out", "by_two", "--batch-size", 2)
    assert code == 0
    assert "5/5" in err, "a progress bar"
    assert "5 explained" in out
    run("explain", "photos", "--out", "alone", "--batch-size", 1)
    for number in range(5):
        together, alone = (arrays(f"{folder}/{number}.npz") for folder in ("by_two", "alone"))
        np.testing.assert_array_equal(together["classes"], alone["classes"])
        np.testing.assert_allclose(together["relevance"], alone["relevance"], rtol=1e-4, atol=1e-6)


def test_a_last_batch_that_is_not_full_compiles_nothing_anew(classifier):
    # Classes that no other test asks for, so that no program is there beforehand.
    settings = Settings(classifier, lrpjax.presets.default(), classes=(4, 2, 0), top=1)
    pixels = [(number, np.full((SIZE, SIZE, 3), number, np.float32)) for number in range(5)]
    programs = explain.explained._cache_size()
    stream = explain.explanations(settings, iter(pixels), batch_size=2)
    assert [key for key, _ in stream] == [0, 1, 2, 3, 4]
    assert explain.explained._cache_size() == programs + 1


def test_named_classes_come_in_the_order_given_before_the_highest(run, tmp_path):
    photograph(tmp_path / "cat.jpg")
    run("explain", "cat.jpg", "--classes", "tabby, blue,3", "--out", "named")
    assert arrays("named/cat.npz")["labels"].tolist() == ["tabby", "blue"]
    run("explain", "cat.jpg", "--classes", "tabby", "--top", 5, "--out", "both")
    both = arrays("both/cat.npz")
    assert both["labels"][0] == "tabby"
    assert sorted(both["labels"]) == sorted(LABELS), "each class once"
    rest = both["scores"][1:]
    assert (np.diff(rest) <= 0).all()
    np.testing.assert_allclose(
        both["relevance"][0], arrays("named/cat.npz")["relevance"][0], rtol=1e-4, atol=1e-6
    )


def test_a_composite_is_a_preset_or_a_file(run, tmp_path, classifier):
    photograph(tmp_path / "cat.jpg")
    rules = lrpjax.Composite(conv=lrpjax.rules.WSquare(), dense=lrpjax.rules.Flat())
    Path("mine.json").write_text(rules.to_json())
    run("explain", "cat.jpg", "--composite", "epsilon", "--top", 1, "--out", "preset")
    run("explain", "cat.jpg", "--composite", "mine.json", "--top", 1, "--out", "file")
    for folder, composite in (("preset", "epsilon"), ("file", rules)):
        stored = arrays(f"{folder}/cat.npz")
        expected = lrpjax.lrp(classifier.model, composite)(jnp.asarray(stored["image"][None]))
        np.testing.assert_allclose(stored["relevance"], expected, rtol=1e-4, atol=1e-6)
    assert json.loads(str(stored["composite"])) == json.loads(rules.to_json())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_images_of_every_mode_are_explained(run, tmp_path, mode, classifier):
    path = photograph(tmp_path / "cat.png", mode=mode)
    assert Image.open(path).mode == mode
    assert run("explain", "cat.png", "--top", 1)[0] == 0
    stored = arrays("heatmaps/cat.npz")
    np.testing.assert_array_equal(stored["image"], classifier.preprocess(Image.open(path)))
    assert stored["relevance"].shape == (1, SIZE, SIZE, 3)


def test_the_demo_explains_the_sample_photographs(run, tmp_path, monkeypatch):
    samples = {
        name: photograph(tmp_path / f"data/{name}_file.png", seed=number)
        for number, name in enumerate(("coffee", "camera", "moped", "cat", "rocket"))
    }
    monkeypatch.setattr(models, "sample_paths", lambda: samples)
    code, out, _ = run("demo", "--out", "pictures")
    assert code == 0
    for name in samples:
        assert f"→ pictures/{name}.png" in out
        assert {f"{name}.png", f"{name}.npz"} <= set(files("pictures"))
    assert "5 explained; the pictures are in pictures" in out
    assert "5 done already" in run("demo", "--out", "pictures")[1]


def test_the_plan_is_printed_as_it_is(run, classifier):
    code, out, _ = run("plan", "--composite", "epsilon")
    table = str(lrpjax.plan(classifier.model, "epsilon", jnp.zeros((1, SIZE, SIZE, 3))))
    assert (code, out) == (0, table + "\n")
    assert files(".") == []


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, "lrpjax 0.1.0\n")
