"""The command ``lrpjax``: photographs and texts explained, the plan behind it, and how good it is.

Exit codes: 0, all is well; 1, some photographs, texts or methods failed (the others are done);
2, nothing was started, because an option, a model, a composite or a class is not known.

Example:
    >>> from lrpjax.cli import main
    >>> main(["explain", "cat.jpg", "--model", "no_such_model"])
    2
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from lrpjax.cli.arguments import parser
from lrpjax.cli.messages import UsageError, say

__all__ = ["main"]

_EXTRAS = {"explain-text": "lrpjax[text]"}  # what pip installs for a command
_USUAL_EXTRAS = "lrpjax[zoo,plot]"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The words after ``lrpjax``; None for those of this process.

    Returns:
        The exit code, as above.

    Raises:
        SystemExit: For ``--help``, ``--version`` and options that argparse refuses.

    Example:
        >>> main(["plan", "--composite", "no_such_preset"])
        2
    """
    options = parser().parse_args(argv)
    try:
        return _command(options.command)(options)
    except UsageError as error:
        say(f"error: {error}")
        return 2
    except ImportError as error:
        extras = _EXTRAS.get(options.command, _USUAL_EXTRAS)
        hint = "" if "pip install" in str(error) else f"; this needs pip install '{extras}'"
        say(f"error: {error}{hint}")
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, as head does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say("interrupted; what is written so far is complete, the same command goes on from there")
        return 130


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """A command's function, imported only now: --help and --version need none of the extras."""
    if name == "explain-text":  # which needs none of what photographs do
        from lrpjax.cli.explain_text import explain_text

        return explain_text
    from lrpjax.cli import commands

    return commands.COMMANDS[name]
