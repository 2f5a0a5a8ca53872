"""The numbers of explained texts, one line of JSON for each, from which the next run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrpjax.evaluation.storage import ResultsMismatch, write_whole


@dataclass(frozen=True)
class TextExplanation:
    """What was found in one text.

    Attributes:
        text: The text.
        tokens: What each token is called, where it starts and where it ends, in characters.
        classes: The explained classes.
        labels: Their names.
        logits: Their outputs.
        scores: Their probabilities among all classes.
        relevance: float32 [classes, tokens].
    """

    text: str
    tokens: tuple[tuple[str, int, int], ...]
    classes: tuple[int, ...]
    labels: tuple[str, ...]
    logits: tuple[float, ...]
    scores: tuple[float, ...]
    relevance: np.ndarray

    def to_json(self) -> str:
        """One line, from which `from_json` makes the same numbers again.

        Example:
            >>> one = TextExplanation("ok", (("ok", 0, 2),), (1,), ("good",), (2.0,), (0.9,),
            ...                       np.array([[0.1]], np.float32))
            >>> TextExplanation.from_json(one.to_json()).relevance == one.relevance
            array([[ True]])
        """
        # A float32 in the fewest digits that mean it: those of a double would be twice as many.
        rows = [[float(str(value)) for value in row] for row in self.relevance]
        return json.dumps({**vars(self), "relevance": rows}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> TextExplanation:
        """The explanation on a line.

        Raises:
            ValueError: The line is none, or was cut short.
        """
        try:
            stored = json.loads(line)
            found = cls(
                text=stored["text"],
                tokens=tuple((name, start, end) for name, start, end in stored["tokens"]),
                classes=tuple(stored["classes"]),
                labels=tuple(stored["labels"]),
                logits=tuple(stored["logits"]),
                scores=tuple(stored["scores"]),
                relevance=np.array(stored["relevance"], np.float32),
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not an explained text: {error}") from error
        if found.relevance.shape != (len(found.classes), len(found.tokens)):
            raise ValueError("not an explained text: some of its numbers are missing")
        return found


@dataclass
class TextResults:
    """The lines of one file: the settings first, then a text on each.

    Attributes:
        path: The file; None keeps everything in memory alone.
        settings: What an explanation depends on, apart from the text.
        done: The explanations by their texts.
    """

    path: Path | None
    settings: str
    done: dict[str, TextExplanation] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, settings: str, *, force: bool = False) -> TextResults:
        """Goes on with a file, or begins one.

        Args:
            path: The file; it need not exist. None for no file.
            settings: As JSON.
            force: Whether what is there is done again.

        Raises:
            ResultsMismatch: The file holds something else, or was made with other settings.
            OSError: It cannot be read or written.
        """
        results = cls(path, settings)
        if path is None:
            return results
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if lines != [] and not (len(lines) == 1 and not lines[0]):
            _check_settings(path, lines[0], settings, force)
            found = [] if force else _readable(lines[1:])
            results.done = {one.text: one for one in found}
        # Written anew, so that the next line does not go on where the last was cut short.
        head = json.dumps({"settings": json.loads(settings)}, ensure_ascii=False)
        kept = [head, *(one.to_json() for one in results.done.values())]
        write_whole(path, "".join(f"{line}\n" for line in kept).encode())
        return results

    def keep(self, explanations: Iterable[TextExplanation]) -> None:
        """Adds explanations; once this returns, they outlast a killed process.

        Raises:
            OSError: The file cannot be written.
        """
        new = {one.text: one for one in explanations}
        self.done.update(new)
        if self.path is None or not new:
            return
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{one.to_json()}\n" for one in new.values())
            file.flush()
            os.fsync(file.fileno())


def _check_settings(path: Path, head: str, settings: str, force: bool) -> None:
    try:
        found = json.loads(head)["settings"]
        differ = [key for key, value in json.loads(settings).items() if found.get(key) != value]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultsMismatch(f"{path} is there and holds something else") from error
    if differ and not force:
        raise ResultsMismatch(
            f"{path} holds the results of another run; these differ: {', '.join(differ)}"
        )


def _readable(lines: list[str]) -> list[TextExplanation]:
    """The whole lines; an interruption may have cut the last one short."""
    found: list[Any] = []
    for line in lines:
        try:
            found.append(TextExplanation.from_json(line))
        except ValueError:
            continue
    return found
