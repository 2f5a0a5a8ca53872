"""Draws random programs, from Hypothesis's source of randomness or from a seed's."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from random_programs.composites import draw_composite
from random_programs.program import Input, Program, Step

#: How often each operation is drawn, against the others.
WEIGHTS = {
    "matmul": 4,
    "dense": 4,
    "convolution": 9,
    "transposed_convolution": 2,
    "mapped_weights": 1,
    "as_kernel": 1,
    "activation": 7,
    "primitive": 3,
    "with_array": 1,
    "two_results": 1,
    "reduction": 1,
    "cumulative_sum": 1,
    "average_pool": 1,
    "max_pool": 2,
    "maximum": 2,
    "resize": 1,
    "scale_shift": 3,
    "reshape": 3,
    "part": 2,
    "pad": 2,
    "gather": 2,
    "copies": 2,
    "constant_mask": 1,
    "stopped": 2,
}
_UNARY = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
_JOINS = ["add", "add", "add", "concatenate", "concatenate", "larger", "selected"]
_FORMS = ["operation"] * 12 + ["join"] * 4 + ["block"] * 3
_WRAPPERS = ["plain"] * 9 + [
    "jit",
    "jit",
    "remat",
    "remat",
    "vmap",
    "vmap",
    "jit in jit",
    "jit in remat",
    "remat with a policy",
    "scope",
    "custom_jvp",
    "custom_vjp",
]
SHAPES = [(4,), (6,), (2, 3), (4, 3), (6, 2), (4, 4, 2), (4, 3, 2), (2, 3, 4), (3, 2, 2, 2)]
_VARIANTS = 100_000


def draw_program(rng: random.Random, *, dtypes=("float64", "float32")) -> Program:
    """A program of one to three inputs and one to seven steps."""
    shape = rng.choice(SHAPES)
    inputs = [Input(shape)]
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        ids = rng.choice([False, False, False, True])
        inputs.append(
            Input(rng.choice([(3,), (2, 2)]) if ids else rng.choice([shape, *SHAPES]), ids)
        )
    explained = [rng.choice([True, True, False]) for _ in inputs]
    explained[0] = explained[0] or not any(explained)
    output = rng.choice(["logits"] * 4 + ["array", "pair"])
    targets = ["all outputs"] * 3 + ["largest", "one hot", "index", "start of one's own"]
    return Program(
        inputs=tuple(Input(i.shape, i.ids, e) for i, e in zip(inputs, explained, strict=True)),
        steps=tuple(_step(rng, deep=True) for _ in range(rng.choice(range(1, 8)))),
        output=output,
        batched=rng.choice([False, False, True]),
        weights=rng.choice(["closed", "argument"]),
        dtype=rng.choice(dtypes),
        composite=draw_composite(rng),
        target="all outputs" if output == "pair" else rng.choice(targets),
        seed=rng.choice(range(10_000)),
    )


def _step(rng: random.Random, deep: bool) -> Step:
    """A step; a block holds one to three of its own."""
    form = rng.choice(_FORMS) if deep else "operation"
    variant, wrapper = rng.choice(range(_VARIANTS)), rng.choice(_WRAPPERS)
    if form == "join":
        return Step(rng.choice(_JOINS), variant, (_back(rng), 1 + _back(rng)), wrapper)
    twice = rng.choice([False, False, False, True])
    if form == "block":
        body = tuple(_step(rng, deep=False) for _ in range(rng.choice([2, 1, 3])))
        return Step("block", variant, (_back(rng),), wrapper, twice, body)
    return Step(rng.choice(_UNARY), variant, (_back(rng),), wrapper, twice)


def _back(rng: random.Random) -> int:
    """Which earlier value: mostly the latest."""
    return rng.choice([0, 0, 0, 0, 1, 2])


def from_seed(seed: int) -> Program:
    """The program of a seed."""
    return draw_program(random.Random(seed))


def programs(**options) -> st.SearchStrategy[Program]:
    """Strategy: programs that Hypothesis draws, and makes smaller when one fails."""
    return st.randoms(use_true_random=False).map(lambda rng: draw_program(rng, **options))
