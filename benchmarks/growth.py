"""How the price of an explanation grows: time, memory and compiling against the gradient's.

    python benchmarks/growth.py [--tables batch side depth scan classes compile compile_scan]

Each table varies one size. Runs of one size are interleaved and the ratios of a round compared;
memory is XLA's count of what a program needs besides arguments and results. "× first" is the median
against that of the table's first size.

batch, side: a network against the number of its images, and against their height and width.
depth, scan: residual convolutions, written one after another and as one `jax.lax.scan`.
classes: a network's classes explained at once, one forward pass and `jax.vmap` of what `lrp_vjp`
    returns (the gradient: of what `jax.vjp` returns), and by calls one after another ("singly").
compile, compile_scan: the residual convolutions again, from empty caches: `lrpjax.plan` alone,
    tracing (for an explanation that includes the plan and the rewriting), compiling.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from memory import needed
from programs import (
    COMPOSITES,
    GRADIENT,
    Program,
    compiled,
    images,
    interleaved,
    machine,
    network,
    programs,
    rounds,
    spread,
)

import lrpjax

#: Of the residual convolutions: features, height and width, images, and how much a layer adds.
FEATURES, SIDE, BATCH, STEP = 16, 16, 4, 0.1

Function = Callable[..., Any]


def by_batch(options: argparse.Namespace, size: int) -> dict[str, Program]:
    return programs(network(options.model), images(size, options.side), options.composites)


def by_side(options: argparse.Namespace, size: int) -> dict[str, Program]:
    return programs(network(options.model), images(options.batch, size), options.composites)


def by_depth(options: argparse.Namespace, size: int) -> dict[str, Program]:
    kernels, x = residual(size)
    return on_function(written_out, list(kernels), x, options.composites)


def by_scan(options: argparse.Namespace, size: int) -> dict[str, Program]:
    return on_function(scanned, *residual(size), options.composites)


def by_classes(options: argparse.Namespace, size: int) -> dict[str, Program]:
    """All classes at once, and one after another."""
    model = network(options.model)
    graphdef, state = nnx.split(model)
    x = images(1, options.side)

    def gradients(weights: Any, x: jax.Array, classes: jax.Array) -> jax.Array:
        logits, pull = jax.vjp(nnx.merge(graphdef, weights), x)
        return jax.vmap(pull)(jax.nn.one_hot(classes, logits.shape[-1])[:, None])[0]

    def explanations(composite: Any) -> Function:
        def explain(weights: Any, x: jax.Array, classes: jax.Array) -> jax.Array:
            model = nnx.merge(graphdef, weights)
            return jax.vmap(lrpjax.lrp_vjp(model, composite, x)[1])(classes)

        return explain

    functions = {GRADIENT: gradients} | {
        name: explanations(COMPOSITES[name]) for name in options.composites
    }
    at_once = {n: Program(jax.jit(f), (state, x, jnp.arange(size))) for n, f in functions.items()}
    alone = programs(model, x, options.composites, target=jnp.zeros(1, int))
    return at_once | {f"{n}, singly": p._replace(calls=size) for n, p in alone.items()}


def residual(depth: int) -> tuple[jax.Array, jax.Array]:
    """Kernels ``[depth, 3, 3, features, features]`` and images."""
    generator = np.random.default_rng(0)
    kernels = generator.standard_normal((depth, 3, 3, FEATURES, FEATURES), np.float32)
    x = generator.standard_normal((BATCH, SIDE, SIDE, FEATURES), np.float32)
    return jnp.asarray(kernels * np.float32(np.sqrt(2 / (9 * FEATURES)))), jnp.asarray(x)


def layer(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x + STEP * jax.nn.relu(
        jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )


def written_out(kernels: list[jax.Array], x: jax.Array) -> jax.Array:
    for kernel in kernels:
        x = layer(x, kernel)
    return x.mean((1, 2))


def scanned(kernels: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.scan(lambda x, kernel: (layer(x, kernel), None), x, kernels)[0].mean((1, 2))


def on_function(fun: Function, weights: Any, x: Any, composites: list[str]) -> dict[str, Program]:
    """The gradient of a function's largest outputs, and its explanations."""

    def gradient(weights: Any, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: fun(weights, x).max(-1).sum())(x)

    functions = {GRADIENT: gradient} | {
        name: lrpjax.lrp(fun, COMPOSITES[name], argnums=1) for name in composites
    }
    return {name: Program(jax.jit(f), (weights, x)) for name, f in functions.items()}


