"""``lrpjax explain-text``: which words of a text speak for a class."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

import lrpjax.models as models
from lrpjax.cli.coloured import tell_segments
from lrpjax.cli.explain import explained, once, softmax
from lrpjax.cli.messages import UsageError, one_line, say, shown, tell
from lrpjax.cli.settings import Settings, fitting_plan, made_folder, settings_from
from lrpjax.cli.text_results import TextExplanation, TextResults
from lrpjax.evaluation.storage import ResultsMismatch, write_whole
from lrpjax.plot.text import Segment, legend, text_html, text_page, text_segments

_SHORTEST = 16  # tokens; lengths are powers of two, so that few programs are compiled


class Unwritable(Exception):
    """The page or the numbers cannot be written; the message says why."""


class Line(NamedTuple):
    """A text to explain.

    Attributes:
        text: The text.
        where: Where it stands, as ``texts.txt:3``; nothing for one in the command itself.
    """

    text: str
    where: str = ""


@dataclass(frozen=True)
class Shown:
    """How explanations are shown.

    Attributes:
        words: Whole words, where False shows word pieces.
    """

    words: bool

    def segments(self, found: TextExplanation, row: int) -> list[Segment]:
        """The text of one class's explanation, cut at its tokens or words."""
        tokens, relevance = found.tokens, found.relevance[row]
        if self.words:
            words = models.per_word([models.Token(*token) for token in tokens], relevance)
            tokens = tuple((word.string, word.start, word.end) for word in words)
            relevance = np.array([word.relevance for word in words])
        return text_segments(found.text, tokens, relevance)

    def tell(self, line: Line, found: TextExplanation) -> None:
        """Prints one text, once for each class."""
        where = f"{line.where}: " if line.where else ""
        for row, (label, logit, score) in enumerate(
            zip(found.labels, found.logits, found.scores, strict=True)
        ):
            said = legend(f"{label} {score:.2f}", logit, found.relevance[row])
            tell_segments(f"{where}{said}", self.segments(found, row))

    def page(self, found: Iterable[TextExplanation], title: str) -> str:
        """All texts, once for each class, on a page."""
        fragments = (
            text_html(self.segments(one, row), label=label, logit=one.logits[row])
            for one in found
            for row, label in enumerate(one.labels)
        )
        return text_page(fragments, title)


def explain_text(options: argparse.Namespace) -> int:
    """``lrpjax explain-text``: coloured tokens, and a page of them."""
    lines = _lines(options)
    if options.out is not None and options.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {shown(options.out)}: name an HTML file, such as texts.html")
    settings = settings_from(options)
    fitting_plan(settings, *settings.classifier.tokenize([lines[0].text])[:2])
    results = _results(options, settings)
    show = Shown(options.words)
    try:
        failed = _run(lines, settings, results, show, options.batch_size)
        if options.out is not None:
            done = [results.done[line.text] for line in lines if line.text in results.done]
            page = show.page(done, f"Relevance by {settings.classifier.name}")
            with _writing(options.out):
                write_whole(options.out, page.encode())
            tell(f"the page is {shown(options.out)}; the numbers, {shown(_numbers(options.out))}")
    except Unwritable as error:
        say(error)
        return 1
    return 1 if failed else 0


def _run(
    lines: list[Line], settings: Settings, results: TextResults, show: Shown, batch_size: int
) -> int:
    """Explains what is not done yet, and prints all texts in order; returns how many failed."""
    todo = list(dict.fromkeys(line.text for line in lines if line.text not in results.done))
    skipped = sum(line.text in results.done for line in lines)
    failed, waiting, quiet = set(), iter(lines), len(lines) == 1 or not todo
    if skipped:
        say(f"{skipped} done already and not done again (--force does them again)")
    with tqdm(total=len(todo), unit="text", desc="explaining", disable=quiet) as bar:
        for batch in _explanations(settings, todo, min(batch_size, max(len(todo), 1))):
            with _writing(results.path):
                results.keep(one for one in batch if np.isfinite(one.relevance).all())
            failed |= {one.text for one in batch if one.text not in results.done}
            bar.update(len(batch))
            reached = batch[-1].text
            for line in waiting:
                _tell_line(line, results, settings, show)
                if line.text == reached:
                    break
    for line in waiting:
        _tell_line(line, results, settings, show)
    return len(failed)


