"""How near an explanation comes to its limit: work counted, against the gradient's.

    python benchmarks/limit.py [--models vgg16 resnet50 vit_b_16] [--batch 4]

From XLA's cost analysis of the compiled programs and from their optimised text, so exact and
repeatable: floating-point operations, bytes that the operations read and write, convolutions and
matrix products. A convolution whose windows don't overlap (1×1, say) is a product in an explanation
and a convolution in the gradient, so it is their sum that compares. Where time × gradient
(`speed.py`) stands above the operations' ratio, it is not arithmetic that is waited for.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from programs import GRADIENT, described, images, machine, network, parser, programs, usual

#: Operations by the names that they have in optimised programs: XLA's own, and the libraries that
#: it calls instead.
CONVOLUTION = re.compile(r" convolution\(|custom_call_target=\"[^\"]*conv", re.IGNORECASE)
PRODUCT = re.compile(r" dot\(|custom_call_target=\"[^\"]*(?:gemm|matmul|dot)", re.IGNORECASE)


class Work(NamedTuple):
    """What a compiled program does.

    Attributes:
        operations: Floating-point operations.
        bytes: What the operations read and write in all.
        convolutions: Their number in the optimised program; those in a loop count once.
        products: The number of matrix products.
    """

    operations: float
    bytes: float
    convolutions: int
    products: int


def work(compiled: Any) -> Work:
    """Counts the work of a compiled program."""
    analysis, text = compiled.cost_analysis(), compiled.as_text()
    return Work(
        analysis["flops"],
        analysis["bytes accessed"],
        len(CONVOLUTION.findall(text)),
        len(PRODUCT.findall(text)),
    )


HEADER = (
    f"{'':25} {'Gflop':>8} × gradient   {'Gbyte':>7} × gradient"
    f"   convolutions  products  sum × gradient"
)


def row(name: str, found: Work, gradient: Work) -> str:
    """One line of a table."""
    applied, against = (w.convolutions + w.products for w in (found, gradient))
    return (
        f"{name:25} {found.operations / 1e9:8.2f} {found.operations / gradient.operations:10.2f}"
        f"   {found.bytes / 1e9:7.2f} {found.bytes / gradient.bytes:10.2f}"
        f"   {found.convolutions:12} {found.products:9} {applied / against:15.2f}"
    )


def main() -> None:
    """Print a table for each network."""
    arguments = parser(__doc__.split("\n")[0]).parse_args()
    print(machine())
    for name in arguments.models:
        x = images(arguments.batch, arguments.side)
        todo = programs(network(name), x, usual(name, arguments.composites))
        print(f"{described(name, x)}\n{HEADER}")
        gradient = work(todo[GRADIENT].compiled()[0])
        for label, program in todo.items():
            found = gradient if label == GRADIENT else work(program.compiled()[0])
            print(row(label, found, gradient), flush=True)


if __name__ == "__main__":
    main()
