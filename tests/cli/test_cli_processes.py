"""Several processes that explain one folder together."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_files import arrays, files, lines, photograph

from lrpjax.cli.processes import Share

HERE = Path(__file__).parent
PHOTOS = [f"{letter}.png" for letter in "abcdef"]
OF_PROCESS = [PHOTOS[0::2], PHOTOS[1::2]]
PATIENCE = 120  # seconds; on an idle machine it takes a few


def start(number, port, pause_after=99):
    """A process that stops in front of its photograph PAUSE_AFTER until it is let go."""
    words = ["explain", "photos", "--model", "tiny", "--batch-size", "1"]
    words += ["--coordinator-address", f"localhost:{port}"]
    words += ["--num-processes", "2", "--process-id", str(number)]
    paths = os.pathsep.join(sys.path)
    needed = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": paths}
    return subprocess.Popen(
        [sys.executable, HERE / "tiny_process.py", str(pause_after), f"go-{number}", *words],
        env=os.environ | needed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """The exit code and stdout of a process, once it has ended by itself."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def wait_for(names):
    """Until the results of these photographs are whole."""
    begun = time.monotonic()
    while not all(Path("heatmaps", name).exists() for name in names):
        assert time.monotonic() - begun < PATIENCE, files("heatmaps")
        time.sleep(0.05)


def stamps():
    """When each figure and each file of numbers was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path("heatmaps").glob("*.*")}


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Starts processes in a folder of photographs, and lets none live on."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(PHOTOS):
        photograph(tmp_path / "photos" / name, seed=number)
    started = []

    def begin(*args, **options):
        started.append(start(*args, **options))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_worker_goes_on_when_it_is_started_again(two, run):
    port = free_port()
    first, second = two(0, port, pause_after=1), two(1, port, pause_after=1)
    wait_for(["a.png", "b.png"])
    second.kill()
    assert second.wait(PATIENCE) == -9
    before = stamps()
    assert set(before) == {"a.npz", "a.png", "b.npz", "b.png"}

    out = ended(two(1, port))
    assert "process 1 of 2: 2 explained, 1 done already and skipped" in out
    assert first.poll() is None, "the other one is not disturbed"
    assert set(files("heatmaps")) - set(before) == {"d.npz", "d.png", "f.npz", "f.png"}

    Path("go-0").touch()
    out = ended(first)
    assert "process 0 of 2: 3 explained; the pictures are in heatmaps" in out
    assert out.splitlines()[-1] == "all processes: 6 of 6 photographs are done by now"
    after = stamps()
    assert {name: after[name] for name in before} == before, "nothing is written twice"
    assert "0 explained, 6 done already and skipped" in run("explain", "photos")[1]
    for name in PHOTOS:
        assert str(arrays(f"heatmaps/{Path(name).stem}.npz")["source"]).endswith(name)


def test_no_process_needs_another_to_do_its_share(two, run):
    """Not even the one where they meet."""
    port = free_port()
    first, second = two(0, port, pause_after=1), two(1, port, pause_after=1)
    wait_for(["a.png", "b.png"])
    first.kill()
    first.wait(PATIENCE)
    Path("go-1").touch()
    assert "process 1 of 2: 3 explained; the pictures are in heatmaps" in ended(second)
    before = stamps()
    assert "2 explained, 4 done already and skipped" in run("explain", "photos")[1]
    assert {name: stamps()[name] for name in before} == before


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_photograph_is_in_one_share(count):
    shares = [Share(number, count).of(PHOTOS) for number in range(count)]
    assert sorted(name for share in shares for name in share) == PHOTOS
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


WRONG = {
    "2 processes are numbered 0 to 1": ["--process-id", 2, "--num-processes", 2],
    "the processes cannot meet": ["--process-id", 1, "--num-processes", 2],  # nobody says where
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_does_not_fit_together_is_said_before_anything_is_started(run, tmp_path, reason):
    photograph(tmp_path / "cat.png")
    code, _, err = run("explain", "cat.png", *WRONG[reason])
    assert (code, reason in lines(err)[-1]) == (2, True)
    assert files(".") == ["cat.png"]


def test_a_port_that_is_taken_is_said_before_anything_is_started(run, tmp_path):
    photograph(tmp_path / "cat.png")
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        words = ["--coordinator-address", address, "--num-processes", 1, "--process-id", 0]
        code, _, err = run("explain", "cat.png", *words)
    assert (code, f"error: --coordinator-address {address}" in err) == (2, True)
    assert files(".") == ["cat.png"]


@pytest.mark.parametrize("words", [["--coordinator-address", "localhost"], ["--process-id", "-1"]])
def test_words_that_are_no_address_and_no_number_are_refused(run, words, capfd):
    with pytest.raises(SystemExit) as stop:
        run("explain", "cat.png", *words)
    assert stop.value.code == 2
    assert f"argument {words[0]}" in capfd.readouterr().err