def _tell_line(line: Line, results: TextResults, settings: Settings, show: Shown) -> None:
    place = line.where or "this text"
    found = results.done.get(line.text)
    if found is None:
        say(f"{place}: its relevance is NaN or infinite")
        return
    read = max((end for _, _, end in found.tokens), default=0)
    if line.text[read:].strip():
        longest = settings.classifier.tokenizer.longest
        say(f"{place}: only its first {longest} tokens are read")
    show.tell(line, found)


def _explanations(
    settings: Settings, texts: list[str], batch_size: int
) -> Iterator[list[TextExplanation]]:
    """Explains texts in batches, while the caller deals with the batch before."""
    graph, state = nnx.split(settings.classifier.model)
    named = jnp.asarray(settings.classes, jnp.int32)
    before: tuple[Any, Any] = (None, None)
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        tokenized = settings.classifier.tokenize(batch)
        inputs = _filled(tokenized.ids, batch_size), _filled(tokenized.mask, batch_size)
        running = explained(graph, state, settings.composite, named, inputs, settings.top)
        if before[0] is not None:
            yield _unpacked(settings, *before)
        before = ((batch, tokenized.tokens), running)
    if before[0] is not None:
        yield _unpacked(settings, *before)


def _filled(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """A few shapes for all batches: more rows like the first, and padding behind the tokens."""
    count, length = rows.shape
    wanted = max(_SHORTEST, 1 << (length - 1).bit_length())
    rows = np.pad(rows, ((0, 0), (0, wanted - length)))
    return np.concatenate([rows, np.repeat(rows[:1], batch_size - count, axis=0)])


def _unpacked(settings: Settings, batch: Any, results: Any) -> list[TextExplanation]:
    labels, found = settings.classifier.labels, []
    for text, tokens, logits, classes, maps in zip(*batch, *jax.device_get(results), strict=False):
        keep, chosen = once(classes)
        found.append(
            TextExplanation(
                text=text,
                tokens=tuple(tuple(token) for token in tokens),
                classes=tuple(chosen.tolist()),
                labels=tuple(labels[index] for index in chosen),
                logits=tuple(logits[chosen].tolist()),
                scores=tuple(softmax(logits)[chosen].tolist()),
                relevance=maps[keep][:, : len(tokens)].astype(np.float32),
            )
        )
    return found


def _lines(options: argparse.Namespace) -> list[Line]:
    """The texts in the command, then those in the file."""
    if not (options.texts or options.file):
        raise UsageError("there is nothing to explain: give a text, or --file FILE")
    lines = [Line(text) for text in options.texts]
    for line in lines:
        if not line.text.strip():
            raise UsageError("a text is empty")
        if any("\ud800" <= letter <= "\udfff" for letter in line.text):
            raise UsageError(f"a text is not in UTF-8: {one_line(line.text)}")
    if options.file is not None:
        lines += _lines_of(options.file)
    if not lines:
        raise UsageError(f"--file {shown(options.file)}: there is no text in it")
    return lines


def _lines_of(path: Path) -> list[Line]:
    try:
        # Not splitlines(): a text may hold one of Unicode's separators.
        content = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"--file {shown(path)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {shown(path)}: it is not in UTF-8: {one_line(error)}") from error
    stripped = ((number, line.strip()) for number, line in enumerate(content, 1))
    return [Line(text, f"{path.name}:{number}") for number, text in stripped if text]


def _results(options: argparse.Namespace, settings: Settings) -> TextResults:
    """Where the numbers go: beside the page, or nowhere."""
    path = _numbers(options.out) if options.out is not None else None
    try:
        if path is not None:
            made_folder(path.parent)
        return TextResults.open(path, settings.record(), force=options.force)
    except (ResultsMismatch, OSError, UnicodeDecodeError) as error:
        hint = "name another page with --out, or do it again with --force"
        raise UsageError(f"{one_line(error)}; {hint}") from error


def _numbers(page: Path) -> Path:
    return page.with_suffix(".jsonl")


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(f"{shown(path or '')}: {error.strerror or error}") from error
