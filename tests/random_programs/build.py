"""From a program as data to a function, its weights and its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from random_programs.contractions import CONTRACTIONS
from random_programs.joins import JOINS
from random_programs.pointwise import POINTWISE
from random_programs.program import Pick, Program, Step, size
from random_programs.routes import ROUTES
from random_programs.sums import SUMS
from random_programs.wrappers import WRAPPERS

UNARY = {**CONTRACTIONS, **SUMS, **POINTWISE, **ROUTES}
LARGEST = 48
VOCABULARY = 5
EXAMPLES = 2
Layer = Callable[..., Any]


class Weights:
    """Draws weights by name, once for all uses; the layers look them up in what they are given."""

    def __init__(self, seed: int, dtype: str):
        self.rng, self.dtype = np.random.default_rng(seed), jnp.dtype(dtype)
        self.values: dict[str, np.ndarray] = {}

    def __call__(self, *shape, around=0.0, scale=None, positive=False, fan_in=None):
        """The name of new weights; by default scaled by the root of what each output sums."""
        if scale is None:
            scale = 0.3 if around else 1 / np.sqrt(max(1, fan_in or size(shape[:-1])))
        noise = scale * self.rng.normal(size=shape)
        name = f"layer_{len(self.values)}/kernel"
        value = around + (np.abs(noise) if positive else noise)
        self.values[name] = np.asarray(value, self.dtype)
        return name

    @property
    def shapes(self):
        """The shapes of all weights, by name."""
        return {name: value.shape for name, value in self.values.items()}


@dataclasses.dataclass(frozen=True)
class Built:
    """A program, ready to be run.

    Attributes:
        function: takes the inputs (a batch of them, if the program is batched) and, if they are
            an argument, the weights.
        single: the same for one example.
        examples: the inputs of two examples, stacked.
        extra: what is the same for all examples: the weights, or nothing.
        argnums: the explained arguments.
        batched: as in the program.
    """

    function: Layer
    single: Layer
    examples: tuple[np.ndarray, ...]
    extra: tuple[Any, ...]
    argnums: tuple[int, ...]
    batched: bool

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the function is called with: all examples, or the first."""
        return self.of(self.examples if self.batched else tuple(a[0] for a in self.examples))

    def of(self, inputs: tuple) -> tuple[Any, ...]:
        """Inputs with what is the same for all."""
        return (*inputs, *self.extra)


def build(program: Program) -> Built:
    """The function of a program, with weights and inputs from its seed."""
    new = Weights(program.seed, program.dtype)
    shapes = [i.shape for i in program.inputs]
    embeddings = [_embedding(i.shape, new) if i.ids else None for i in program.inputs]
    shapes = [(*s, 3) if e else s for s, e in zip(shapes, embeddings, strict=True)]
    layer, last = _sequence(program.steps, shapes, new, joined=True)
    head = new(size(last), 3)

    def run(p, *xs):
        xs = [x if e is None else e(p, x) for x, e in zip(xs, embeddings, strict=True)]
        y = layer(p, *xs)
        flat = y.reshape(*y.shape[: y.ndim - len(last)], size(last))
        match program.output:
            case "array":
                return y
            case "pair":
                return {"logits": flat @ p[head], "array": y}
        return flat @ p[head]

    closed = program.weights == "closed"
    values = dict(new.values)
    function = (lambda *xs: run(values, *xs)) if closed else (lambda *a: run(a[-1], *a[:-1]))
    argnums = tuple(i for i, given in enumerate(program.inputs) if given.explained)
    return Built(
        function,
        _one_example(function, len(program.inputs)) if program.batched else function,
        _inputs(program),
        () if closed else (values,),
        argnums,
        program.batched,
    )


def _one_example(function: Layer, count: int) -> Layer:
    """A batched function on one example."""

    def single(*arguments):
        xs = [x[None] for x in arguments[:count]]
        return jax.tree.map(lambda y: y[0], function(*xs, *arguments[count:]))

    return single


def _inputs(program: Program) -> tuple[np.ndarray, ...]:
    """Two examples of every input, stacked, from the program's seed."""
    rng = np.random.default_rng((program.seed, 1))
    return tuple(
        rng.integers(0, VOCABULARY, size=(EXAMPLES, *i.shape)).astype(np.int32)
        if i.ids
        else rng.normal(size=(EXAMPLES, *i.shape)).astype(jnp.dtype(program.dtype))
        for i in program.inputs
    )


