"""Table 1 of Binder et al. 2016 (arXiv:1604.00825): does the Taylor rule find better pixels?

    python benchmarks/lrn_paper.py --data cifar-10-batches-py [--keep runs]

Each image of the CIFAR-10 test set is explained for its predicted class four times: with the
ε-rule (ε = 0.01) and with the αβ-rule (β = 1), each with the identity and with the Taylor rule on
the network's two LRN layers. Its 100 most relevant pixels are then replaced by noise, and the area
under the curve of the class's score is taken: lower is better. The same noise falls on the same
image for all rules, so that differences are paired. Three trainings of the network, which differ in
their seed alone, say how far the result is the network's own.

The paper's absolute scale is not known; what can be compared is the relative difference between
Taylor and identity. A second table says what the effect hangs on.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from programs import machine

import lrpjax
from lrpjax import evaluation, rules
from lrpjax.evaluation import Perturbation, PerturbationCurves
from lrpjax.models.cifar10 import data, weights

BASES = {
    "ε = 0.01": (rules.Epsilon(0.01), rules.Taylor(epsilon=0.01)),
    "αβ, β = 1": (rules.AlphaBeta(2.0, 1.0), rules.Taylor(beta=1.0)),
}
IDENTITY, TAYLOR = "identity", "Taylor"
PAPER = {"ε = 0.01": (37.10, 35.47), "αβ, β = 1": (56.13, 53.82)}
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile of n − 1 degrees of freedom

Curves = dict[str, PerturbationCurves]


def composites(base: str) -> dict[str, lrpjax.Composite]:
    """A base rule for convolutions and dense layers, with both rules for the LRN layers."""
    rule, taylor = BASES[base]
    layers = {IDENTITY: rules.Pass(), TAYLOR: taylor}
    return {
        name: lrpjax.Composite(conv=rule, dense=rule, normalisation=normalisation)
        for name, normalisation in layers.items()
    }


class Experiment:
    """One network's curves, from a folder where they are kept."""

    def __init__(self, network: Any, name: str, images: np.ndarray, options: argparse.Namespace):
        self.network, self.name, self.images, self.options = network, name, images, options

    def run(self, base: str, settings: Perturbation, images: int, label: str = "") -> Curves:
        """The curves of identity and Taylor with one base rule."""
        found = {}
        for layer, composite in composites(base).items():
            folder = None
            if self.options.keep:
                parts = (self.name, label or "table", base, layer)
                folder = self.options.keep / "-".join(parts).replace(" ", "").replace("/", "_")
            found[layer] = evaluation.perturbation_curves(
                self.network,
                lrpjax.lrp(self.network, composite),
                self.images[:images],
                settings,
                name=f"{base}, {layer}",
                batch_size=self.options.batch,
                folder=folder,
            )
        return found


def difference(curves: Curves, settings: Perturbation) -> tuple[float, float, Any]:
    """The areas of identity and Taylor in steps of one pixel, and Taylor − identity."""
    order, pixels = settings.orders[0], settings.per_step
    identity, taylor = (curves[layer].auc(order).mean() * pixels for layer in (IDENTITY, TAYLOR))
    paired = evaluation.paired_difference(curves[TAYLOR], curves[IDENTITY], "AUC", order=order)
    scaled = {key: getattr(paired, key) * pixels for key in ("mean", "low", "high")}
    return identity, taylor, dataclasses.replace(paired, **scaled)


def row(name: str, identity: float, taylor: float, paired: Any) -> str:
    """One line of a table: areas, the paired difference and what it is of the identity's area."""
    share = 100 / identity
    return (
        f"{name:34} {identity:9.2f} {taylor:9.2f}   {paired.mean:7.2f} "
        f"[{paired.low:6.2f}, {paired.high:6.2f}]   {paired.mean * share:6.1f} % "
        f"[{paired.low * share:5.1f}, {paired.high * share:5.1f}]"
    )


HEADER = (
    f"{'':34} {'identity':>9} {'Taylor':>9}   {'Taylor − identity [95 %]':>25}   "
    f"{'relative':>8} [95 %]"
)


def over_seeds(shares: Iterable[float]) -> str:
    """The mean of the relative differences, with the interval of Student's t over trainings."""
    values = np.array(list(shares))
    if len(values) not in STUDENT:
        return f"mean of {len(values)} training(s): {values.mean():.1f} %"
    half = STUDENT[len(values)] * values.std(ddof=1) / np.sqrt(len(values))
    return (
        f"mean of {len(values)} trainings: {values.mean():.1f} % "
        f"[{values.mean() - half:.1f}, {values.mean() + half:.1f}] (Student's t over trainings)"
    )


