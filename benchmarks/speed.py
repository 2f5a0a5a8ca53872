"""The price of an explanation in time: each composite against the jitted gradient.

    python benchmarks/speed.py [--models vgg16 resnet50 vit_b_16] [--batch 4] [--rounds 7]

The gradient is of the same logits, of the model as its author wrote it. Runs are interleaved in
one process, because machines are noisy: each round times the gradient and every composite once,
and the ratios of a round are compared. Tracing and compiling are timed in the same way, from empty
caches. Networks without trained weights have random ones. Goals are for medians.
"""

from __future__ import annotations

import goals
import numpy as np
from programs import (
    GRADIENT,
    described,
    images,
    interleaved,
    machine,
    network,
    parser,
    programs,
    rounds,
    spread,
    usual,
)

HEADER = (
    f"{'':25} {'run s':>8}   × gradient: min  median  max   {'goal':13}"
    f"   compile s   × gradient: min  median  max   goal"
)


def main() -> None:
    """Print a table for each network."""
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--compiles", type=int, default=3, help="rounds of trace and compile")
    arguments = options.parse_args()
    print(machine())
    for name in arguments.models:
        x = images(arguments.batch, arguments.side)
        todo = programs(network(name), x, usual(name, arguments.composites))
        anew = {row: lambda p=program: p.compiled()[1] for row, program in todo.items()}
        compiling = interleaved(anew, arguments.compiles, "trace and compile")
        running = rounds(todo, arguments.rounds)
        print(f"{described(name, x)}\n{HEADER}")
        for row, seconds in running.items():
            ratios, whole = seconds / running[GRADIENT], compiling[row] / compiling[GRADIENT]
            goal = goals.verdict(np.median(ratios), goals.TIME.get((name, row)))
            to_compile = None if row == GRADIENT else goals.COMPILE
            print(
                f"{row:25} {np.median(seconds):8.3f}    {spread(ratios)}   {goal:13}"
                f"   {np.median(compiling[row]):9.2f}      {spread(whole)}"
                f"       {goals.verdict(np.median(whole), to_compile)}".rstrip(),
                flush=True,
            )


if __name__ == "__main__":
    main()
