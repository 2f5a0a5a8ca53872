"""The price of an explanation: each preset against the jitted gradient of the same logits.

    python benchmarks/speed.py [--model efficientnet_lite0] [--batch 4] [--rounds 7]

Runs are interleaved in one process, because machines are noisy: each round times the gradient and
every composite once, and the ratios of a round are compared. Prints min, median and max of the
ratios, and what the first call (trace and compile) took.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

import lrpjax
from lrpjax import models, presets, rules

COMPOSITES = {
    "epsilon": "epsilon",
    "epsilon_plus": "epsilon_plus",
    "epsilon_plus_flat": "epsilon_plus_flat",
    "gamma": rules.Gamma(0.25),
    "epsilon_gamma_box": presets.epsilon_gamma_box(-127 / 128, 1.0),
    "epsilon_alpha2_beta1": "epsilon_alpha2_beta1",
}


def gradient_of(model: nnx.Module) -> Callable:
    """The jitted gradient of the largest logits, weights as arguments, as the author wrote it."""
    graphdef, state = nnx.split(model)

    @jax.jit
    def gradient(weights, x):
        return jax.grad(lambda x: nnx.merge(graphdef, weights)(x).max(-1).sum())(x)

    return lambda x: gradient(state, x)


def seconds(function: Callable, x: jax.Array) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(x))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="efficientnet_lite0", choices=models.available())
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    classifier = models.load(arguments.model)
    side = classifier.image_size
    x = jax.random.uniform(jax.random.key(0), (arguments.batch, side, side, 3)) * 255
    functions = {"gradient": gradient_of(classifier.model)}
    functions |= {name: lrpjax.lrp(classifier.model, c) for name, c in COMPOSITES.items()}

    first = {name: seconds(function, x) for name, function in functions.items()}
    times = {name: [] for name in functions}
    for _ in range(arguments.rounds):
        for name, function in functions.items():
            times[name].append(seconds(function, x))

    print(f"{arguments.model}, batch {arguments.batch}, {side}×{side}, {jax.devices()[0]}")
    print(f"jax {jax.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"{'':22} first call s   median s   × gradient: min  median  max")
    for name, values in times.items():
        ratios = np.divide(values, times["gradient"])
        spread = f"{ratios.min():15.2f} {np.median(ratios):7.2f} {ratios.max():5.2f}"
        print(f"{name:22} {first[name]:12.1f} {np.median(values):10.3f} {spread}")


if __name__ == "__main__":
    main()
