"""The price of an explanation in time: each composite against the jitted gradient.

    python benchmarks/speed.py [--models vgg16 resnet50] [--batch 4] [--rounds 7] [--compiles 3]

The gradient is of the same logits, of the model as its author wrote it. Runs are interleaved in
one process, because machines are noisy: each round times the gradient and every composite once,
and the ratios of a round are compared. Tracing and compiling are timed in the same way, from empty
caches. Networks without trained weights have random ones.
"""

from __future__ import annotations

import numpy as np
from programs import GRADIENT, Program, images, machine, network, parser, programs, spread
from tqdm import tqdm


def rounds(todo: dict[str, Program], count: int, timed: str) -> dict[str, np.ndarray]:
    """Seconds by program, one figure a round."""
    times: dict[str, list[float]] = {name: [] for name in todo}
    for _ in tqdm(range(count), desc=timed, leave=False):
        for name, program in todo.items():
            times[name].append(program.seconds() if timed == "run" else program.compiled()[1])
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    """Print a table for each network."""
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--compiles", type=int, default=3, help="rounds of trace and compile")
    arguments = options.parse_args()
    print(machine())
    for name in arguments.models:
        x = images(arguments.batch, arguments.side)
        todo = programs(network(name), x, arguments.composites)
        compiling = rounds(todo, arguments.compiles, "trace and compile")
        for program in todo.values():
            program.seconds()
        running = rounds(todo, arguments.rounds, "run")
        print(f"\n{name}, batch {arguments.batch}, {arguments.side}×{arguments.side}")
        print(f"{'':21} {'run s':>8}   × gradient: min  median  max   compile s   × gradient")
        for row, seconds in running.items():
            ratios = spread(seconds / running[GRADIENT])
            compiled, whole = np.median(compiling[row]), compiling[row] / compiling[GRADIENT]
            print(
                f"{row:21} {np.median(seconds):8.3f}    {ratios}"
                f"   {compiled:9.2f}   {spread(whole)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