def _embedding(shape, new):
    table = new(VOCABULARY, 3, fan_in=1)
    return lambda p, ids: jnp.asarray(p[table])[ids]


# ---------------------------------------------------------------- steps


def _sequence(steps, shapes, new, joined=False):
    """The layer of some steps on some values, and its result's shape.

    With ``joined``, a value that nothing reads is added to the result, so that every input counts.
    """
    shapes, layers, read = list(shapes), [], set()
    for step in steps:
        sources = [len(shapes) - 1 - i % len(shapes) for i in step.inputs]
        made = _layer(step, [shapes[i] for i in sources], new)
        if made is not None:
            layer, after = made
            layers.append((sources, layer))
            shapes.append(after)
            read.update(sources)
    loose = [i for i in range(len(shapes) - 1) if i not in read] if joined else []
    last = shapes[-1]

    def run(p, *xs):
        values = list(xs)
        for sources, layer in layers:
            values.append(layer(p, *(values[i] for i in sources)))
        y = values[-1]
        for i in loose:
            y = y + fitted(values[i], shapes[i], last)
        return y

    return run, last


def _layer(step: Step, shapes: list, new: Weights):
    """The layer of one step and its result's shape; None where it doesn't fit."""
    pick = Pick(step.variant)
    if step.operation == "block":
        layer = _block(step, shapes[0], new, pick)
    elif step.operation in JOINS:
        layer = _join(step, shapes, new, pick)
    elif step.wrapper == "vmap":
        layer = _mapped(step, shapes[0], new, pick)
    else:
        layer = UNARY[step.operation](shapes[0], pick, new)
    if layer is None:
        return None
    after = _shape(layer, shapes, new)
    if after is None:
        return None
    layer = WRAPPERS.get(step.wrapper, WRAPPERS["plain"])(layer)
    if step.twice and len(shapes) == 1 and after == shapes[0]:
        once = layer
        layer = lambda p, x: once(p, once(p, x))
    return layer, after


def _shape(layer: Layer, shapes: list, new: Weights):
    """The shape of a layer's result on one example, or None for one too large or empty."""
    values = [jax.ShapeDtypeStruct(s, new.dtype) for s in shapes]
    after = jax.eval_shape(layer, new.values, *values).shape
    return after if 0 < size(after) <= LARGEST and 1 <= len(after) <= 4 else None


def _block(step: Step, shape, new: Weights, pick: Pick):
    """Several steps as one, with or without a residual connection."""
    inner, after = _sequence(step.body, [shape], new)
    residual = pick(["none", "added", "scaled"])
    if residual == "none":
        return inner
    factor = 1.0 if residual == "added" else 0.5
    return lambda p, x: fitted(x, shape, after) + factor * inner(p, x)


def _join(step: Step, shapes: list, new: Weights, pick: Pick):
    """A join of the first value and the second, brought to the first one's shape."""
    if len(shapes) < 2:
        return None
    join = JOINS[step.operation](shapes[0], pick, new)
    return lambda p, x, y: join(p, x, fitted(y, shapes[1], shapes[0]))


def _mapped(step: Step, shape, new: Weights, pick: Pick):
    """An operation on each slice of the first axis of an example."""
    if len(shape) < 2:
        return None
    layer = UNARY[step.operation](shape[1:], pick, new)
    if layer is None:
        return None
    after = _shape(layer, [shape[1:]], new)
    if after is None:
        return None
    axis, out = -len(shape), -len(after) - 1
    return jax.vmap(layer, in_axes=(None, axis), out_axes=out)


def fitted(x, shape, target):
    """A value of one example's shape brought to another: flattened, cut or padded, and shaped."""
    if shape == target:
        return x
    lead = x.shape[: x.ndim - len(shape)]
    flat, n = x.reshape(*lead, size(shape)), size(target)
    if size(shape) < n:
        flat = jnp.pad(flat, [(0, 0)] * len(lead) + [(0, n - size(shape))])
    return flat[..., :n].reshape(*lead, *target)
