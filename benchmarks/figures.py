"""Plots of the tables in a folder of results.

    python benchmarks/figures.py [--results benchmarks/results] [--device cpu]

limit-DEVICE.png: time × gradient of each composite and network from speed-DEVICE.txt, beside the
operations that limit-DEVICE.txt counts, and the project's goals.
growth-DEVICE.png: the tables of growth-DEVICE.txt.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import goals
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator
from programs import COMPOSITES, GRADIENT

RESULTS = Path(__file__).parent / "results"
LABEL = 25  # the width of the first column of speed.py's and limit.py's tables
PER_SIZE = re.compile(r" *(\d+) (\S+(?:, \w+)?) +((?:\d|nan).*)")
GREY, BLUE, RED = "0.55", "#4878a8", "#c0392b"

Numbers = dict[str, list[float]]


def numbers(text: str) -> list[float]:
    """The numbers at the start of a text, up to the first word that is none; nan is not drawn."""
    found = []
    for word in text.split():
        if not re.fullmatch(r"\d+(\.\d+)?|nan", word):
            break
        found.append(float(word))
    return found


def by_network(text: str) -> dict[str, tuple[str, Numbers]]:
    """From network to the line above its table, and its rows by composite; the first one counts."""
    found: dict[str, tuple[str, Numbers]] = {}
    current: Numbers = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+), batch \d+", line):
            current = {}
            found.setdefault(match[1], (line, current))
        elif values := numbers(line[LABEL:]):
            current[line[:LABEL].strip()] = values
    return found


def by_table(text: str) -> dict[str, tuple[str, dict[str, dict[int, list[float]]]]]:
    """From table to what stays the same in it, and its rows by program and size."""
    found: dict[str, tuple[str, dict[str, dict[int, list[float]]]]] = {}
    current: dict[str, dict[int, list[float]]] = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+): (.*)", line):
            current = {}
            found.setdefault(match[1], (match[2], current))
        elif match := PER_SIZE.match(line):
            current.setdefault(match[2], {})[int(match[1])] = numbers(match[3])
    return found


def limit(times: str, counts: str) -> plt.Figure:
    """Bars of time × gradient, with the range of the rounds, operations and goals."""
    timed, counted = by_network(times), by_network(counts)
    heights = [len(rows) - 1 for _, rows in timed.values()]
    figure, panels = plt.subplots(
        len(timed),
        figsize=(7.5, 0.27 * sum(heights) + 0.75 * len(heights)),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for panel, (network, (title, rows)) in zip(panels[:, 0], timed.items(), strict=True):
        names = [name for name in rows if name != GRADIENT]
        low, middle, high = zip(*(rows[name][1:4] for name in names), strict=True)
        reach = [[m - v for m, v in zip(middle, low, strict=True)]]
        reach += [[v - m for m, v in zip(middle, high, strict=True)]]
        places = range(len(names))
        panel.barh(places, middle, color=BLUE, height=0.7, label="run time (median)")
        panel.errorbar(middle, places, xerr=reach, fmt="none", ecolor="0.2", elinewidth=1)
        operations = counted.get(network, ("", {}))[1]
        marks = [(operations[n][1], y) for y, n in enumerate(names) if n in operations]
        if marks:
            panel.plot(*zip(*marks, strict=True), "D", color="k", ms=4, label="operations counted")
        wanted = [
            (goals.TIME[network, n], y) for y, n in enumerate(names) if (network, n) in goals.TIME
        ]
        for number, (goal, y) in enumerate(wanted):
            label = None if number else "goal for run time"
            panel.plot([goal, goal], [y - 0.45, y + 0.45], color=RED, lw=2.5, label=label)
        panel.axvline(1, color=GREY, lw=1, ls="--")
        panel.set_yticks(places, names, fontsize=8)
        panel.invert_yaxis()
        panel.set_title(title, fontsize=9, loc="left")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
    )
    panels[-1, 0].set_xlabel("× jitted gradient")
    panels[-1, 0].set_xlim(0)
    return figure


AXES = {
    "batch": "images",
    "side": "height and width",
    "depth": "layers, written out",
    "scan": "layers, scanned",
    "classes": "classes of one image",
}
COMPILING = {"compile": "layers, written out", "compile_scan": "layers, scanned"}


def growth(text: str) -> plt.Figure:
    """Time above, memory below, against each size; tracing and compiling on the right."""
    tables = by_table(text)
    run = [name for name in AXES if name in tables]
    compiling = [name for name in COMPILING if name in tables]
    columns = len(run) + bool(compiling)
    figure, panels = plt.subplots(
        2, columns, figsize=(2.6 * columns, 5.2), squeeze=False, layout="constrained"
    )
    for column, name in enumerate(run):
        title, rows = tables[name]
        lines(panels[0, column], rows, 0, f"{name}: {title}".split(", ")[0], AXES[name])
        lines(panels[1, column], rows, 5, "", AXES[name])
    for row in range(2):
        if row < len(compiling):
            lines(panels[row, -1], tables[compiling[row]][1], 3, "", COMPILING[compiling[row]])
            panels[row, -1].set_ylabel("trace + compile, s", fontsize=8)
        elif compiling:
            panels[row, -1].set_axis_off()
    panels[0, 0].set_ylabel("run, s", fontsize=8)
    panels[1, 0].set_ylabel("temporary memory, MB", fontsize=8)
    entries = {
        label: line
        for p in panels.flat
        for line, label in zip(*p.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=6, fontsize=8)
    return figure


def colour(program: str) -> Any:
    """One colour for each composite, in all panels."""
    base = program.split(",")[0]
    return GREY if base == GRADIENT else plt.cm.tab10(list(COMPOSITES).index(base) % 10)


def lines(
    panel: plt.Axes, rows: dict[str, dict[int, list[float]]], column: int, title: str, axis: str
) -> None:
    """One line for each program."""
    for name, sizes in rows.items():
        style = {"color": colour(name), "ls": ":" if "," in name else "-", "lw": 1.3}
        values = [sizes[size][column] for size in sizes]
        panel.plot(list(sizes), values, marker="o", ms=2.5, label=name, **style)
    ticks = sorted({size for sizes in rows.values() for size in sizes})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(ticks, [str(size) for size in ticks], fontsize=7)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.tick_params(axis="y", labelsize=7)
    panel.set_xlabel(axis, fontsize=8)
    panel.set_title(title, fontsize=9)
    panel.grid(alpha=0.3)


def main() -> None:
    """Draw what there are tables for."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--results", type=Path, default=RESULTS)
    options.add_argument("--device", default="cpu", help="the last part of the tables' names")
    arguments = options.parse_args()

    def table(name: str) -> str:
        file = arguments.results / f"{name}-{arguments.device}.txt"
        return file.read_text() if file.exists() else ""

    drawn = {}
    if times := table("speed"):
        drawn["limit"] = limit(times, table("limit"))
    if grown := table("growth"):
        drawn["growth"] = growth(grown)
    for name, figure in drawn.items():
        file = arguments.results / f"{name}-{arguments.device}.png"
        figure.savefig(file, dpi=150)
        print(file)


if __name__ == "__main__":
    main()
