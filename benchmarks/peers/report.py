"""The table and the plot of a comparison's results.

    python benchmarks/peers/report.py benchmarks/results/peers-cpu.jsonl

writes a .txt and a .png beside them; compare.py does so itself.
"""

import json
import sys
from pathlib import Path

import numpy as np
from comparisons import GRADIENT, OURS, PRESETS, TOLERANCE, TORCH, scenarios

HEAD = f"{'':36} {'s':>8}  {'[min, max]':16} {'× gradient':23} {'peer ÷ lrpjax':25}"
MEMORY = f"{'first s':>8} {'of it explaining':>17} {'MB peak':>8} {'in the first':>13}"


def read(path):
    """The results in a file, in the order they came; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Figures:
    """What was measured in one scenario.

    Attributes:
        scenario: Which.
        seconds: Contender → seconds per image (of many classes, per image too), one a round.
        fresh: Contender → what its new processes said.
    """

    def __init__(self, records, scenario):
        own = [r for r in records if scenario._asdict().items() <= r.items()]
        rounds = [r["seconds"] for r in own if r["kind"] == "time"]
        names = [" ".join(contender) for contender in scenario.contenders]
        self.scenario = scenario
        self.seconds = {
            name: np.array([r[name] for r in rounds]) / scenario.batch
            for name in names
            if rounds and all(name in r for r in rounds)
        }
        self.fresh = {name: [r for r in own if r.get("contender") == name] for name in names}

    def against(self, name, other):
        """The ratios of two contenders' seconds, one a round."""
        return self.seconds[name] / self.seconds[other]

    def pairs(self):
        """Each peer's contender and ours."""
        for c in self.scenario.comparisons:
            yield f"{c.library} {c.theirs}", f"{OURS} {c.ours}"

    def smallest(self, name, key):
        """The least that its processes said of something, or None."""
        found = [record[key] for record in self.fresh[name] if key in record]
        return min(found) if found else None


def gradient_of(name):
    """The contender that another is measured by: its framework's gradient."""
    return f"{OURS if name.startswith(OURS) else TORCH} {GRADIENT}"


def spread(values, digits=2):
    middle, low, high = (f"{f(values):.{digits}f}" for f in (np.median, np.min, np.max))
    return f"{middle} [{low}, {high}]"


def row(figures, name, ours):
    """A contender's line; `ours` is what it is compared with, or None."""
    cells = [f"{name:36}", " " * 26, " " * 23, " " * 25]
    if name in figures.seconds:
        seconds = figures.seconds[name]
        low, high = seconds.min(), seconds.max()
        cells[1] = f"{np.median(seconds):8.3f}  {f'[{low:.3f}, {high:.3f}]':16}"
        cells[2] = f"{spread(figures.against(name, gradient_of(name))):23}"
        cells[3] = f"{spread(figures.against(name, ours)) if ours else '':25}"
    keys = {"seconds": "8.1f", "explained": "17.1f", "peak_later": "8.0f", "peak_first": "13.0f"}
    for key, form in keys.items():
        found = figures.smallest(name, key)
        cells.append(" " * int(form.split(".")[0]) if found is None else format(found, form))
    return " ".join(cells).rstrip()


def section(figures):
    """A scenario's lines."""
    pairs = dict(figures.pairs())
    rounds = len(next(iter(figures.seconds.values()), ()))
    yield f"\n{figures.scenario.title}; seconds per image, {rounds} rounds"
    yield f"{HEAD} {MEMORY}"
    beside = [name for pair in pairs.items() for name in pair]
    every = [" ".join(contender) for contender in figures.scenario.contenders]
    for name in dict.fromkeys([*every[:2], *beside, *every]):
        yield row(figures, name, pairs.get(name))


def equality(records):
    """The lines on equal heatmaps."""
    kept = {}
    for r in records:
        if r["kind"] == "equal":
            label = f"{r['network']:9} {r['library']} {r['theirs']} | {r['ours']} ({r['weights']})"
            kept.setdefault((label, r["differs"]), {})[r["dtype"]] = r["difference"]
    yield f"\nEqual heatmaps: ‖theirs − ours‖/‖theirs‖ in double (≤ {TOLERANCE:.0e}), in single"
    for (label, differs), found in kept.items():
        shown = [v if isinstance(v, str) else f"{v:.1e}" for v in found.values()]
        numbers = shown[:1] if isinstance(found.get("float64"), str) else shown
        yield f"{label:92} {'  '.join(numbers)}" + (f"  not asserted: {differs}" if differs else "")


def known_scenarios(records):
    """Those that there are results of, smallest batch first."""
    timed = [r for r in records if r["kind"] in ("time", "first", "memory")]
    batches = sorted({r["batch"] for r in timed})
    every = [s for network in PRESETS for s in scenarios([network], batches)]
    return [s for s in every if any(s._asdict().items() <= r.items() for r in timed)]


def table(records):
    """The whole table, as text."""
    machines = list(dict.fromkeys(r["text"] for r in records if r["kind"] == "machine"))
    lines = ["; ".join(machines), *equality(records)]
    for scenario in known_scenarios(records):
        lines += section(Figures(records, scenario))
    lines.append(
        "\ns: the median of the rounds. × gradient: against the same framework's input gradient in"
        "\nthe same round. first s: from a process's start to its first heatmap. MB peak: resident"
        "\nmemory above the loaded network; in the first call lrpjax compiles."
    )
    return "\n".join(lines) + "\n"


def bars(axis, figures, value, unit):
    """Pairs of bars of one scenario: the peer's and ours."""
    for place, (peer, ours) in enumerate(figures.pairs()):
        theirs, own = value(peer), value(ours)
        if theirs is None or own is None:
            continue
        for offset, shown, colour in ((-0.2, theirs, "#b9b9b9"), (0.2, own, "#1f6fb4")):
            middle, low, high = np.median(shown), np.min(shown), np.max(shown)
            error = [[middle - low], [high - middle]]
            axis.barh(place + offset, middle, 0.4, color=colour, xerr=error, ecolor="#404040")
        ratio = np.median(np.divide(theirs, own))
        axis.text(np.max(theirs), place - 0.2, f"  {ratio:.1f}×", va="center", fontsize=8)
    axis.set_xlabel(unit, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)


def plot(records, path, batch=4):
    """Bars of time and memory for each network, at one batch size."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    chosen = [s for s in known_scenarios(records) if s.batch == batch or s.many]
    every = [Figures(records, s) for s in chosen]
    heights = [len(s.comparisons) + 1 for s in chosen]
    size = (9, 0.5 * sum(heights) + 1)
    grid, axes = pyplot.subplots(
        len(chosen), 2, figsize=size, squeeze=False, height_ratios=heights, sharey="row"
    )
    for (left, right), figures in zip(axes, every, strict=True):
        bars(left, figures, figures.seconds.get, "seconds per image")
        bars(right, figures, lambda name, f=figures: f.smallest(name, "peak_later"), "peak MB")
        labels = [peer.replace(" ", "\n", 1) for peer, _ in figures.pairs()]
        left.set_yticks(range(len(labels)), labels)
        left.invert_yaxis()
        left.set_title(figures.scenario.title, loc="left", fontsize=9, fontweight="bold")
    grid.suptitle("Peers (grey) and lrpjax (blue), with the same weights and images", fontsize=11)
    grid.tight_layout()
    grid.savefig(path, dpi=120)


def write(path):
    """Writes the table and the plot beside a file of results."""
    records = read(path)
    path.with_suffix(".txt").write_text(table(records))
    if known_scenarios(records):
        plot(records, path.with_suffix(".png"))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
