"""The options of each command."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

DEFAULT_MODEL = "efficientnet_lite0"
DEFAULT_TEXT_MODEL = "minilm_sst2"
USUAL_TOP, USUAL_TOP_OF_TEXTS = 3, 1


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
    _add_explain_text(commands.add_parser("explain-text", help="explain texts, word by word"))
    _add_demo(commands.add_parser("demo", help="explain the sample photographs"))
    _add_plan(commands.add_parser("plan", help="show which rule each part of a model gets"))
    _add_evaluate(commands.add_parser("evaluate", help="compare methods by perturbation curves"))
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
    _add_classes(command)
    _add_settings(command)
    _add_writing(command)
    _add_processes(command)


def _add_processes(command: argparse.ArgumentParser) -> None:
    together = command.add_argument_group(
        "several processes",
        "Started with the same photographs and the same --out, each explains and writes its own "
        "share, whatever becomes of the others. One that was killed goes on when it is started "
        "again while process 0 runs; later, start all again, or one without these options. On "
        "clusters that JAX knows (Slurm, Open MPI, Cloud TPU) one of these options is enough.",
    )
    together.add_argument(
        "--coordinator-address",
        type=_address,
        metavar="HOST:PORT",
        help="where they meet: a free port of the machine that process 0 runs on",
    )
    together.add_argument(
        "--num-processes", type=_positive, metavar="N", help="how many processes there are"
    )
    together.add_argument(
        "--process-id", type=_natural, metavar="I", help="the number of this one, from 0"
    )


def _add_classes(command: argparse.ArgumentParser, usual: int = USUAL_TOP) -> None:
    command.add_argument(
        "--top",
        type=_positive,
        metavar="N",
        help=f"explain the N classes with the highest scores (default: {usual}, or none "
        "where --classes names some)",
    )
    command.add_argument(
        "--classes",
        default="",
        metavar="NAME,…",
        help="explain these classes, given by name or by index, in this order",
    )
    command.set_defaults(usual_top=usual)


def _add_explain_text(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Prints each text with its tokens coloured by their relevance, red for the class and blue "
        "against it; without colours, where the output is no terminal or NO_COLOR is set, with "
        "numbers. With --out it writes a page of HTML too, and beside it the numbers, as lines of "
        "JSON, from which an interrupted run goes on."
    )
    command.add_argument("texts", nargs="*", metavar="TEXT", help="a text to explain")
    command.add_argument(
        "--file", type=Path, metavar="FILE", help="a file, in UTF-8, with a text on each line"
    )
    command.add_argument(
        "--words", action="store_true", help="show whole words, each the sum over its pieces"
    )
    command.add_argument(
        "--model", default=DEFAULT_TEXT_MODEL, help="the network to explain (default: %(default)s)"
    )
    _add_classes(command, USUAL_TOP_OF_TEXTS)
    _add_composite(command, "attn_lrp")
    command.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the page to write; none is by default"
    )
    _add_repeating(command, batch_size=8, what="texts")
    command.set_defaults(weights=None)


def _add_demo(command: argparse.ArgumentParser) -> None:
    command.description = "Explains the sample photographs and says what the network sees in them."
    command.set_defaults(top=None, usual_top=USUAL_TOP, classes="")
    _add_settings(command)
    _add_writing(command)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Prints which rule each part of a model gets, and why. The plan depends on a network's "
        "structure alone: it needs no --weights, but with them it has their number of classes."
    )
    _add_settings(command)
    command.set_defaults(top=None, usual_top=USUAL_TOP, classes="")


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Removes regions of images in the order of their relevance and measures how the score of "
        "the predicted class falls. Prints a table of areas with confidence intervals, and writes "
        "it with the curves, as a figure and as numbers. An interrupted run goes on where it was."
    )
    _add_model(command)
    _add_methods(command)
    _add_perturbation(command)
    command.add_argument(
        "--limit", type=_positive, metavar="N", help="take only the first N images"
    )
    _add_writing(command, "evaluation", batch_size=32)


def _add_methods(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER|FILE",
        help="a folder of photographs, an .npz file with images, uint8 [n, h, w, 3], or the "
        "folder of CIFAR-10's batches, of which the test images are taken",
    )
    command.add_argument(
        "--composites",
        default="default",
        metavar="NAME|FILE.json,…",
        help="the rules to compare, presets' names or files; differences are those to the first "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--baselines",
        default="random",
        metavar="NAME,…",
        help="what to compare them with: gradient, gradient_times_input, smoothgrad, "
        "integrated_gradients, occlusion; random is the control, an order by chance "
        "(default: %(default)s)",
    )


def _add_perturbation(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--order",
        default="MoRF,LeRF",
        metavar="NAME,…",
        help="most relevant first, least relevant first, random, smallest_absolute "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--operator",
        metavar="NAME[:NUMBER,…]",
        help="what a region is replaced with: uniform[:LOW,HIGH], constant[:VALUE], blur[:SIGMA], "
        "dirichlet[:CONCENTRATION,LOW,HIGH], mean (default: uniform, over the range of pixels)",
    )
    command.add_argument(
        "--regions",
        type=_region,
        metavar="N|HxW",
        help="the size of a region in pixels (default: 9 for images above 64 pixels, else 1)",
    )
    command.add_argument(
        "--score",
        default="logit",
        metavar="NAME",
        help="what is measured of the predicted class: logit, probability (default: %(default)s)",
    )
    for name, default, what in (
        ("--steps", 100, "how many times regions are removed"),
        ("--per-step", 1, "how many regions are removed at a time"),
        ("--repetitions", 1, "how often a random operator or order is drawn"),
    ):
        command.add_argument(
            name,
            type=_positive,
            default=default,
            metavar="N",
            help=f"{what} (default: %(default)s)",
        )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all that is random (default: 0)"
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    _add_composite(command, "default")


def _add_composite(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--composite",
        default=default,
        metavar="NAME|FILE.json",
        help="which rule goes where: a preset's name, or a file (default: %(default)s)",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
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


def _add_writing(
    command: argparse.ArgumentParser, folder: str = "heatmaps", batch_size: int = 8
) -> None:
    command.add_argument(
        "--out",
        type=Path,
        default=Path(folder),
        metavar="DIR",
        help="the folder for the results (default: %(default)s)",
    )
    _add_repeating(command, batch_size, "images")


def _add_repeating(command: argparse.ArgumentParser, batch_size: int, what: str) -> None:
    command.add_argument(
        "--batch-size",
        type=_positive,
        default=batch_size,
        metavar="N",
        help=f"how many {what} go through the model at a time (default: %(default)s)",
    )
    command.add_argument("--force", action="store_true", help="do again what is done already")


def _region(text: str) -> tuple[int, int]:
    sides = [_positive(side) for side in text.lower().replace("×", "x").split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 9 or 9x9")
    return sides[0], sides[-1]


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as localhost:1234")
    return text


def _positive(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return number
