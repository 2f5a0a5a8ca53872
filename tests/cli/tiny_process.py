"""The command in a process of its own, with the tiny network: PAUSE_AFTER GO_FILE WORD…

After so many photographs it writes no more until there is such a file.
"""

import sys
import time
from pathlib import Path

from tiny import tiny_classifier

from lrpjax import models
from lrpjax.cli import main
from lrpjax.cli.results import Results


def pausing(write, after, go):
    """`Results.write`, waiting."""
    written = []

    def write_or_wait(self, name, *content):
        while len(written) >= after and not go.exists():
            time.sleep(0.05)
        write(self, name, *content)
        written.append(name)

    return write_or_wait


if __name__ == "__main__":
    after, go, *words = sys.argv[1:]
    models.MODELS["tiny"] = tiny_classifier
    Results.write = pausing(Results.write, int(after), Path(go))
    sys.exit(main(words))
