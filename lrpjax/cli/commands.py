"""The commands themselves."""

from __future__ import annotations

import argparse
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tqdm import tqdm

import lrpjax.models as models
from lrpjax import plot
from lrpjax.cli.evaluate import evaluate
from lrpjax.cli.explain import Explanation, explanations
from lrpjax.cli.messages import one_line, say, shown, tell, tell_table
from lrpjax.cli.photographs import Photograph, Unreadable, gather, identify, read
from lrpjax.cli.processes import ALONE, Share, meet
from lrpjax.cli.results import Results, is_result
from lrpjax.cli.settings import Settings, made_folder, plan_of, settings_from


@dataclass
class Run:
    """One run over many photographs, and how it has gone so far.

    Attributes:
        settings: The model, the composite and the classes.
        results: Where the results go.
        share: Which of the photographs this process explains.
        explained: How many photographs were explained.
        skipped: How many were done already.
        failed: How many could not be explained.
        named: All photographs, those of other processes among them, and their results' names.
    """

    settings: Settings
    results: Results
    share: Share = ALONE
    explained: int = 0
    skipped: int = 0
    failed: int = 0
    named: list[tuple[Photograph, str]] = field(default_factory=list, repr=False)
    progress: Any = field(default=None, repr=False)

    def fail(self, path: Path | str, reason: object) -> None:
        """Says that one photograph could not be explained; the others go on."""
        say(f"{shown(path)}: {reason}")
        self.failed += 1
        if self.progress is not None:
            self.progress.update()

    def explain(self, photographs: list[Photograph], batch_size: int, force: bool) -> None:
        """Explains all photographs of its share that are not done already."""
        # Every process names all of them, so that all find the same names.
        self.named = [(one, self.results.name_for(one)) for one in photographs]
        mine = self.share.of(self.named)
        todo = [pair for pair in mine if force or not self._is_done(*pair)]
        with tqdm(total=len(todo), unit="photo", desc="explaining", disable=not todo) as progress:
            self.progress = progress
            stream = self._readable(todo)
            batch_size = min(batch_size, max(len(todo), 1))
            for (photograph, name), found in explanations(self.settings, stream, batch_size):
                self._keep(photograph, name, found)
        self.progress = None

    def _has_results(self, photograph: Photograph, name: str) -> bool:
        return self.results.is_done(name, photograph, self.settings.record())

    def _is_done(self, photograph: Photograph, name: str) -> bool:
        done = self._has_results(photograph, name)
        if done:
            self.skipped += 1
            with np.load(self.results.numbers(name), allow_pickle=False) as arrays:
                self._tell(photograph, name, arrays["labels"], arrays["scores"])
        return done

    def _readable(
        self, todo: list[tuple[Photograph, str]]
    ) -> Iterator[tuple[tuple[Photograph, str], np.ndarray]]:
        for photograph, name in todo:
            try:
                pixels = read(photograph, self.settings.classifier.preprocess)
            except Unreadable as error:
                self.fail(photograph.path, error)
            else:
                yield (photograph, name), pixels

    def _keep(self, photograph: Photograph, name: str, found: Explanation) -> None:
        labels = [str(self.settings.classifier.labels[index]) for index in found.classes]
        try:
            picture = _picture(found, labels, one_line(photograph.stem))
            arrays = self._arrays(photograph, found, labels)
            self.results.write(name, picture, arrays)
        except (OSError, ValueError) as error:
            self.fail(photograph.path, error)
            return
        self.explained += 1
        self.progress.update()
        self._tell(photograph, name, labels, found.scores)

    def _arrays(
        self, photograph: Photograph, found: Explanation, labels: list[str]
    ) -> dict[str, Any]:
        return {
            "relevance": found.relevance.astype(np.float32),
            "image": found.image,
            "classes": found.classes,
            "labels": np.array(labels),
            "scores": found.scores,
            "logits": found.logits,
            "model": np.array(self.settings.classifier.name),
            "composite": np.array(self.settings.composite.to_json()),
            "settings": np.array(self.settings.record()),
            "source": np.array(photograph.source),
            "digest": np.array(photograph.digest),
        }

    def _tell(self, photograph: Photograph, name: str, labels: Any, scores: Any) -> None:
        seen = ", ".join(
            f"{label} {score:.2f}" for label, score in zip(labels, scores, strict=True)
        )
        picture = shown(self.results.figure(name))
        tell(f"{one_line(photograph.path.name)}: {seen} → {picture}")

    def finish(self) -> int:
        """Says how it went and returns the exit code."""
        parts = [f"{self.explained} explained"]
        if self.skipped:
            parts.append(f"{self.skipped} done already and skipped (--force does them again)")
        if self.failed:
            parts.append(f"{self.failed} failed")
        together = self.share.processes > 1
        who = f"{self.share}: " if together else ""
        tell(f"{who}{', '.join(parts)}; the pictures are in {shown(self.results.folder)}")
        if together and self.share.leads:
            done = sum(self._has_results(*pair) for pair in self.named)
            tell(f"all processes: {done} of {len(self.named)} photographs are done by now")
        return 1 if self.failed else 0


def explain(options: argparse.Namespace) -> int:
    """``lrpjax explain``: photographs and folders of them."""
    share = meet(options)
    run = _begin(options, share)
    # What is no photograph is nobody's share: one process says so.
    photographs = gather(options.photos, is_result, run.fail if share.leads else _unsaid)
    run.explain(photographs, options.batch_size, options.force)
    return run.finish()


def demo(options: argparse.Namespace) -> int:
    """``lrpjax demo``: the sample photographs."""
    run = _begin(options)
    photographs = []
    for name, path in models.sample_paths().items():
        try:
            photographs.append(identify(Path(path), name))
        except Unreadable as error:
            run.fail(path, error)
    run.explain(photographs, options.batch_size, options.force)
    return run.finish()


def plan(options: argparse.Namespace) -> int:
    """``lrpjax plan``: the table of rules."""
    tell_table(plan_of(settings_from(options)))
    return 0


COMMANDS: MappingProxyType[str, Callable[[argparse.Namespace], int]] = MappingProxyType(
    {"explain": explain, "demo": demo, "plan": plan, "evaluate": evaluate}
)


def _begin(options: argparse.Namespace, share: Share = ALONE) -> Run:
    """Everything that can be wrong with the command shows here, before any photograph is read."""
    settings = settings_from(options)
    plan_of(settings)
    return Run(settings, Results(made_folder(options.out)), share)


def _unsaid(path: Path | str, reason: object) -> None:
    pass


def _picture(found: Explanation, labels: list[str], title: str) -> bytes:
    drawn = plot.figure(
        found.image, found.relevance, titles=labels, scores=found.scores.tolist(), image_title=title
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A file's name may have letters that the font lacks; a box in the title will do.
        warnings.filterwarnings("ignore", message="Glyph")
        drawn.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
