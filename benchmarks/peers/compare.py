"""The peers in one run: equal heatmaps first, then time, memory and the wait for the first one.

    python benchmarks/peers/compare.py --peers-python peers/bin/python [--quick]

with lrpjax[zoo,plot] installed for the first Python and peers/requirements.txt for the second.
Everything has the same random weights, images and composites. Each library has a process of its
own that works when it is told to, so that no two compute at once:

- equal: heatmaps in double precision, at most 1e-5 apart (relative, in L2), or the run ends. Where
  a peer means something else by a rule, the difference is printed with the reason.
- time: in each round every contender explains once, in random order; the ratios of a round are
  compared. The first call of each doesn't count.
- first: a new process for each contender: the seconds from its start until the first heatmap,
  and its peak memory (resident; on a GPU the allocator's) above what it held with the network
  loaded, in the first call (lrpjax compiles in it) and in a later one.

Results are added to results/peers-cpu.jsonl as they come (on another backend, under its name), and
a run that was cut short goes on there; remove the file to measure anew. The table and the plot are
made from it.
"""

import argparse
import json
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import cases
import numpy as np
import report
from comparisons import COMPARISONS, MANY_CLASSES, OURS, PRESETS, TOLERANCE, Scenario, scenarios
from talk import Worker, WorkerError
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
STAGES = ("equal", "time", "first", "memory")
DTYPES = ("float64", "float32")


class Run:
    """The options of a run, and the file that its results go to."""

    def __init__(self, options):
        self.options, self.weights_folder = options, Path(options.work)
        with self.worker(OURS) as ours:
            machine = ours.ask("machine")
        self.path = Path(options.results) / f"peers-{machine['platform']}.jsonl"
        self.records = report.read(self.path)
        self.add("machine", library=OURS, text=machine["versions"])

    def worker(self, library, environment=None):
        """A new process for a library."""
        if library == OURS:
            return Worker([sys.executable, str(HERE / "jax_side.py")], environment)
        return Worker([self.options.peers_python, str(HERE / "torch_side.py"), library])

    def weights(self, network, weights="random"):
        return cases.weights_file(self.weights_folder, network, weights)

    def add(self, kind, **values):
        """Keeps a result, if it is a new one."""
        record = {"kind": kind, **values}
        if record not in self.records:
            self.records.append(record)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def known(self, kind, **values):
        """The results that there are of this."""
        items = {"kind": kind, **values}.items()
        return [record for record in self.records if items <= record.items()]


class Workers(ExitStack):
    """A process for each library that is asked for, with the weights that it was last told of."""

    def __init__(self, run, environment=None):
        super().__init__()
        self._run, self._environment, self._workers, self._loaded = run, environment, {}, {}

    def load(self, library, network, weights="random", dtype="float32"):
        """The library's worker, with a network loaded."""
        if library not in self._workers:
            worker = self.enter_context(self._run.worker(library, self._environment))
            self._workers[library] = worker
            machine = worker.ask("machine")
            self._run.add("machine", library=library, text=machine["versions"])
        told = {"network": network, "weights": self._run.weights(network, weights), "dtype": dtype}
        if self._loaded.get(library) != told:
            self._workers[library].ask("load", **told)
            self._loaded[library] = told
        return self._workers[library]


def heatmaps(workers, comparison, library, name, dtype):
    """A library's heatmaps of one image, float64 [n, height, width, 3]."""
    worker = workers.load(library, comparison.network, comparison.weights, dtype)
    scenario = Scenario(comparison.network, 1, comparison in MANY_CLASSES)
    worker.ask("choose", **scenario.order(name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heatmaps.npy"
        worker.ask("save", path=str(path))
        return np.load(path)


def difference(workers, comparison, dtype):
    """How far apart the heatmaps are, or what the peer says where it can't make one."""
    try:
        expected = heatmaps(workers, comparison, comparison.library, comparison.theirs, dtype)
    except WorkerError as error:
        if not comparison.differs:
            raise
        return str(error)
    found = heatmaps(workers, comparison, OURS, comparison.ours, dtype)
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))


