"""The price of an explanation in memory: each composite against the gradient of the same logits.

    python benchmarks/memory.py [--models vgg16 resnet50] [--batch 4]

From XLA's own analysis of the compiled programs, so exact and repeatable: temporary memory (what
is needed besides arguments and results) and all memory (weights, images and results included).
"""

from __future__ import annotations

from programs import GRADIENT, images, machine, network, parser, programs

MEGABYTE = 1e6


def main() -> None:
    """Print a table for each network."""
    arguments = parser(__doc__.split("\n")[0]).parse_args()
    print(machine())
    for name in arguments.models:
        x = images(arguments.batch, arguments.side)
        todo = programs(network(name), x, arguments.composites)
        print(f"\n{name}, batch {arguments.batch}, {arguments.side}×{arguments.side}")
        print(f"{'':21} {'temporary MB':>12} × gradient   {'all MB':>8} × gradient")
        reference = None
        for row, program in todo.items():
            analysis = program.compiled()[0].memory_analysis()
            temporary = analysis.temp_size_in_bytes
            ends = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
            sizes = temporary, temporary + ends
            reference = sizes if row == GRADIENT else reference
            temporary, everything = (size / MEGABYTE for size in sizes)
            first, second = (size / against for size, against in zip(sizes, reference, strict=True))
            figures = f"{temporary:12.0f} {first:10.2f}   {everything:8.0f} {second:10.2f}"
            print(f"{row:21} {figures}", flush=True)


if __name__ == "__main__":
    main()
