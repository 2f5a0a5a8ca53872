"""What the benchmarks compare: a network's jitted gradient, and its explanations by composite."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

import lrpjax
from lrpjax import models, presets, rules

CONVOLUTIONAL: dict[str, Any] = {
    "epsilon": "epsilon",
    "epsilon_plus": "epsilon_plus",
    "epsilon_plus_flat": "epsilon_plus_flat",
    "gamma": rules.Gamma(0.25),
    "epsilon_gamma_box": presets.epsilon_gamma_box(-2.2, 2.7),  # of normalised pixels
    "epsilon_alpha2_beta1": "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat": "epsilon_alpha2_beta1_flat",
    "excitation_backprop": "excitation_backprop",
    "lrp_cmp": "lrp_cmp",
    "deep_taylor": presets.deep_taylor(-2.2, 2.7),
}
TRANSFORMER: dict[str, Any] = {
    "default": "default",
    "epsilon": "epsilon",
    "attn_lrp": "attn_lrp",
    "cp_lrp": "cp_lrp",
    "attn_lrp_gamma": presets.attn_lrp(0.25),
    "cp_lrp_gamma": presets.cp_lrp(0.25),
}
COMPOSITES = CONVOLUTIONAL | TRANSFORMER
TRANSFORMERS = ("vit_b_16", "cifar10_vit")
NETWORKS = ("vgg16", "resnet50", "vit_b_16")

GRADIENT = "gradient"


class Program(NamedTuple):
    """A jitted function of (weights, images), and what it is called with.

    Attributes:
        function: The jitted function.
        arguments: What it is called with.
        calls: How many calls are timed as one.
    """

    function: Any
    arguments: tuple[Any, ...]
    calls: int = 1

    def seconds(self) -> float:
        """One warm run."""
        start = time.perf_counter()
        for _ in range(self.calls):
            jax.block_until_ready(self.function(*self.arguments))
        return time.perf_counter() - start

    def compiled(self) -> tuple[Any, float]:
        """The compiled program, and the seconds that tracing and compiling it anew took."""
        jax.clear_caches()
        start = time.perf_counter()
        return self.function.lower(*self.arguments).compile(), time.perf_counter() - start


def programs(
    model: nnx.Module, x: jax.Array, composites: Iterable[str], target: Any = None
) -> dict[str, Program]:
    """The gradient of the logits, as the author wrote the model, and the explanations.

    Weights are arguments of all of them, as users jit them.

    Args:
        model: From images to logits.
        x: The images.
        composites: Names from `COMPOSITES`.
        target: The class of each image; None for the largest logits.
    """
    graphdef, state = nnx.split(model)

    def gradient(weights: Any, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: _explained(nnx.merge(graphdef, weights)(x), target).sum())(x)

    def explanation(composite: Any) -> Callable[[Any, jax.Array], jax.Array]:
        return lambda weights, x: lrpjax.lrp(nnx.merge(graphdef, weights), composite)(
            x, target=target
        )

    functions = {GRADIENT: gradient} | {n: explanation(COMPOSITES[n]) for n in composites}
    return {name: Program(jax.jit(f), (state, x)) for name, f in functions.items()}


def _explained(logits: jax.Array, target: Any) -> jax.Array:
    """The logits that are explained, one for each image."""
    if target is None:
        return logits.max(-1)
    return jnp.take_along_axis(logits, jnp.asarray(target)[:, None], -1)


def compiled(todo: dict[str, Program]) -> dict[str, Program]:
    """The programs with their functions compiled."""
    return {name: p._replace(function=p.compiled()[0]) for name, p in todo.items()}


def rounds(todo: dict[str, Program], count: int) -> dict[str, np.ndarray]:
    """Seconds by program, one warm run of each in every round."""
    for program in todo.values():
        jax.block_until_ready(program.function(*program.arguments))
    return interleaved({name: program.seconds for name, program in todo.items()}, count, "run")


def interleaved(
    todo: dict[str, Callable[[], Any]], count: int, description: str
) -> dict[str, np.ndarray]:
    """What each function returns, one figure (or row of figures) a round, all in every round."""
    found: dict[str, list[Any]] = {name: [] for name in todo}
    for _ in tqdm(range(count), desc=description, leave=False):
        for name, measure in todo.items():
            found[name].append(measure())
    return {name: np.array(values) for name, values in found.items()}


def network(name: str) -> nnx.Module:
    """A network by name: with trained weights where a package has them, else random ones."""
    return (
        models.load(name).model
        if name in models.available()
        else models.build(name, rngs=nnx.Rngs(0))
    )


def images(batch: int, side: int) -> jax.Array:
    """Random pixels, in whole numbers as pictures have them; the cost doesn't depend on them."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3))
    return jnp.asarray(pixels, jnp.float32)


def usual(name: str, chosen: Iterable[str] | None) -> list[str]:
    """The composites that a network of this name is explained with, less those not chosen."""
    fitting = TRANSFORMER if name in TRANSFORMERS else CONVOLUTIONAL
    return [composite for composite in fitting if chosen is None or composite in chosen]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that the benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    everything = list(models.architectures())
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), choices=everything)
    parser.add_argument(
        "--composites",
        nargs="+",
        choices=COMPOSITES,
        help="of those that are usual for a network; by default all",
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=224, help="height and width of the images")
    return parser


def described(name: str, x: jax.Array) -> str:
    """The line above a network's table; `figures.py` reads it."""
    batch, height, width = x.shape[:3]
    return f"\n{name}, batch {batch}, {height}×{width}"


def machine() -> str:
    """Where the figures come from."""
    device = jax.devices()[0]
    name = processor() if device.platform == "cpu" else device.device_kind
    return f"{name}; jax {jax.__version__}, Python {platform.python_version()}"


def processor() -> str:
    """The CPU's name and its number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.processor()}, {cores} cores"


def spread(values: Any) -> str:
    """Minimum, median and maximum."""
    return f"{np.min(values):7.2f} {np.median(values):7.2f} {np.max(values):7.2f}"