class Table(NamedTuple):
    """What varies, the programs of a size, the sizes, and whether compiling is measured."""

    programs: Callable[[argparse.Namespace, int], dict[str, Program]]
    sizes: tuple[int, ...]
    compiling: Function | None = None


_DEPTHS = (8, 16, 32, 64, 128)
TABLES = {
    "batch": Table(by_batch, (1, 2, 4, 8, 16, 32)),
    "side": Table(by_side, (64, 112, 224, 320, 448)),
    "depth": Table(by_depth, _DEPTHS),
    "scan": Table(by_scan, _DEPTHS),
    "classes": Table(by_classes, (1, 3, 10, 30, 100)),
    "compile": Table(by_depth, _DEPTHS, written_out),
    "compile_scan": Table(by_scan, _DEPTHS, scanned),
}
RUN_HEADER = (
    f"{'':6} {'':26} {'run s':>8}   × gradient: min  median  max   × first"
    f"   temporary MB × gradient × first"
)
COMPILE_HEADER = (
    f"{'':6} {'':26} {'plan s':>8} {'trace s':>8} {'compile s':>9} {'all s':>8}"
    f"   × gradient: min  median  max   × first"
)


def run_rows(table: Table, options: argparse.Namespace) -> None:
    """Time and memory of each size."""
    first: dict[str, tuple[float, float]] = {}
    for size in options.sizes or table.sizes:
        todo = compiled(table.programs(options, size))
        memory = {name: needed(program.function)[0] for name, program in todo.items()}
        seconds = rounds(todo, options.rounds)
        for name, values in seconds.items():
            time_, space = np.median(values), memory[name]
            first.setdefault(name, (time_, space))
            print(
                f"{size:6} {name:26} {time_:8.4f}     {spread(values / seconds[GRADIENT])}"
                f"   {time_ / first[name][0]:7.2f}   {space:12.2f} {space / memory[GRADIENT]:10.2f}"
                f" {space / first[name][1]:7.2f}",
                flush=True,
            )


def compile_rows(table: Table, options: argparse.Namespace) -> None:
    """What goes before the first run, for each size."""
    first: dict[str, float] = {}
    for size in options.sizes or table.sizes:
        todo = table.programs(options, size)
        measured = {
            name: lambda n=name, p=p: stages(n, p, table.compiling) for name, p in todo.items()
        }
        found = interleaved(measured, options.rounds, "compile")
        whole = {name: values[:, 1:].sum(1) for name, values in found.items()}
        for name, values in found.items():
            every = np.median(whole[name])
            first.setdefault(name, every)
            planned, traced, built = np.median(values, 0)
            print(
                f"{size:6} {name:26} {planned:8.3f} {traced:8.3f} {built:9.3f} {every:8.3f}"
                f"     {spread(whole[name] / whole[GRADIENT])}   {every / first[name]:7.2f}",
                flush=True,
            )


def stages(name: str, program: Program, fun: Function) -> tuple[float, float, float]:
    """Seconds of planning alone, of tracing and of compiling, each from empty caches."""
    planned = 0.0
    if name != GRADIENT:
        jax.clear_caches()
        start = time.perf_counter()
        lrpjax.plan(fun, COMPOSITES[name], *program.arguments, argnums=1)
        planned = time.perf_counter() - start
    jax.clear_caches()
    start = time.perf_counter()
    traced = program.function.trace(*program.arguments)
    between = time.perf_counter()
    traced.lower().compile()
    return planned, between - start, time.perf_counter() - between


def conditions(name: str, options: argparse.Namespace) -> str:
    """What stays the same in a table; `figures.py` reads the first word."""
    square = f"{options.side}×{options.side}"
    of_network = {
        "batch": f"{options.model}, {square}",
        "side": f"{options.model}, batch {options.batch}",
        "classes": f"{options.model}, one image, {square}",
    }
    layers = f"residual convolutions, {FEATURES} features, batch {BATCH}, {SIDE}×{SIDE}"
    return f"\n{name}: {of_network.get(name, layers)}"


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    options.add_argument("--sizes", nargs="+", type=int, help="in place of a table's own")
    options.add_argument("--model", default="resnet18")
    options.add_argument("--composites", nargs="+", default=["epsilon", "epsilon_plus_flat"])
    options.add_argument("--batch", type=int, default=1, help="where the side varies")
    options.add_argument("--side", type=int, default=224, help="where it doesn't vary")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    print(machine())
    for name in arguments.tables:
        table = TABLES[name]
        print(conditions(name, arguments))
        print(COMPILE_HEADER if table.compiling else RUN_HEADER)
        (compile_rows if table.compiling else run_rows)(table, arguments)


if __name__ == "__main__":
    main()
