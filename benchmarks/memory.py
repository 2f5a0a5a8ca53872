"""The price of an explanation in memory: each composite against the gradient of the same logits.

    python benchmarks/memory.py [--models vgg16 resnet50 vit_b_16] [--batch 4]

From XLA's own analysis of the compiled programs, so exact and repeatable: temporary memory (what
is needed besides arguments and results) and all memory (weights, images and results included).
The goal is for all of it.
"""

from __future__ import annotations

import goals
from programs import GRADIENT, described, images, machine, network, parser, programs, usual

MEGABYTE = 1e6


def main() -> None:
    """Print a table for each network."""
    arguments = parser(__doc__.split("\n")[0]).parse_args()
    print(machine())
    for name in arguments.models:
        x = images(arguments.batch, arguments.side)
        todo = programs(network(name), x, usual(name, arguments.composites))
        print(described(name, x))
        print(f"{'':25} {'temporary MB':>12} × gradient   {'all MB':>8} × gradient   goal")
        reference = None
        for row, program in todo.items():
            sizes = temporary, everything = needed(program.compiled()[0])
            reference = sizes if row == GRADIENT else reference
            first, second = (size / against for size, against in zip(sizes, reference, strict=True))
            goal = goals.MEMORY.get(name, goals.MEMORY_ELSEWHERE)
            print(
                f"{row:25} {temporary:12.0f} {first:10.2f}   {everything:8.0f} {second:10.2f}"
                f"   {goals.verdict(second, None if row == GRADIENT else goal)}".rstrip(),
                flush=True,
            )


def needed(compiled: object) -> tuple[float, float]:
    """A compiled program's temporary and whole memory in megabytes."""
    analysis = compiled.memory_analysis()
    temporary = analysis.temp_size_in_bytes
    ends = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return temporary / MEGABYTE, (temporary + ends) / MEGABYTE


if __name__ == "__main__":
    main()
