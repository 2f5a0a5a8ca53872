"""The options of each command."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

DEFAULT_MODEL = "efficientnet_lite0"
DEFAULT_TOP = 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the chosen command's name is in ``command``.

    Example:
        >>> parser().parse_args(["explain", "cat.jpg", "--top", "2"]).top
        2
    """
    whole = _Parser(
        prog="lrpjax",
        description="Layer-wise relevance propagation: which pixels speak for a class.",
    )
    whole.add_argument("--version", action="version", version=f"lrpjax {version('lrpjax')}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_explain(commands.add_parser("explain", help="explain photographs, or folders of them"))
    _add_demo(commands.add_parser("demo", help="explain the sample photographs"))
    _add_plan(commands.add_parser("plan", help="show which rule each part of a model gets"))
    return whole


def _add_explain(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Writes, for each photograph, NAME.png with one heatmap per class and NAME.npz with the "
        "raw relevance. What is done already with the same settings is skipped."
    )
    command.add_argument(
        "photos",
        nargs="+",
        type=Path,
        metavar="PHOTO",
        help="an image file, or a folder whose files (not those of its subfolders) are explained",
    )
    command.add_argument(
        "--top",
        type=_positive,
        metavar="N",
        help=f"explain the N classes with the highest scores (default: {DEFAULT_TOP}, or none "
        "where --classes names some)",
    )
    command.add_argument(
        "--classes",
        default="",
        metavar="NAME,…",
        help="explain these classes, given by name or by index, in this order",
    )
    _add_settings(command)
    _add_writing(command)


def _add_demo(command: argparse.ArgumentParser) -> None:
    command.description = "Explains the sample photographs and says what the network sees in them."
    command.set_defaults(top=None, classes="")
    _add_settings(command)
    _add_writing(command)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Prints which rule each part of a model gets, and why. The plan depends on a network's "
        "structure alone: it needs no --weights, but with them it has their number of classes."
    )
    _add_settings(command)
    command.set_defaults(top=None, classes="")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default=DEFAULT_MODEL, help="the network to explain (default: %(default)s)"
    )
    command.add_argument(
        "--weights",
        type=Path,
        metavar="FILE.safetensors",
        help="weights of your own, under torchvision's names; networks whose weights come with no "
        "package need them",
    )
    command.add_argument(
        "--composite",
        default="default",
        metavar="NAME|FILE.json",
        help="which rule goes where: a preset's name, or a file (default: %(default)s)",
    )


def _add_writing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out",
        type=Path,
        default=Path("heatmaps"),
        metavar="DIR",
        help="the folder for the results (default: %(default)s)",
    )
    command.add_argument(
        "--batch-size",
        type=_positive,
        default=8,
        metavar="N",
        help="how many photographs are explained at a time (default: %(default)s)",
    )
    command.add_argument("--force", action="store_true", help="explain again what is done already")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number
