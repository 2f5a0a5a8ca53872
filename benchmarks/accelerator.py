"""An accelerator's figures: time, share of its peak, and what fewer bits cost in accuracy.

    python benchmarks/accelerator.py [--models resnet50 vit_b_16] [--batch 64] [--rounds 10]

For each network three settings: float32 products in full (`highest`), float32 products in TF32
(JAX's own choice on NVIDIA GPUs since Ampere), and bfloat16 weights and images. Accuracy is the
relative L2 distance of each heatmap, and the cosine of the angle, to the one computed in float64 on
the CPU for the same class, medians over images; bfloat16's includes the rounding of the weights.
The gradient's stand beside them, because some of it is lost in the network itself.

Floating-point operations are those that XLA counts in the float32 program optimised for the CPU,
whatever device runs: libraries that a GPU calls instead aren't counted there. The peak is the
maker's figure for dense products in the setting's type. On a CPU the script runs too, without TF32,
which changes nothing there, and without a peak.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from memory import needed
from programs import (
    GRADIENT,
    Program,
    compiled,
    described,
    images,
    machine,
    network,
    parser,
    programs,
    rounds,
    usual,
)


class Setting(NamedTuple):
    """How numbers are held and multiplied: `precision` is `jax.default_matmul_precision`'s."""

    dtype: Any
    precision: str


SETTINGS = {
    "float32": Setting(jnp.float32, "highest"),
    "tf32": Setting(jnp.float32, "tensorfloat32"),
    "bfloat16": Setting(jnp.bfloat16, "default"),
}

#: Tflop/s of dense products by the name of the device, from NVIDIA's data sheets: float32 outside
#: the tensor cores, then TF32 and bfloat16 inside them; None where a device has no such unit.
PEAKS: dict[str, tuple[float | None, ...]] = {
    "H200": (66.9, 494.7, 989.4),
    "H100 80GB HBM3": (66.9, 494.7, 989.4),
    "H100 PCIe": (51.2, 378, 756),
    "A100": (19.5, 156, 312),
    "A40": (37.4, 74.8, 149.7),
    "A30": (10.3, 82, 165),
    "A10": (31.2, 62.5, 125),
    "L40S": (91.6, 183, 362),
    "L4": (30.3, 60, 121),
    "V100-SXM2": (15.7, None, None),
    "T4": (8.1, None, None),
}


def settings() -> dict[str, Setting]:
    """The settings that differ on this machine's device."""
    on_cpu = jax.devices()[0].platform == "cpu"
    return {name: s for name, s in SETTINGS.items() if not (on_cpu and name == "tf32")}


def peaks(kind: str) -> dict[str, float | None]:
    """Tflop/s by setting of a device, as `device_kind` names it; none for an unknown one."""
    found = [values for name, values in PEAKS.items() if re.search(rf"\b{name}\b", kind)]
    return dict(zip(SETTINGS, found[0], strict=True)) if found else {}


