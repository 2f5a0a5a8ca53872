"""What the benchmarks compare: a network's jitted gradient, and its explanations by composite."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

import lrpjax
from lrpjax import models, presets, rules

COMPOSITES: dict[str, Any] = {
    "epsilon": "epsilon",
    "epsilon_plus": "epsilon_plus",
    "epsilon_plus_flat": "epsilon_plus_flat",
    "gamma": rules.Gamma(0.25),
    "epsilon_gamma_box": presets.epsilon_gamma_box(-2.2, 2.7),  # of normalised pixels
    "epsilon_alpha2_beta1": "epsilon_alpha2_beta1",
}

GRADIENT = "gradient"


class Program(NamedTuple):
    """A jitted function of (weights, images), and what it is called with."""

    function: Any
    arguments: tuple[Any, ...]

    def seconds(self) -> float:
        """One warm call."""
        start = time.perf_counter()
        jax.block_until_ready(self.function(*self.arguments))
        return time.perf_counter() - start

    def compiled(self) -> tuple[Any, float]:
        """The compiled program, and the seconds that tracing and compiling it anew took."""
        jax.clear_caches()
        start = time.perf_counter()
        return self.function.lower(*self.arguments).compile(), time.perf_counter() - start


def programs(model: nnx.Module, x: jax.Array, composites: Iterable[str]) -> dict[str, Program]:
    """The gradient of the largest logits, as the author wrote the model, and the explanations.

    Weights are arguments of all of them, as users jit them.
    """
    graphdef, state = nnx.split(model)

    def gradient(weights: Any, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: nnx.merge(graphdef, weights)(x).max(-1).sum())(x)

    def explanation(composite: Any) -> Callable[[Any, jax.Array], jax.Array]:
        return lambda weights, x: lrpjax.lrp(nnx.merge(graphdef, weights), composite)(x)

    functions = {GRADIENT: gradient} | {n: explanation(COMPOSITES[n]) for n in composites}
    return {name: Program(jax.jit(f), (state, x)) for name, f in functions.items()}


def network(name: str) -> nnx.Module:
    """A network by name: with trained weights where a package has them, else random ones."""
    return (
        models.load(name).model
        if name in models.available()
        else models.build(name, rngs=nnx.Rngs(0))
    )


def images(batch: int, side: int) -> jax.Array:
    """Random pixels; what is computed doesn't depend on them."""
    return jax.random.uniform(jax.random.key(0), (batch, side, side, 3)) * 255


def parser(description: str) -> argparse.ArgumentParser:
    """The options that the benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    everything = list(models.architectures())
    parser.add_argument("--models", nargs="+", default=["vgg16", "resnet50"], choices=everything)
    parser.add_argument("--composites", nargs="+", default=list(COMPOSITES), choices=COMPOSITES)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=224, help="height and width of the images")
    return parser


def machine() -> str:
    """Where the figures come from."""
    device = jax.devices()[0]
    name = processor() if device.platform == "cpu" else device.device_kind
    return f"{name}; jax {jax.__version__}, Python {platform.python_version()}"


def processor() -> str:
    """The CPU's name and its number of cores."""
    import os

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def spread(values: Any) -> str:
    """Minimum, median and maximum."""
    return f"{np.min(values):7.2f} {np.median(values):7.2f} {np.max(values):7.2f}"
