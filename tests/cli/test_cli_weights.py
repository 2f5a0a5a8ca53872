"""The commands of ``lrpjax`` with weights from a file of the user's own."""

import jax.numpy as jnp
import numpy as np
import pytest
from cli_files import arrays, files, photograph
from safetensors.numpy import save_file

import lrpjax
from lrpjax import models


def weights(path, seed=0):
    """Random weights of the tiny network for six classes, as PyTorch lays them out."""
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": 4, "dense.weight": (6, 4), "dense.bias": 6}
    save_file({k: np.float32(rng.normal(size=shape)) for k, shape in shapes.items()}, path)
    return path


def test_a_photograph_is_explained_with_weights_of_ones_own(run, tmp_path):
    photograph(tmp_path / "cat.jpg")
    weights("a.safetensors")
    words = ("explain", "cat.jpg", "--classes", "class 4", "--weights")
    code, out, _ = run(*words, "a.safetensors", model="own")
    assert (code, "cat.jpg: class 4 " in out) == (0, True)
    stored = arrays("heatmaps/cat.npz")
    assert (str(stored["model"]), stored["classes"].tolist()) == ("own", [4])
    loaded = models.load("own", weights="a.safetensors")
    relevance = lrpjax.lrp(loaded.model)(jnp.asarray(stored["image"][None]), target=4)
    np.testing.assert_allclose(stored["relevance"], relevance, rtol=1e-4, atol=1e-6)

    assert "done already" in run(*words, "a.safetensors", model="own")[1]
    other = run(*words, weights("b.safetensors", seed=1), model="own")[1]
    assert "1 explained" in other, "other weights, other results"


def test_a_network_without_weights_asks_for_a_file_of_them(run, tmp_path):
    photograph(tmp_path / "cat.jpg")
    code, out, err = run("explain", "cat.jpg", model="own")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "own comes without weights; give a file of them: --weights own.safetensors" in err
    assert models.export_command("own") in err
    assert files(".") == ["cat.jpg"]


def test_a_network_that_nobody_publishes_weights_of_says_so(run, tmp_path):
    photograph(tmp_path / "cat.jpg")
    code, out, err = run("explain", "cat.jpg", model="alexnet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "alexnet comes without weights" in err
    assert "nobody publishes weights of alexnet" in err


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.safetensors", "own cannot be loaded: there is no file none.safetensors"),
        ("cat.jpg", "own cannot be loaded: cat.jpg is not a whole safetensors file"),
        ("other.safetensors", "not weights of own: missing ['conv.bias'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_any_work(run, tmp_path, file, message):
    photograph(tmp_path / "cat.jpg")
    save_file({"fc.bias": np.zeros(2, np.float32)}, "other.safetensors")
    before = files(".")
    code, out, err = run("explain", "cat.jpg", "--weights", file, model="own")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert files(".") == before


def test_a_plan_needs_no_weights_but_takes_them(run):
    code, without, _ = run("plan", model="own")
    assert code == 0
    assert "→ 1×1000 " in without
    code, with_them, _ = run("plan", "--weights", weights("a.safetensors"), model="own")
    assert code == 0
    assert "→ 1×6 " in with_them
    squeezed = [" ".join(text.replace("1×1000", "1×6").split()) for text in (without, with_them)]
    assert squeezed[0].replace("─", "") == squeezed[1].replace("─", "")
