"""Makes a failing program smaller, as long as it fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from random_programs.program import Program, Step

_replace = dataclasses.replace


def shrink(program: Program, fails: Callable[[Program], bool], budget: int = 80) -> Program:
    """The smallest program found that still fails, in at most so many trials."""
    progress = True
    while progress and budget > 0:
        progress = False
        for candidate in _smaller(program):
            budget -= 1
            if fails(candidate):
                program, progress = candidate, True
                break
            if budget <= 0:
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with one thing less: a step, an input, a rule, an option, a variation."""
    for i in reversed(range(len(program.steps))):
        yield _replace(program, steps=program.steps[:i] + program.steps[i + 1 :])
    for i, step in enumerate(program.steps):
        for simpler in _simpler(step):
            steps = (*program.steps[:i], *simpler, *program.steps[i + 1 :])
            yield _replace(program, steps=steps)
    for i in range(len(program.inputs)):
        inputs = program.inputs[:i] + program.inputs[i + 1 :]
        if any(given.explained for given in inputs):
            yield _replace(program, inputs=inputs)
    for field in dataclasses.fields(program.composite):
        nothing = {} if field.name == "layers" else None
        if getattr(program.composite, field.name) != nothing:
            composite = _replace(program.composite, **{field.name: nothing})
            yield _replace(program, composite=composite)
    plainest = Program(program.inputs, program.steps)
    for name in ("output", "batched", "weights", "target", "seed"):
        if getattr(program, name) != getattr(plainest, name):
            yield _replace(program, **{name: getattr(plainest, name)})


def _simpler(step: Step) -> Iterator[tuple[Step, ...]]:
    """What may stand in a step's place."""
    if step.body:
        yield step.body
        for i in range(len(step.body)):
            yield (_replace(step, body=step.body[:i] + step.body[i + 1 :]),)
        for i, inner in enumerate(step.body):
            for simpler in _simpler(inner):
                yield (_replace(step, body=(*step.body[:i], *simpler, *step.body[i + 1 :])),)
    if step.wrapper != "plain":
        yield (_replace(step, wrapper="plain"),)
    if step.twice:
        yield (_replace(step, twice=False),)
    for variant in {0, step.variant % 10, step.variant % 100, step.variant % 1000}:
        if variant < step.variant:
            yield (_replace(step, variant=variant),)
    if any(step.inputs):
        yield (_replace(step, inputs=tuple(range(len(step.inputs)))),)
