"""From the words of the command to a model, a composite and classes, all checked beforehand."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import lrpjax
import lrpjax.models as models
from lrpjax import presets
from lrpjax.cli.messages import UsageError, one_line, shown


@dataclass(frozen=True)
class Settings:
    """What an explanation depends on, apart from the photograph.

    Attributes:
        classifier: The model with its labels and its preprocessing.
        composite: The rules.
        classes: Indices of the classes that were asked for by name, in that order.
        top: How many of the highest classes are explained after those.
        weights: The SHA-256 of the file of weights, or nothing where there was none.
    """

    classifier: Any
    composite: Any
    classes: tuple[int, ...]
    top: int
    weights: str = ""

    def record(self) -> str:
        """The settings as JSON: equal text means equal explanations of equal photographs."""
        depends_on = {
            "lrpjax": version("lrpjax"),
            "model": self.classifier.name,
            "composite": json.loads(self.composite.to_json()),
            "classes": self.classes,
            "top": self.top,
        }
        if self.weights:
            depends_on["weights"] = self.weights
        return json.dumps(depends_on, sort_keys=True)


def settings_from(options: argparse.Namespace) -> Settings:
    """Resolves the names in the options.

    Args:
        options: With ``command``, ``model``, ``weights``, ``composite``, ``classes``, ``top`` and
            ``usual_top``, how many classes are explained where nothing is said.

    Returns:
        The settings.

    Raises:
        UsageError: A name is not known, or a file of rules or of weights is broken or missing.
    """
    classifier, (composite,) = resolved(options, [options.composite])
    names = [name.strip() for name in options.classes.split(",") if name.strip()]
    usual = 0 if names else min(options.usual_top, len(classifier.labels))
    top = usual if options.top is None else options.top
    if top > len(classifier.labels):
        raise UsageError(f"--top {top}: {options.model} knows {len(classifier.labels)} classes")
    digest = _digest(options.weights) if options.weights else ""
    return Settings(classifier, composite, _classes(names, classifier), top, digest)


def resolved(options: argparse.Namespace, composites: list[str]) -> tuple[Any, list[Any]]:
    """The model and several composites, resolved in the order that finds mistakes soonest.

    Args:
        options: With ``command``, ``model`` and ``weights``.
        composites: Presets' names and files.

    Returns:
        The classifier and the composites.

    Raises:
        UsageError: A name is not known, or a file of rules or of weights is broken or missing.
    """
    # The model is loaded last of all; its name is checked first of all.
    check = models.check_text_name if _of_texts(options) else models.check_name
    try:
        check(options.model)
    except ValueError as error:
        raise UsageError(one_line(error)) from error
    given = [_composite_file(name) for name in composites]
    classifier = _classifier(options)
    pairs = zip(composites, given, strict=True)
    return classifier, [_preset(name) if file is None else file for name, file in pairs]


def plan_of(settings: Settings) -> Any:
    """The plan of the model under the composite, which is where what does not fit shows itself.

    Args:
        settings: Any.

    Returns:
        The ``lrpjax.Plan``.

    Raises:
        UsageError: The composite does not fit the model.
    """
    size = settings.classifier.image_size
    return fitting_plan(settings, np.zeros((1, size, size, 3), np.float32))


def fitting_plan(settings: Settings, *inputs: np.ndarray) -> Any:
    """The plan for given inputs of the model.

    Args:
        settings: Any.
        *inputs: The model's inputs, of which the first is explained.

    Returns:
        The ``lrpjax.Plan``.

    Raises:
        UsageError: The composite does not fit the model.
    """
    try:
        return lrpjax.plan(settings.classifier.model, settings.composite, *inputs)
    except (ValueError, NotImplementedError) as error:
        name = settings.classifier.name
        raise UsageError(f"this composite does not fit {name}: {one_line(error)}") from error


def made_folder(path: Path) -> Path:
    """The folder for results, made where there is none.

    Raises:
        UsageError: It can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {shown(path)}: {error.strerror or error}") from error
    return path


def _of_texts(options: argparse.Namespace) -> bool:
    return options.command == "explain-text"


def _classifier(options: argparse.Namespace) -> Any:
    name, weights = options.model, options.weights
    if _of_texts(options):
        return _loaded(name, models.load_text)
    if weights is None and name not in models.available():
        if options.command == "plan":
            return models.structure(name)
        raise UsageError(
            f"{name} comes without weights; give a file of them: --weights {name}.safetensors; "
            f"{models.export_hint(name)}"
        )
    return _loaded(name, functools.partial(models.load, weights=weights))


def _loaded(name: str, load: Callable[[str], Any]) -> Any:
    try:
        return load(name)
    except (ValueError, OSError) as error:
        raise UsageError(f"{name} cannot be loaded: {one_line(error)}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _composite_file(name: str) -> Any:
    """The composite in a file, or None where the name is a preset's."""
    if name in presets.names():
        return None
    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        raise UsageError(
            f"no composite named {name!r}; presets: {', '.join(presets.names())}; "
            "or give a file, NAME.json"
        )
    try:
        return lrpjax.Composite.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"composite {name}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"composite {name}: {one_line(error)}") from error


def _preset(name: str) -> Any:
    try:
        return presets.as_composite(name)
    except ValueError as error:
        raise UsageError(f"composite {name}: {one_line(error)}") from error


def _classes(names: list[str], classifier: Any) -> tuple[int, ...]:
    try:
        indices = [int(classifier.class_index(name)) for name in names]
    except ValueError as error:
        raise UsageError(one_line(error)) from error
    return tuple(dict.fromkeys(indices))
