"""What the command ``lrpjax`` refuses, and how it says so."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_files import files, lines, photograph
from PIL import Image

import lrpjax
from lrpjax.cli import commands, main, results


def damaged(path, kind):
    """Makes one of the files that cannot be explained."""
    if kind == "text":
        path.write_text("not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        whole = photograph(path.with_name("whole.png"), size=(200, 200)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        path.with_name("whole.png").unlink()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        photograph(path, size=(400, 400))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("text", "not an image"),
        ("empty", "not an image"),
        ("truncated", "truncated"),
        ("folder", "no file in this folder"),
        ("pipe", "not a file"),
        ("huge", "more than 50,000 pixels"),
    ],
)
def test_a_file_that_cannot_be_explained_does_not_stop_the_others(
    run, tmp_path, monkeypatch, kind, reason
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    photograph(tmp_path / "a.png")
    damaged(tmp_path / "broken.png", kind)
    photograph(tmp_path / "z.png", seed=1)
    code, out, err = run("explain", "a.png", "broken.png", "z.png", "--batch-size", 1)
    assert code == 1
    (said,) = lines(err)
    assert said.startswith("lrpjax: broken.png: ")
    assert reason in said
    assert "2 explained, 1 failed" in out
    assert files("heatmaps") == ["a.npz", "a.png", "z.npz", "z.png"]


def test_a_folder_is_read_without_hidden_files_and_subfolders(run, tmp_path):
    photograph(tmp_path / "photos/cat.png")
    photograph(tmp_path / "photos/deeper/dog.png")
    (tmp_path / "photos/.DS_Store").write_bytes(b"x")
    (tmp_path / "photos/notes.txt").write_text("no photograph")
    code, out, err = run("explain", "photos")
    assert code == 1
    assert len(lines(err)) == 1
    assert lines(err)[0].startswith("lrpjax: photos/notes.txt: this is not an image")
    assert "1 explained, 1 failed" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "tabby,tabbie"], "no class named 'tabbie'"),
        (["--classes", "5"], "out of range"),
        (["--composite", "epsilonn"], "no composite named 'epsilonn'"),
        (["--composite", "epsilon_gamma_box"], "epsilon_gamma_box"),
        (["--composite", "missing.json"], "missing.json: No such file"),
        (["--composite", "broken.json"], "broken.json: not a composite"),
        (["--composite", "other.json"], "other.json"),
        (["--composite", "list.json"], "list.json: "),
        (["--composite", "rule.json"], "NoSuchRule"),
        (["--composite", "latin.json"], "latin.json: "),
        (["--composite", "misfit.json"], "no_such_layer"),
        (["--top", "6"], "--top 6: tiny knows 5 classes"),
        (["--out", "cat.png"], "--out cat.png"),
    ],
)
def test_a_command_that_does_not_fit_is_refused_before_any_work(run, tmp_path, words, message):
    photograph(tmp_path / "cat.png")
    Path("broken.json").write_text('{"conv": ')
    Path("other.json").write_text('{"convolution": ["what"]}')
    Path("list.json").write_text('{"conv": ["Epsilon"]}')
    Path("rule.json").write_text('{"conv": {"rule": "NoSuchRule"}}')
    Path("latin.json").write_bytes(b'"\xe9"')
    misfit = lrpjax.Composite(layers={"no_such_layer": lrpjax.rules.Epsilon()})
    Path("misfit.json").write_text(misfit.to_json())
    before = files(".")
    code, out, err = run("explain", "cat.png", "missing.png", *words)
    assert (code, out) == (2, "")
    assert err.startswith("lrpjax: error: ")
    assert err.count("\n") == 1, "one line"
    assert message in err
    assert files(".") == before


def test_an_unknown_model_is_refused_with_the_known_ones(run):
    code, _, err = run("explain", "cat.png", model="vgg")
    assert (code, err.count("\n")) == (2, 1)
    assert "no model named 'vgg'" in err
    assert "tiny" in err


@pytest.mark.parametrize(
    "words",
    [["explain"], ["explain", "a.png", "--top", "0"], ["paint"], [], ["plan", "--out", "x"]],
)
def test_options_that_make_no_sense_end_with_code_two_and_one_line(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert (err.count("\n"), "error: " in err, "--help" in err) == (1, True, True)


def test_a_disk_that_is_full_is_said_of_the_photograph(run, tmp_path, monkeypatch):
    photograph(tmp_path / "cat.png")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.os, "replace", full)
    code, _, err = run("explain", "cat.png")
    assert code == 1
    assert "lrpjax: cat.png: " in err
    assert "No space left" in err
    assert files("heatmaps") == []


def test_relevance_that_is_not_finite_is_said_of_the_photograph(run, tmp_path, monkeypatch):
    for number, name in enumerate(("a", "b")):
        photograph(tmp_path / f"{name}.png", seed=number)
    whole = commands.explanations

    def broken(*words):
        for key, found in whole(*words):
            factor = np.nan if key[1] == "a" else 1
            yield key, dataclasses.replace(found, relevance=factor * found.relevance)

    monkeypatch.setattr(commands, "explanations", broken)
    code, out, err = run("explain", "a.png", "b.png")
    assert code == 1
    (said,) = lines(err)
    assert said.startswith("lrpjax: a.png: relevance is NaN or infinite at 768 of 768 pixels")
    assert "1 explained, 1 failed" in out
    assert files("heatmaps") == ["b.npz", "b.png"]


def test_without_the_extras_they_are_named():
    program = (
        "import sys; sys.modules['PIL'] = sys.modules['tqdm'] = sys.modules['matplotlib'] = None\n"
        "from lrpjax.cli import main; sys.exit(main(['explain', 'cat.png']))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 2
    assert "pip install 'lrpjax[zoo" in run.stderr
    assert run.stderr.count("\n") == 1
