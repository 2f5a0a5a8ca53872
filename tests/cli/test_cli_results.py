"""The folder of results: skipping, names that keep apart, whole files or none."""

import os
from pathlib import Path

import numpy as np
import pytest
from cli_files import arrays, files, lines, photograph
from PIL import Image

from lrpjax import models
from lrpjax.cli import results


def test_what_is_done_with_the_same_settings_is_skipped(run, tmp_path):
    for name in ("a", "b", "c"):
        photograph(tmp_path / f"photos/{name}.png", seed=ord(name))
    run("explain", "photos/a.png", "photos/b.png")
    stamps = {path: path.stat().st_mtime_ns for path in Path("heatmaps").iterdir()}
    code, out, _ = run("explain", "photos")
    assert code == 0
    assert "1 explained, 2 done already and skipped" in out
    assert "a.png: " in out, "what was found is said again"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert files("heatmaps") == ["a.npz", "a.png", "b.npz", "b.png", "c.npz", "c.png"]
    _, out, _ = run("explain", "photos", "--top", 3)
    assert "0 explained, 3 done already" in out


@pytest.mark.parametrize("change", ["force", "top", "composite", "photograph", "figure", "numbers"])
def test_whatever_differs_is_done_again(run, tmp_path, change):
    path = photograph(tmp_path / "cat.png")
    run("explain", "cat.png")
    first = arrays("heatmaps/cat.npz")
    words = {"force": ["--force"], "top": ["--top", 2], "composite": ["--composite", "epsilon"]}
    if change == "photograph":
        photograph(path, seed=1)
    elif change == "figure":
        Path("heatmaps/cat.png").unlink()
    elif change == "numbers":
        for result in Path("heatmaps").iterdir():
            result.unlink()
    code, out, _ = run("explain", "cat.png", *words.get(change, []))
    assert (code, out.splitlines()[-1][:11]) == (0, "1 explained")
    assert files("heatmaps") == ["cat.npz", "cat.png"]
    again = arrays("heatmaps/cat.npz")
    assert (again["image"].tolist() == first["image"].tolist()) == (change != "photograph")
    assert len(again["classes"]) == (2 if change == "top" else 3)


def test_photographs_of_the_same_name_keep_apart_in_every_run(run, tmp_path):
    places = ["a/cat.png", "b/cat.png", "a/cat.jpg", "a/CAT.png"]
    for number, place in enumerate(places):
        photograph(tmp_path / place, seed=number)
    run("explain", places[0])
    code, out, _ = run("explain", *reversed(places))
    assert code == 0
    assert "3 explained, 1 done already" in out
    names = {name.casefold() for name in files("heatmaps")}
    assert len(names) == 2 * len(places), "apart even where a file system folds case"
    owner = {str(arrays(path)["source"]): path for path in Path("heatmaps").glob("*.npz")}
    assert owner[str(tmp_path / "a/cat.png")].name == "cat.npz"
    for place in places:
        stored = arrays(owner[str(tmp_path / place)])
        seen = models.load("tiny").preprocess(Image.open(place))
        np.testing.assert_array_equal(stored["image"], seen)
    _, out, _ = run("explain", *places)
    assert "0 explained, 4 done already" in out


def test_a_photograph_given_twice_is_explained_once(run, tmp_path):
    photograph(tmp_path / "photos/cat.png")
    _, out, _ = run("explain", "photos/cat.png", "photos", "photos/../photos/cat.png")
    assert "1 explained;" in out


def test_photographs_and_other_files_are_never_overwritten(run, tmp_path):
    photograph(tmp_path / "photos/cat.png")
    photograph(tmp_path / "photos/dog.jpg", seed=1)
    (tmp_path / "photos/dog.npz").write_bytes(b"somebody's numbers")
    before = {path: path.read_bytes() for path in Path("photos").iterdir()}
    words = ["explain", "photos/cat.png", "photos/dog.jpg", "--out", "photos"]
    assert run(*words)[0] == 0
    assert {path: path.read_bytes() for path in before} == before
    assert len(files("photos")) == len(before) + 4
    (tmp_path / "photos/dog.npz").unlink()
    code, out, _ = run("explain", "photos", "--out", "photos")
    assert (code, out.splitlines()[-1][:35]) == (0, "0 explained, 2 done already and ski")


@pytest.mark.parametrize(
    "name",
    ["...png", "$x_1$.png", "a\nb.png", "-top.png", "~.png", "Käse 猫.png", "a;rm -rf b.png"],
)
def test_names_never_escape_the_folder(run, tmp_path, name):
    photograph(tmp_path / "photos" / "plain.png").rename(tmp_path / "photos" / name)
    code, out, err = run("explain", f"photos/{name}", "--out", "out")
    assert (code, lines(err), len(out.splitlines())) == (0, [], 2)
    assert files(".") == ["out", "photos"]
    assert files("photos") == [name]
    figure, numbers = sorted(files("out"), key=lambda each: each.endswith(".npz"))
    assert (figure[-4:], numbers[-4:], figure[:-4]) == (".png", ".npz", numbers[:-4])
    assert not figure.startswith(".")


def test_names_of_any_length_are_shortened_to_fit(run, tmp_path):
    long = [tmp_path / ("猫" * 83 + end) for end in ("a.png", "b.png")]
    for number, path in enumerate(long):
        photograph(tmp_path / "short.png", seed=number).rename(path)
    assert run("explain", *long)[0] == 0
    assert len(files("heatmaps")) == 4


@pytest.mark.parametrize("stop_at", [1, 2])
def test_an_interrupted_run_leaves_no_half_files_and_goes_on_later(
    run, tmp_path, monkeypatch, stop_at
):
    photograph(tmp_path / "cat.png")
    run("explain", "cat.png", "--top", 1)
    calls = iter(range(1, 9))
    replace = os.replace

    def interrupted(source, target):
        if next(calls) == stop_at:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(results.os, "replace", interrupted)
        code, _, err = run("explain", "cat.png", "--top", 2)
    assert (code, "interrupted" in err) == (130, True)
    assert files("heatmaps") == ["cat.npz"]
    assert len(arrays("heatmaps/cat.npz")["classes"]) == stop_at, "whole, the old or the new one"
    code, out, _ = run("explain", "cat.png", "--top", 2)
    assert "1 explained" in out
    assert files("heatmaps") == ["cat.npz", "cat.png"]
