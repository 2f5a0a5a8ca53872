"""Child regions, rebuilt through the public functions: remat, loops, branches.

Their parameters are never bound again, which changed between versions; what an author set (a
policy, a direction, an unrolling) is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax

from lrpjax import _compat
from lrpjax.plan.units import Child, Program
from lrpjax.primitives import Kind
from lrpjax.rewrite.probes import Probe
from lrpjax.rewrite.run import read
from lrpjax.trace import Value

Array = Any
Env = Mapping[Value, Array]
Evaluate = Callable[[Program, Env, Mapping[int, Probe]], list[Array]]


def enter(step: Child, env: Env, probes: Mapping[int, Probe], evaluate: Evaluate) -> list[Array]:
    """The results of a child region.

    Args:
        step: the region.
        env: what is known outside.
        probes: of all units.
        evaluate: runs a program.
    """
    kind = step.call.kind
    assert kind is not None, "a call with bodies is in the table"
    units = (unit.index for program in step.programs for unit in program.units())
    inside = {index: probes[index] for index in units if index in probes}
    operands = [read(a, env) for a in step.inputs]
    return list(_KINDS[kind](step, operands, env, inside, evaluate))


def _remat(
    step: Child, operands: list[Array], env: Env, probes: dict[int, Probe], evaluate: Evaluate
) -> Any:
    params, (program,) = step.call.params, step.programs

    def forward(inputs: list[Array], probes: dict[int, Probe]) -> list[Array]:
        local = {**env, **dict(zip(program.region.inputs, inputs, strict=True))}
        return evaluate(program, local, probes)

    region = jax.checkpoint(forward, policy=params["policy"], prevent_cse=params["prevent_cse"])
    return region(operands, probes)


def _loop(
    step: Child, operands: list[Array], env: Env, probes: dict[int, Probe], evaluate: Evaluate
) -> Any:
    """A scan. Reports add up over the rounds; taps of each round stand side by side."""
    call, params, (program,) = step.call, step.call.params, step.programs
    first, behind = call.constants, call.constants + call.carry
    taps = {i: {"tap": p["tap"]} for i, p in probes.items() if "tap" in p}

    def body(carry: list[Array], slices: Any) -> tuple[list[Array], list[Array]]:
        taken, tapped = slices
        values = (*operands[:first], *carry, *taken)
        local = {**env, **dict(zip(program.region.inputs, values, strict=True))}
        here = {i: {**p, **tapped.get(i, {})} for i, p in probes.items()}
        outputs = evaluate(program, local, here)
        return outputs[: call.carry], outputs[call.carry :]

    carry, stacked = lax.scan(
        body,
        operands[first:behind],
        (operands[behind:], taps),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *stacked]


def _branch(
    step: Child, operands: list[Array], env: Env, probes: dict[int, Probe], evaluate: Evaluate
) -> Any:
    index, *entering = operands

    def run(program: Program) -> Callable[..., list[Array]]:
        def branch(*values: Array) -> list[Array]:
            local = {**env, **dict(zip(program.region.inputs, values, strict=True))}
            return evaluate(program, local, probes)

        return branch

    return lax.switch(index, [run(program) for program in step.programs], *entering)


def _mapped(
    step: Child, operands: list[Array], env: Env, probes: dict[int, Probe], evaluate: Evaluate
) -> Any:
    """A shard_map. Reports add up over the devices."""
    params, (program,) = step.call.params, step.programs

    def local(operands: list[Array], probes: dict[int, Probe]) -> list[Array]:
        inside = dict(zip(program.region.inputs, operands, strict=True))
        own = jax.tree.map(lambda zeros: _compat.vary(zeros, axes), probes)
        return evaluate(program, {**env, **inside}, own)

    axes = tuple(params["newly_manual_axes"])
    mapped = jax.shard_map(
        local,
        mesh=params["mesh"],
        in_specs=(list(params["in_specs"]), jax.P()),
        out_specs=list(params["out_specs"]),
        axis_names=params["newly_manual_axes"],
    )
    return mapped(operands, probes)


_KINDS: dict[Kind, Callable[..., Any]] = {
    Kind.REMAT: _remat,
    Kind.LOOP: _loop,
    Kind.BRANCH: _branch,
    Kind.MAPPED: _mapped,
}
