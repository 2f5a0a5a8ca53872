"""What ``lrpjax evaluate`` computes, writes, prints and refuses."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from cli_files import SIZE, arrays, files, lines, photograph
from PIL import Image

import lrpjax
from lrpjax import evaluation
from lrpjax.cli import evaluate, main
from lrpjax.evaluation.program import Program

QUICK = ("--steps", 3, "--regions", 4, "--operator", "mean")


@pytest.fixture
def images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    return pixels


@pytest.fixture
def evaluated(monkeypatch):
    """The sizes of all batches that go through a program."""
    batches, whole = [], Program.__call__

    def counted(self, batch):
        batches.append(len(batch.index))
        return whole(self, batch)

    monkeypatch.setattr(Program, "__call__", counted)
    return batches


def test_the_table_the_figure_and_the_numbers(run, images, classifier, evaluated):
    words = ("evaluate", "--data", "images.npz", "--composites", "epsilon,mine.json", *QUICK)
    rules = lrpjax.Composite(conv=lrpjax.rules.WSquare(), dense=lrpjax.rules.Flat())
    Path("mine.json").write_text(rules.to_json())
    code, out, err = run(*words, "--baselines", "Random", "--limit", 4, "--batch-size", 3)
    assert (code, lines(err)) == (0, [])
    assert evaluated == [3, 3] * 3
    assert files("evaluation") == [
        "curves.npz",
        "curves.png",
        "epsilon",
        "mine.json",
        "random",
        "table.txt",
    ]
    stored = arrays("evaluation/curves.npz")
    assert stored["methods"].tolist() == ["epsilon", "mine.json", "random"]
    assert stored["orders"].tolist() == ["MoRF", "LeRF"]
    settings = evaluation.Perturbation("mean", steps=3, region=4)
    wanted = evaluation.perturbation_curves(
        classifier.model, lrpjax.lrp(classifier.model, rules), images[:4], settings, progress=False
    )
    np.testing.assert_allclose(stored["scores"][1], wanted.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(stored["targets"], wanted.targets)
    loaded = [evaluation.PerturbationCurves.load(f"evaluation/{n}") for n in stored["methods"]]
    table = evaluation.table(loaded, baseline="epsilon")
    assert out.startswith(f"{table}\nthe curves are in evaluation/curves.png")
    assert Path("evaluation/table.txt").read_text() == f"{table}\n"
    assert "4 images; operator Mean(); score logit; regions 4×4; 3 steps of 1" in out
    assert json.loads(str(stored["settings"]))["operator"] == "Mean()"
    with Image.open("evaluation/curves.png") as picture:
        assert picture.width > 1.5 * picture.height, "two orders side by side"

    evaluated.clear()
    code, again, _ = run(*words, "--baselines", "random", "--limit", 4)
    assert (code, again, evaluated) == (0, out, [])
    before = files(".")
    code, nothing, err = run(*words, "--limit", 4, "--seed", 3)
    assert (code, nothing, err.count("\n"), evaluated) == (2, "", 1, [])
    assert "evaluation/epsilon holds the results of another run: seed is 0 there, 3 here" in err
    assert "--force" in err
    assert files(".") == before
    code, out, _ = run(*words, "--baselines", "", "--limit", 2, "--force", "--order", "MoRF")
    assert (code, evaluated) == (0, [2, 2])
    assert out.startswith("2 images;")


def test_photographs_are_preprocessed_and_one_that_is_broken_is_said(run, tmp_path, classifier):
    for number in range(3):
        photograph(tmp_path / f"photos/{number}.png", seed=number)
    (tmp_path / "photos/broken.png").write_text("not an image")
    words = ("--baselines", "", "--score", "probability", "--order", "random", *QUICK)
    code, out, err = run("evaluate", "--data", "photos", *words)
    assert code == 1
    (said,) = lines(err)
    assert said.startswith("lrpjax: photos/broken.png: this is not an image")
    assert out.startswith("3 images; operator Mean(); score probability;")
    scores = arrays("evaluation/curves.npz")["scores"]
    pixels = [classifier.preprocess(Image.open(f"photos/{n}.png")) for n in range(3)]
    np.testing.assert_allclose(
        scores[0, 0, :, 0], classifier.predict(np.stack(pixels)).max(-1), rtol=1e-5
    )


def test_a_method_that_fails_does_not_stop_the_others(run, images, monkeypatch):
    def broken(classifier):
        return lambda x, target: np.nan * x

    table = {**evaluate.BASELINES, "gradient": broken}
    monkeypatch.setattr(evaluate, "BASELINES", table)
    words = ("--baselines", "gradient", "--order", "MoRF", *QUICK)
    code, out, err = run("evaluate", "--data", "images.npz", *words)
    assert code == 1
    (said,) = lines(err)
    assert said.startswith("lrpjax: gradient: 5 of 5 images have curves with NaN")
    assert out.startswith("5 images;") and "\ndefault " in out


@pytest.mark.parametrize("name", evaluate.BASELINES)
def test_every_baseline_fits_a_classifier(classifier, name):
    attribution = evaluate.BASELINES[name](classifier)
    if name == "random":
        assert attribution == "random"
        return
    x = jax.ShapeDtypeStruct((2, SIZE, SIZE, 3), np.float32)
    target = jax.ShapeDtypeStruct((2,), np.int32)
    shown = jax.eval_shape(lambda x, target: attribution(x, target=target), x, target)
    assert shown.shape == x.shape


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("uniform:-1,1", evaluation.UniformNoise(-1, 1)),
        ("Blur:2.5", evaluation.Blur(2.5)),
        ("constant", evaluation.Constant()),
        ("dirichlet:2,0,1", evaluation.Dirichlet(2, 0, 1)),
    ],
)
def test_operators_are_named_with_their_numbers(text, operator):
    assert evaluate._operator(text) == operator


@pytest.mark.parametrize("kind", ["batches", "of another size"])
def test_images_of_another_size_are_cut_as_photographs_are(tmp_path, classifier, kind):
    from lrpjax.cli.images import images_from

    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    if kind == "batches":
        path = tmp_path / "cifar-10-batches-bin"
        path.mkdir()
        planes = np.moveaxis(pixels, -1, 1).reshape(4, -1)
        rows = np.concatenate([np.arange(4, dtype=np.uint8)[:, None], planes], axis=1)
        (path / "test_batch.bin").write_bytes(rows.tobytes())
    else:
        path = tmp_path / "images.npz"
        np.savez(path, images=pixels)
    found = images_from(path, classifier, 3, lambda *_: pytest.fail("nothing is broken"))
    wanted = [classifier.preprocess(Image.fromarray(one)) for one in pixels[:3]]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none"], "--data none: there is no such file or folder"),
        (["--data", "empty"], "--data empty: there is no photograph that can be read"),
        (["--data", "wrong.npz"], "images are uint8 [n, h, w, 3]; these are float64 [2, 3]"),
        (["--data", "other.npz"], "--data other.npz: neither a folder of photographs, nor"),
        (["--data", "broken.npz"], "--data broken.npz: no whole .npz file"),
        (["--composites", "epsilonn"], "no composite named 'epsilonn'"),
        (["--composites", "epsilon,epsilon"], "epsilon is named twice"),
        (["--composites", "", "--baselines", ""], "there is nothing to evaluate"),
        (["--baselines", "gradent"], "no baseline named 'gradent'; did you mean 'gradient'"),
        (["--operator", "noise"], "--operator noise: no operator named 'noise'"),
        (["--operator", "blur:0"], "--operator blur:0: Blur: sigma is a number above 0"),
        (["--operator", "mean:3"], "--operator mean:3: "),
        (["--order", "MoRF,LoRF"], "no order named 'LoRF'"),
        (["--score", "logits"], "no score named 'logits'; did you mean 'logit'"),
        (["--steps", "300"], "300 steps of 1 remove 300 regions; images of 16×16 have 256 of 1×1"),
        (["--out", "images.npz"], "--out images.npz: "),
    ],
)
def test_a_command_that_does_not_fit_is_refused_before_any_work(run, images, words, message):
    Path("empty").mkdir()
    np.savez("wrong.npz", images=np.zeros((2, 3)))
    np.savez("other.npz", pictures=np.zeros((2, 3)))
    Path("broken.npz").write_bytes(b"PK")
    before = files(".")
    data = [] if "--data" in words else ["--data", "images.npz"]
    code, out, err = run("evaluate", *data, *words)
    assert (code, out) == (2, "")
    assert [line for line in err.splitlines() if line.startswith("lrpjax: error: ")]
    assert message in err
    assert files(".") == before


@pytest.mark.parametrize("words", [[], ["--regions", "3x3x3"], ["--regions", "0"]])
def test_options_that_make_no_sense_end_with_code_two(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *([] if not words else ["--data", "x"]), *words])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
