"""``python -m lrpjax.cli`` is the command ``lrpjax``."""

import sys

from lrpjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