def converted(model: nnx.Module, dtype: Any) -> nnx.Module:
    """The model with its floating-point weights in another type."""
    graphdef, state = nnx.split(model)

    def cast(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return nnx.merge(graphdef, jax.tree.map(cast, state))


def heatmaps(todo: dict[str, Program]) -> dict[str, np.ndarray]:
    """What the programs return, in float64."""
    return {n: np.asarray(p.function(*p.arguments), np.float64) for n, p in todo.items()}


def reference(
    model: nnx.Module, x: jax.Array, composites: Iterable[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The largest logits' classes, and the heatmaps of them in float64 on the CPU."""
    cpu = jax.devices("cpu")[0]
    with jax.enable_x64(True), jax.default_device(cpu):
        x = jax.device_put(x, cpu).astype(jnp.float64)
        graphdef, state = nnx.split(model)
        exact = converted(nnx.merge(graphdef, jax.device_put(state, cpu)), jnp.float64)
        classes = np.asarray(exact(x).argmax(-1))
        return classes, heatmaps(programs(exact, x, composites, classes))


def accuracy(model: nnx.Module, x: jax.Array, composites: list[str]) -> None:
    """Prints each setting's distance to float64."""
    classes, exact = reference(model, x, composites)
    found = {}
    for name, setting in settings().items():
        with jax.default_matmul_precision(setting.precision):
            cast = converted(model, setting.dtype), x.astype(setting.dtype)
            found[name] = heatmaps(programs(*cast, composites, classes))
    print(
        f"{'accuracy against float64':25}" + "".join(f" {n + ': L2':>14}   cosine" for n in found)
    )
    for row, values in exact.items():
        columns = (distance(maps[row], values) for maps in found.values())
        print(f"{row:25}" + "".join(f" {away:14.2e} {cosine:8.5f}" for away, cosine in columns))


def distance(found: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """The relative L2 distance and the cosine, medians over the images."""
    found, exact = (values.reshape(len(values), -1) for values in (found, exact))
    lengths = np.linalg.norm(found, axis=1), np.linalg.norm(exact, axis=1)
    away = np.linalg.norm(found - exact, axis=1) / lengths[1]
    return np.median(away), np.median((found * exact).sum(1) / (lengths[0] * lengths[1]))


def operations(program: Program) -> float:
    """Floating-point operations of a program, as XLA optimises it for the CPU."""
    place = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), program.arguments
    )
    return program.function.lower(*shapes).compile().cost_analysis()["flops"]


def speed(model: nnx.Module, x: jax.Array, composites: list[str], count: int) -> None:
    """Prints each setting's time, and its share of the peak."""
    top = peaks(jax.devices()[0].device_kind)
    work = {name: operations(p) for name, p in programs(model, x, composites).items()}
    print(
        f"{'time':25} {'setting':9} {'ms/image':>9} {'images/s':>9} × gradient"
        f"   {'Gflop/image':>11} {'Tflop/s':>8} {'of peak':>8}   temporary MB"
    )
    for name, setting in settings().items():
        with jax.default_matmul_precision(setting.precision):
            cast = converted(model, setting.dtype), x.astype(setting.dtype)
            todo = compiled(programs(*cast, composites))
            seconds = rounds(todo, count)
        for row, values in seconds.items():
            one = np.median(values) / len(x)
            rate = work[row] / np.median(values) / 1e12
            share = f"{rate / top[name]:8.1%}" if top.get(name) else f"{'—':>8}"
            print(
                f"{row:25} {name:9} {1e3 * one:9.3f} {1 / one:9.1f}"
                f" {np.median(values / seconds[GRADIENT]):10.2f}   {work[row] / len(x) / 1e9:11.2f}"
                f" {rate:8.3f} {share}   {needed(todo[row].function)[0]:12.1f}",
                flush=True,
            )


def about_device() -> str:
    """What there is to know of the device before its figures."""
    device = jax.devices()[0]
    known = peaks(device.device_kind)
    shown = ", ".join(f"{n} {v:g} Tflop/s" for n, v in known.items() if v)
    lines = [machine(), f"peak: {shown or f'not known for {device.device_kind!r}'}"]
    if device.platform == "cpu":
        lines.append("TF32 has no effect on a CPU and is left out.")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    """The options."""
    options = parser(__doc__.split("\n")[0])
    options.set_defaults(batch=64)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--images", type=int, default=4, help="images that accuracy is taken on")
    options.add_argument("--only", choices=["accuracy", "time"], help="one of the two tables")
    return options.parse_args()


def main() -> None:
    """Print two tables for each network."""
    arguments = parsed()
    print(about_device())
    for name in arguments.models:
        model, composites = network(name), usual(name, arguments.composites)
        if arguments.only != "time":
            x = images(arguments.images, arguments.side)
            print(described(name, x))
            accuracy(model, x, composites)
        if arguments.only != "accuracy":
            x = images(arguments.batch, arguments.side)
            print(described(name, x))
            speed(model, x, composites, arguments.rounds)


if __name__ == "__main__":
    main()
