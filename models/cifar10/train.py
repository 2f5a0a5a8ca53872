"""Trains a network for CIFAR-10: the one with LRN, or the Vision Transformer.

    python -m lrpjax.models.cifar10.train --data cifar-10-batches-py --seed 0 --out runs

writes runs/seed0.safetensors, and runs/seed0.json with the settings and the accuracy on the test
set. After every epoch it writes runs/seed0.checkpoint.safetensors; the same command goes on from
there, to the same weights as without the interruption. With ``--architecture vit`` the files are
called vit_seed0.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import checkpoint, data, recipes, training, weights

HELP = {
    "seed": "of the first weights, the order of the images, their flips and shifts",
    "epochs": "how often every image is seen",
    "batch": "images in a step",
    "alpha": "the strength of both LRNs",
    "peak_rate": "AdamW's largest learning rate",
    "weight_decay": "AdamW's, on kernels only",
    "smoothing": "how much of each label is spread over all classes",
    "shift": "by how many pixels an image is moved at most",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ``--help`` explains it.

    Args:
        arguments: The command's arguments; None for the process's own.
    """
    chooser = _chooser()
    chosen, _ = chooser.parse_known_args(arguments)
    recipe = recipes.RECIPES[chosen.architecture]
    parser = _parser(chooser, recipe)
    options = vars(parser.parse_args(arguments))
    path, out = options.pop("data"), options.pop("out")
    del options["architecture"]
    try:
        settings = recipe(**options)
        report = run(settings, data.load(path, "train"), data.load(path, "test"), out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"test accuracy {report['test_accuracy']:.4f}")


def run(
    settings: recipes.Settings, train: data.Images, test: data.Images, out: Path
) -> dict[str, Any]:
    """Trains, or goes on where a run with the same settings was interrupted.

    Args:
        settings: What decides the run.
        train: The images to train on.
        test: The images to measure the accuracy on, after the last epoch.
        out: The folder for the weights, the JSON file beside them and the checkpoint; made if
            need be.

    Returns:
        What the JSON file holds.

    Raises:
        ValueError: The folder has a checkpoint of a run with other settings or data, or a
            damaged one.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{settings.file_name}.checkpoint.safetensors"
    trainer = training.Trainer(settings, train)
    facts = {"settings": dataclasses.asdict(settings), "images": len(train.pixels)}
    state = _resumed(path, trainer.start(), facts) if path.exists() else trainer.start()
    while state.epoch < settings.epochs:
        state = trainer.epoch(state, _progress(trainer, state.epoch))
        arrays = {"params": state.params, "optimiser": state.optimiser}
        checkpoint.save(path, arrays, {**facts, "epoch": state.epoch, "history": state.history})
        print(f"epoch {state.epoch}: {state.history[-1]}", flush=True)
    report = {
        **facts,
        "test_images": len(test.pixels),
        "test_accuracy": trainer.accuracy(state, test),
        "history": list(state.history),
    }
    weights.save(out / f"{settings.file_name}.safetensors", trainer.model(state))
    (out / f"{settings.file_name}.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _resumed(path: Path, first: training.State, facts: dict[str, Any]) -> training.State:
    like = {"params": first.params, "optimiser": first.optimiser}
    arrays, stored = checkpoint.restore(path, like)
    for name, value in facts.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{path} is of a run with other {name}: {stored.get(name)}, not {value}; "
                "take another folder, or delete the checkpoint"
            )
    return training.State(
        stored["epoch"], arrays["params"], arrays["optimiser"], tuple(stored["history"])
    )


def _progress(trainer: training.Trainer, epoch: int) -> training.Progress:
    from tqdm import tqdm

    def wrap(batches: training.Batches) -> training.Batches:
        return tqdm(
            batches,
            total=trainer.steps,
            desc=f"epoch {epoch + 1}/{trainer.settings.epochs}",
            mininterval=0.1 if sys.stderr.isatty() else 20,  # seconds; a log stays short
        )

    return wrap


def _chooser() -> argparse.ArgumentParser:
    """What is read first, because the other options and their defaults follow from it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--architecture", choices=recipes.RECIPES, default="lrn", help="which network to train"
    )
    return parser


def _parser(
    chooser: argparse.ArgumentParser, recipe: type[recipes.Settings]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lrpjax.models.cifar10.train",
        description="Trains a network for CIFAR-10.",
        epilog="The same command goes on after an interruption, from its last whole epoch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        parents=[chooser],
        allow_abbrev=False,  # the chooser knows too few options to tell what is short for what
    )
    parser.add_argument("--data", required=True, type=Path, help="CIFAR-10: a folder or archive")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write to")
    for field in dataclasses.fields(recipe):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=HELP[field.name],
        )
    return parser


if __name__ == "__main__":
    main()
