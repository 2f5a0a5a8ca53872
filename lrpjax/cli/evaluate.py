"""``lrpjax evaluate``: methods compared by their perturbation curves."""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import lrpjax
from lrpjax import evaluation
from lrpjax.cli.images import images_from
from lrpjax.cli.messages import UsageError, one_line, say, shown, tell, tell_table
from lrpjax.cli.settings import Settings, made_folder, plan_of, resolved
from lrpjax.evaluation import storage
from lrpjax.evaluation.operators import known

# Photographs are perturbed in regions, small images pixel by pixel.
_LARGE, _REGION_OF_LARGE = 64, (9, 9)


def _occlusion(classifier: Any) -> Any:
    side = max(1, classifier.image_size // 8)
    return evaluation.occlusion(classifier.model, window=(side, side))


#: From a classifier to an attribution.
BASELINES: MappingProxyType[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "gradient": lambda classifier: evaluation.gradient(classifier.model),
        "gradient_times_input": lambda c: evaluation.gradient_times_input(c.model),
        "smoothgrad": lambda classifier: evaluation.smoothgrad(classifier.model),
        "integrated_gradients": lambda c: evaluation.integrated_gradients(c.model),
        "occlusion": _occlusion,
        "random": lambda classifier: "random",
    }
)


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: What it is called.
        attribution: As :func:`lrpjax.evaluation.perturbation_curves` takes it.
        folder: Where its results are kept.
    """

    name: str
    attribution: Any
    folder: Path


def evaluate(options: argparse.Namespace) -> int:
    """``lrpjax evaluate``: the table, the figure and the numbers."""
    operator = _operator(options.operator) if options.operator else None
    composites, baselines = _names(options)
    classifier, rules = resolved(options, composites)
    for composite in rules:
        plan_of(Settings(classifier, composite, (), 1))
    settings = _perturbation(options, operator, classifier)
    failed: list[str] = []

    def fail(what: Path | str, reason: object) -> None:
        say(f"{shown(what)}: {reason}")
        failed.append(str(what))

    images = images_from(options.data, classifier, options.limit, fail)
    attributions = [lrpjax.lrp(classifier.model, composite) for composite in rules]
    attributions += [BASELINES[name](classifier) for name in baselines]
    methods = _methods([*composites, *baselines], attributions, options.out)
    _check_folders(methods, settings, images, options)
    made_folder(options.out)
    results = []
    for method in methods:
        try:
            results.append(_curves(classifier, method, images, settings, options.batch_size))
        except (ValueError, OSError, NotImplementedError) as error:
            fail(method.name, one_line(error))
    if results:
        _write(results, options.out)
    return 1 if failed else 0


def _curves(
    classifier: Any, method: Method, images: np.ndarray, settings: Any, batch_size: int
) -> Any:
    return evaluation.perturbation_curves(
        classifier.model,
        method.attribution,
        images,
        settings,
        name=method.name,
        batch_size=batch_size,
        folder=method.folder,
    )


def _write(results: list[Any], folder: Path) -> None:
    """The table on the screen; table, figure and numbers in the folder."""
    against = results[0].name if len(results) > 1 else None
    text = evaluation.table(results, baseline=against)
    tell_table(text)
    picture, numbers = io.BytesIO(), io.BytesIO()
    settings = {key: value for key, value in results[0].settings.items() if key != "name"}
    evaluation.curve_figure(results).savefig(picture, format="png", dpi=120)
    np.savez(
        numbers,
        methods=np.array([one.name for one in results]),
        orders=np.array(results[0].orders),
        scores=np.stack([one.scores for one in results]),
        targets=results[0].targets,
        settings=np.array(json.dumps(settings, sort_keys=True)),
    )
    files = {
        "table.txt": f"{text}\n".encode(),
        "curves.png": picture.getvalue(),
        "curves.npz": numbers.getvalue(),
    }
    for name, content in files.items():
        storage.write_whole(folder / name, content)
    tell(f"the curves are in {shown(folder / 'curves.png')}, as numbers in curves.npz beside it")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _names(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The composites and the baselines, each method once."""
    composites = _listed(options.composites)
    try:
        baselines = [known(name, BASELINES, "baseline") for name in _listed(options.baselines)]
    except ValueError as error:
        raise UsageError(one_line(error)) from error
    names = [*composites, *baselines]
    if not names:
        raise UsageError("there is nothing to evaluate: name --composites or --baselines")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"{twice} is named twice")
    return composites, baselines


def _operator(text: str) -> Any:
    """``uniform``, or with numbers in the order of the operator's fields, ``uniform:0,255``."""
    name, _, rest = text.partition(":")
    try:
        make = evaluation.OPERATORS[known(name, evaluation.OPERATORS, "operator")]
        return make(*(float(number) for number in _listed(rest)))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--operator {text}: {one_line(error)}") from error


def _perturbation(options: argparse.Namespace, operator: Any, classifier: Any) -> Any:
    size = classifier.image_size
    usual = _REGION_OF_LARGE if size > _LARGE else (1, 1)
    try:
        settings = evaluation.Perturbation(
            operator=operator or evaluation.UniformNoise(classifier.low, classifier.high),
            orders=tuple(_listed(options.order)),
            region=options.regions or usual,
            steps=options.steps,
            per_step=options.per_step,
            repetitions=options.repetitions,
            score=options.score,
            seed=options.seed,
        )
        settings.check_sides(size, size)
    except ValueError as error:
        raise UsageError(one_line(error)) from error
    return settings


def _methods(names: list[str], attributions: list[Any], folder: Path) -> list[Method]:
    methods: list[Method] = []
    for name, attribution in zip(names, attributions, strict=True):
        path = folder / (re.sub(r"[^\w.+=@~-]", "_", name).lstrip(".") or "method")
        if path in [method.folder for method in methods]:
            raise UsageError(f"the results of {name} would lie where another method's do")
        methods.append(Method(name, attribution, path))
    return methods


def _check_folders(
    methods: list[Method], settings: Any, images: np.ndarray, options: argparse.Namespace
) -> None:
    """Refuses folders with results of another run before anything is computed."""
    wanted = {**settings.record(), "images": storage.digest_of(images)}
    for method in methods:
        try:
            if options.force:
                storage.clear(method.folder)
            storage.check_settings(method.folder, wanted)
        except (storage.ResultsMismatch, OSError) as error:
            hint = "name another folder with --out, or do it again with --force"
            raise UsageError(f"{one_line(error)}; {hint}") from error