def table(experiments: list[Experiment], settings: Perturbation, images: int) -> list[Curves]:
    """Table 1's cells for every training; returns the curves of the first."""
    print(f"\nTable 1: {evaluated(settings, images)}\n{HEADER}")
    first = []
    for base in BASES:
        shares = []
        for experiment in experiments:
            curves = experiment.run(base, settings, images)
            identity, taylor, paired = difference(curves, settings)
            shares.append(100 * paired.mean / identity)
            print(row(f"{base}, {experiment.name}", identity, taylor, paired), flush=True)
            if experiment is experiments[0]:
                first.append(curves)
        before, after = PAPER[base]
        print(f"{'':4}{over_seeds(shares)}")
        print(
            f"{'    the paper':34} {before:9.2f} {after:9.2f}   {after - before:7.2f} {'':16}"
            f"   {100 * (after / before - 1):6.1f} %",
            flush=True,
        )
    return first


def evaluated(settings: Perturbation, images: int) -> str:
    """What was measured, in a line."""
    pixels = settings.steps * settings.per_step
    return (
        f"{images} images, {pixels} pixels, most relevant first, {settings.per_step} at a step; "
        f"{settings.operator}; {settings.score} of the predicted class"
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "as above": {},
    "score: logit": {"score": "logit"},
    "operator: grey": {"operator": evaluation.Constant(127.5)},
    "operator: blur": {"operator": evaluation.Blur(2.0)},
    "20 pixels": {"steps": 20, "per_step": 1},
    "400 pixels": {"steps": 50, "per_step": 8},
    "regions of 4×4 (25 of them)": {"steps": 25, "per_step": 1, "region": 4},
    "least relevant first": {"orders": ("LeRF",)},
}


def variants(experiment: Experiment, settings: Perturbation, images: int) -> None:
    """What the difference hangs on: score, operator, how much is replaced, and in which order."""
    print(f"\nWhat decides it: {experiment.name}, {images} images, otherwise as above\n{HEADER}")
    for base in BASES:
        for name, changes in VARIANTS.items():
            changed = dataclasses.replace(settings, **changes)
            curves = experiment.run(base, changed, images, label=name)
            print(row(f"{base}, {name}", *difference(curves, changed)), flush=True)


def strengths(found: list[Experiment], settings: Perturbation, images: int) -> None:
    """The same for networks that were trained with other strengths of LRN."""
    print(f"\nThe strength of LRN: {images} images, otherwise as above\n{HEADER}")
    for base in BASES:
        for experiment in found:
            curves = experiment.run(base, settings, images)
            print(row(f"{base}, {experiment.name}", *difference(curves, settings)), flush=True)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="CIFAR-10: a folder or archive")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(weights.SEEDS))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--variant-images", type=int, default=1_000)
    parser.add_argument("--pixels", type=int, default=100)
    parser.add_argument("--per-step", type=int, default=4, help="pixels replaced at a step")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--keep", type=Path, help="a folder for curves; the same run goes on there")
    parser.add_argument("--figure", type=Path, help="where to draw the first training's curves")
    parser.add_argument(
        "--strength",
        nargs=2,
        action="append",
        default=[],
        metavar=("ALPHA", "FILE"),
        help="a network that was trained with another strength of LRN",
    )
    return parser.parse_args()


def main() -> None:
    """Print the tables and draw the curves."""
    options = parsed()
    images = data.load(options.data, "test").pixels[: options.images]
    settings = Perturbation(
        evaluation.UniformNoise(0, 255),
        ("MoRF",),
        steps=options.pixels // options.per_step,
        per_step=options.per_step,
        score="probability",
    )
    print(machine())
    experiments = []
    for seed in options.seeds:
        accuracy = weights.report(seed)["test_accuracy"]
        network = weights.read(weights.path(seed))
        experiments.append(Experiment(network, f"seed {seed}", images, options))
        print(f"seed {seed}: test accuracy {accuracy:.4f}")
    curves = table(experiments, settings, len(images))
    if options.figure:
        drawn = evaluation.curve_figure([c for cells in curves for c in cells.values()])
        drawn.savefig(options.figure, dpi=150)
    few = min(options.variant_images, len(images))
    variants(experiments[0], settings, few)
    others = [
        Experiment(weights.read(file, alpha=float(alpha)), f"α = {alpha}", images, options)
        for alpha, file in options.strength
    ]
    if others:
        strengths(others, settings, few)


if __name__ == "__main__":
    main()