def equal(run, network):
    """Compares a network's heatmaps; raises AssertionError where they differ and should not."""
    chosen = [c for c in COMPARISONS + MANY_CLASSES if c.network == network]
    todo = [(dtype, c) for dtype in DTYPES for c in sorted(chosen, key=lambda c: c.weights)]
    todo = [(d, c) for d, c in todo if not run.known("equal", dtype=d, **c._asdict())]
    with Workers(run, {"JAX_ENABLE_X64": "1"}) as workers:
        for dtype, comparison in tqdm(todo, desc=f"{network}, equal heatmaps"):
            found = difference(workers, comparison, dtype)
            asserted = dtype == "float64" and not comparison.differs
            text = found if isinstance(found, str) else f"{found:.1e}"
            limit = f"at most {TOLERANCE}" if asserted else comparison.differs
            tqdm.write(" | ".join([*comparison[:5], dtype, text, limit]))
            assert not asserted or found <= TOLERANCE, comparison
            run.add("equal", **comparison._asdict(), dtype=dtype, difference=found)


def timed(run, scenario):
    """Rounds of a scenario, until there are as many as asked for."""
    rounds = run.options.rounds - len(run.known("time", **scenario._asdict()))
    if rounds <= 0:
        return
    with Workers(run) as workers:

        def seconds(library, name):
            worker = workers.load(library, scenario.network)
            worker.ask("choose", **scenario.order(name))
            return worker.ask("run")

        for contender in tqdm(scenario.contenders, desc=f"{scenario.title}, warm up"):
            seconds(*contender)
        for number in range(rounds):
            order = random.Random(number).sample(scenario.contenders, len(scenario.contenders))
            named = tqdm(order, desc=f"{scenario.title}, round {number}")
            found = {" ".join(contender): seconds(*contender) for contender in named}
            run.add("time", **scenario._asdict(), seconds=found)


def first(run, scenario, kinds=("first", "memory")):
    """New processes until their first heatmap, and their memory."""
    for library, name in tqdm(scenario.contenders, desc=f"{scenario.title}, {kinds[0]}"):
        key = {**scenario._asdict(), "contender": f"{library} {name}"}
        while lacking := [k for k in kinds if len(run.known(k, **key)) < run.options.firsts]:
            with run.worker(library) as worker:
                weights = run.weights(scenario.network)
                built = worker.ask("load", network=scenario.network, weights=weights)
                worker.ask("choose", **scenario.order(name))
                ready = worker.age()
                megabytes = worker.ask("memory")
            explained = megabytes.pop("explained")
            waited = {"seconds": ready + explained, "build": built, "explained": explained}
            for kind in lacking:
                run.add(kind, **key, **(waited if kind == "first" else megabytes))


def memory(run, scenario):
    """The memory alone, which a busy machine doesn't change."""
    first(run, scenario, ("memory",))


def parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers-python", help="the Python that has torch and the peers")
    parser.add_argument("--quick", action="store_true", help="batch 4 alone, 3 rounds, 1 first")
    parser.add_argument("--networks", nargs="+", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 1, 16])
    parser.add_argument("--stages", nargs="*", default=STAGES[:3], choices=STAGES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--firsts", type=int, default=2, help="new processes for each contender")
    parser.add_argument("--results", default=RESULTS, help="the folder that results go to")
    parser.add_argument(
        "--work",
        default=Path(tempfile.gettempdir()) / "lrpjax-peers",
        help="a folder for the weights, a gigabyte",
    )
    return parser


def main():
    options = parser().parse_args()
    if options.quick:
        options.batches, options.rounds, options.firsts = [4], 3, 1
    if options.stages and not options.peers_python:
        raise SystemExit("--peers-python is missing: the Python that has torch and the peers")
    run = Run(options)
    every = scenarios(options.networks, options.batches)
    functions = {"equal": equal, "time": timed, "first": first, "memory": memory}
    for stage in options.stages:
        for item in options.networks if stage == "equal" else every:
            functions[stage](run, item)
            report.write(run.path)


if __name__ == "__main__":
    main()
