"""Long perturbation runs: interrupted, resumed, and refused where they would not be the same."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lrpjax
from lrpjax.evaluation import (
    Perturbation,
    PerturbationCurves,
    ResultsMismatch,
    perturbation_curves,
    storage,
)
from lrpjax.evaluation.inputs import checked_inputs
from lrpjax.evaluation.program import Program

IMAGES = np.random.default_rng(0).uniform(0, 1, (7, 4, 4, 2)).astype(np.float32)
SETTINGS = Perturbation("mean", ("MoRF",), steps=3)


class Net(nnx.Module):
    def __init__(self, seed=0):
        self.dense = nnx.Linear(32, 3, rngs=nnx.Rngs(seed))

    def __call__(self, x):
        return self.dense(x.reshape(len(x), -1))


NET = Net()


def run(folder, settings=SETTINGS, net=NET, composite="epsilon", images=IMAGES, **options):
    options = {"batch_size": 2, "name": "lrp", "progress": False, **options}
    attribution = lrpjax.lrp(net, composite)
    return perturbation_curves(net, attribution, images, settings, folder=folder, **options)


@pytest.fixture
def evaluated(monkeypatch):
    """The sizes of all batches that go through a program."""
    batches, whole = [], Program.__call__

    def counted(self, batch):
        batches.append(batch.index.tolist())
        return whole(self, batch)

    monkeypatch.setattr(Program, "__call__", counted)
    return batches


def interrupted(folder, monkeypatch, after):
    """Runs until so many batches are written, as far as Ctrl-C."""
    keep, count = storage.Store.keep, iter(range(100))

    def keep_then_stop(self, *chunk):
        if next(count) == after:
            raise KeyboardInterrupt
        keep(self, *chunk)

    with monkeypatch.context() as patch:
        patch.setattr(storage.Store, "keep", keep_then_stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def test_a_run_that_is_interrupted_and_resumed_equals_one_that_is_not(
    tmp_path, monkeypatch, evaluated
):
    whole = run(None)
    interrupted(tmp_path, monkeypatch, after=2)
    assert len(list(tmp_path.glob("chunk-*.npz"))) == 2
    with pytest.raises(ValueError, match="has 4 of 7 images; finish the run first"):
        PerturbationCurves.load(tmp_path)
    evaluated.clear()
    resumed = run(tmp_path)
    assert evaluated == [[4, 5], [6, 6]], "what is done is not done again"
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    np.testing.assert_array_equal(resumed.targets, whole.targets)

    evaluated.clear()
    again, loaded = run(tmp_path), PerturbationCurves.load(tmp_path)
    assert evaluated == []
    for same in (again, loaded):
        np.testing.assert_array_equal(same.scores, whole.scores)
        assert (same.name, same.orders, same.settings) == ("lrp", ("MoRF",), whole.settings)


def test_another_batch_size_goes_on_from_what_is_there(tmp_path, monkeypatch, evaluated):
    whole = run(None)
    interrupted(tmp_path, monkeypatch, after=1)
    evaluated.clear()
    resumed = run(tmp_path, batch_size=3)
    assert evaluated == [[2, 3, 4], [5, 6, 6]]
    np.testing.assert_allclose(resumed.scores, whole.scores, rtol=1e-5, atol=1e-6)


def test_a_damaged_file_is_computed_anew(tmp_path, evaluated):
    whole = run(tmp_path)
    damaged = sorted(tmp_path.glob("chunk-*.npz"))[1]
    damaged.write_bytes(damaged.read_bytes()[:50])
    evaluated.clear()
    np.testing.assert_array_equal(run(tmp_path).scores, whole.scores)
    assert evaluated == [[2, 3]]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": Perturbation("mean", ("MoRF",), steps=3, seed=1)}, ["seed is 0 there, 1"]),
        ({"settings": Perturbation("blur", ("MoRF",), steps=3)}, ["operator is", "program is"]),
        ({"images": IMAGES[::-1]}, ["images is"]),
        ({"images": IMAGES[:5]}, ["count is 7 there, 5 here"]),
        ({"labels": np.zeros(7, int)}, ["labels is"]),
        ({"net": Net(1)}, ["program is"]),
        ({"composite": lrpjax.rules.Epsilon(0.3)}, ["program is"]),
        ({"name": "other"}, ["name is"]),
    ],
)
def test_a_folder_with_the_results_of_another_run_is_refused(finished, changed, named):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(ResultsMismatch, match="holds the results of another run") as refused:
        run(finished, **changed)
    for text in named:
        assert text in str(refused.value)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_the_files_are_plain_and_say_what_was_done(finished):
    settings = json.loads((finished / "settings.json").read_text())
    assert settings["operator"] == "Mean()"
    assert (settings["steps"], settings["region"], settings["count"]) == (3, [1, 1], 7)
    assert len(settings["program"]) == len(settings["images"]) == 64
    for path in finished.glob("chunk-*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert set(arrays) == {"index", "scores", "targets"}
            assert len(arrays["scores"]) == len(arrays["index"])
    assert not list(finished.glob(".lrpjax*"))


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    storage.write_whole(path, b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_whole(path, b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', ""])
def test_settings_that_are_not_ours_are_refused(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ResultsMismatch, match="not the settings of a run"):
        storage.Store.open(tmp_path, {"name": "lrp"}, 3)


def test_clear_takes_away_results_and_nothing_else(tmp_path):
    store = storage.Store.open(tmp_path / "run", {"name": "lrp"}, 3)
    store.keep(np.arange(2), np.zeros((2, 1, 3)), np.zeros(2))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    storage.clear(tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="there are no results"):
        PerturbationCurves.load(tmp_path / "run")


def test_maps_given_as_an_array_are_part_of_what_is_compared(tmp_path):
    maps = np.random.default_rng(1).normal(size=IMAGES.shape)
    options = {"folder": tmp_path, "progress": False}
    perturbation_curves(NET, maps, IMAGES, SETTINGS, **options)
    with pytest.raises(ResultsMismatch, match="run: maps is"):
        perturbation_curves(NET, -maps, IMAGES, SETTINGS, **options)


def test_equal_programs_have_equal_digests_and_constants_count():
    batch = checked_inputs(IMAGES, None, "random")

    def digest(scale, shift):
        weights = jnp.full((32, 3), shift)
        return Program(
            lambda x: scale * x.reshape(len(x), -1) @ weights, "random", SETTINGS, batch
        ).digest()

    assert digest(2.0, 0.5) == digest(2.0, 0.5)
    assert len({digest(2.0, 0.5), digest(2.0, 0.25), digest(3.0, 0.5)}) == 3
