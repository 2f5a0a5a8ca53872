"""The benchmarks run and print their figures; none of these figures is looked at here."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

FOLDER = Path(__file__).parents[1] / "benchmarks"


class Small(nnx.Module):
    """A network that compiles at once."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.conv(x / 255)).mean((1, 2)))


@pytest.fixture(scope="module")
def network():
    return Small()


@pytest.fixture
def script(monkeypatch, capsys, network):
    """Runs a script of the folder with options, and returns what it prints."""
    monkeypatch.syspath_prepend(FOLDER)

    def run(name, options):
        module = importlib.import_module(name)
        if hasattr(module, "network"):
            monkeypatch.setattr(module, "network", lambda name: network)
        monkeypatch.setattr(sys, "argv", [name, *options.split()])
        module.main()
        return capsys.readouterr().out

    return run


ONE = "--models cifar10_vit --side 8 --batch 2 --composites epsilon"


def figures(text, label):
    """The numbers of the first row with a label."""
    row = next(line for line in text.splitlines() if line.startswith(label))
    words = row.removeprefix(label).replace("%", "").split()
    return [float(word) for word in words if word.replace(".", "").isdigit()]


def test_speed_memory_and_limit_have_a_row_for_each_program_and_are_drawn(script, tmp_path):
    tables = {
        "speed": script("speed", f"{ONE} --rounds 2 --compiles 1"),
        "memory": script("memory", ONE),
        "limit": script("limit", ONE),
    }
    for name, text in tables.items():
        assert "cifar10_vit, batch 2, 8×8" in text
        assert len(figures(text, "gradient")) >= 4
        assert min(figures(text, "epsilon ")) >= 0
        (tmp_path / f"{name}-cpu.txt").write_text(text)
    # Two layers, forward and backward.
    assert figures(tables["limit"], "epsilon ")[4:] == [2, 2, 1]
    printed = script("figures", f"--results {tmp_path} --device cpu")
    assert printed.split() == [str(tmp_path / "limit-cpu.png")]
    assert (tmp_path / "limit-cpu.png").stat().st_size > 10_000


def test_growth_has_tables_and_a_plot(script, tmp_path):
    options = "--rounds 2 --side 8 --composites epsilon --sizes"
    text = script("growth", f"{options} 2 --tables batch scan compile")
    text += script("growth", f"{options} 1 3 --tables classes")
    for label in ("     2 gradient", "     2 epsilon", "     3 epsilon, singly"):
        assert len(figures(text, label)) == 8
    (tmp_path / "growth-cpu.txt").write_text(text)
    assert script("figures", f"--results {tmp_path}").split() == [str(tmp_path / "growth-cpu.png")]
    tables = sys.modules["figures"].by_table(text)
    assert list(tables) == ["batch", "scan", "compile", "classes"]
    assert set(tables["classes"][1]) == {
        "gradient",
        "epsilon",
        "gradient, singly",
        "epsilon, singly",
    }
    assert sorted(tables["classes"][1]["epsilon"]) == [1, 3]


def test_accelerator_prints_times_and_how_much_fewer_bits_lose(script):
    text = script("accelerator", f"{ONE} --images 2 --rounds 2")
    single, _, half, _ = exponents(text, "epsilon ")
    assert 0 < single < 1e-4 < half < 0.3
    assert text.count("bfloat16 ") == 2
    if jax.devices()[0].platform == "cpu":
        assert "TF32 has no effect" in text


def exponents(text, label):
    """The numbers of a row of the first table, in scientific notation or not."""
    row = next(line for line in text.splitlines() if line.startswith(label))
    return [float(word) for word in row.removeprefix(label).split()]


def test_accelerator_knows_a_device_by_its_whole_name(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    peaks = importlib.import_module("accelerator").peaks
    assert peaks("NVIDIA L40S")["bfloat16"] == 362
    assert peaks("NVIDIA L4")["bfloat16"] == 121
    assert peaks("NVIDIA A100-SXM4-80GB")["tf32"] == 156
    assert peaks("Tesla T4")["tf32"] is None
    assert peaks("NVIDIA GeForce GTX 1080") == {}


def test_limit_counts_what_runs_in_libraries(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    limit = importlib.import_module("limit")
    text = """
      %a = f32[8,8]{1,0} dot(%x, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}
      %b = (f32[8,8], s8[4]) custom-call(%x, %y), custom_call_target="__cublas$gemm"
      %c = (f32[8,8], s8[4]) custom-call(%x, %y), custom_call_target="__cublas$lt$matmul"
      %d = (f32[8,8], u8[0]) custom-call(%x, %y), custom_call_target="__cudnn$convForward"
      %e = f32[8,8]{1,0} convolution(%x, %y), window={size=3x3}
      %f = f32[8,8]{1,0} fusion(%a), kind=kLoop, calls=%convolution_add_fusion
      %g = f32[8,8]{1,0} custom-call(%x), custom_call_target="TopK"
    """
    assert len(limit.CONVOLUTION.findall(text)) == 2
    assert len(limit.PRODUCT.findall(text)) == 3


def test_goals_are_met_to_two_decimals(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    verdict = importlib.import_module("goals").verdict
    assert verdict(np.float64(1.154), 1.15) == "≤ 1.15 held"
    assert verdict(1.156, 1.15) == "≤ 1.15 missed"
    assert verdict(7.0, None) == ""
