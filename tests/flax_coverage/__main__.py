"""Write docs/coverage.md again: ``cd tests && python -m flax_coverage``.

Rows of layers that the installed Flax does not export are kept as they are.
"""

from __future__ import annotations

import os


def main() -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    from tqdm import tqdm

    from flax_coverage import table

    there = table.exported()
    rows = table.committed() if table.PAGE.exists() else {}
    for layer in tqdm([layer for layer in table.LAYERS if layer in there]):
        rows[layer] = table.row(layer)
    table.PAGE.write_text(table.page(rows))


if __name__ == "__main__":
    main()
