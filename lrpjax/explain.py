"""One explanation, compiled: trace → plan → narrow → rewrite → ``jax.vjp``, under ``jit``.

Everything static about a call is the key of the compiled program (:class:`lrpjax.call.Call`);
weights, inputs, the numbers in rules and target indices are traced.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lrpjax import _compat, targets
from lrpjax.call import Call, Job, Options, part, prepare
from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.plan import matches
from lrpjax.rewrite.evaluate import evaluate
from lrpjax.rewrite.narrow import narrow
from lrpjax.rewrite.probes import Probing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Result:
    """All that a compiled explanation returns."""

    out: Any
    aux: Any
    relevance: Any
    taps: dict[str, Any]
    reports: dict[int, Any]
    start: Any


def run(
    fun: Any, composite: Composite, options: Options, target: Any, args: tuple, kwargs: dict
) -> Result:
    """Explain one call; indices are checked before anything is compiled."""
    call, weights, arrays = part(fun, options, args, kwargs)
    target = targets.as_target(target)
    function = None if isinstance(target, targets.Target) else target
    index = target if function is None else None
    arguments = (call, function, composite, weights, arrays, index)
    if targets.is_concrete(target):
        targets.check_range(target, _explain.eval_shape(*arguments).out)
    return _explain(*arguments)


@partial(jax.jit, static_argnums=(0, 1))
def _explain(
    call: Call, function: Any, composite: Composite, weights: Any, arrays: list, index: Any
) -> Result:
    out, aux, relevance_of = _trace(call, composite, weights, arrays)
    start = targets.start(function or index, out)
    relevance, tapped, reports = relevance_of.pull(start)
    return Result(out, aux, relevance, tapped, reports, start)


@partial(jax.jit, static_argnums=0)
def linearise(call: Call, composite: Composite, weights: Any, arrays: list) -> Any:
    """Outputs, aux and :class:`RelevanceOf` of one call."""
    return _trace(call, composite, weights, arrays)


def _trace(call: Call, composite: Composite, weights: Any, arrays: list) -> Any:
    """Trace → plan → narrow → rewrite → jax.vjp."""
    job = prepare(call, composite, weights, arrays)
    taps = _tapped(call, job)
    probing = Probing(call.ledger, frozenset(taps.values()))
    probes = {unit.index: probe for unit in job.plan.units if (probe := probing.probe(unit))}
    env, explained = job.env(), job.plan.traced.explained
    program = job.plan.program if probes or _has_shardings(job) else narrow(job.plan.program)

    def rewritten(inputs: list, probes: dict) -> tuple[list, list]:
        values = {**env, **dict(zip(explained, inputs, strict=True))}
        outputs = evaluate(program, values, probes)
        return outputs[: job.outputs], outputs[job.outputs :]

    inputs = [jnp.asarray(env[v]) for v in explained]
    outputs, pullback, aux = jax.vjp(rewritten, inputs, probes, has_aux=True)
    out, aux = jax.tree.unflatten(job.out_tree, outputs), jax.tree.unflatten(job.aux_tree, aux)
    if job.plan.inlined_custom:  # the outputs keep the derivatives that their author gave them
        out, aux = _by_author(job, out, aux)
    return out, aux, RelevanceOf(pullback, out, job.relevance_tree, tuple(taps.items()))


def _has_shardings(job: Job) -> bool:
    """Whether types say where arrays are: the program's own slices are to be the only ones."""
    return any(map(_compat.has_sharding, (*job.leaves, *job.plan.traced.constants)))


def _by_author(job: Job, out: Any, aux: Any) -> Any:
    """Outputs as they were computed, with the derivatives of the model as it was written.

    A model that closes over what is being differentiated is run as well: a function with a
    derivative of its own may not close over it.
    """
    if any(isinstance(array, jax.core.Tracer) for array in job.plan.traced.constants):
        return job.author(*job.leaves)

    @jax.custom_jvp
    def as_computed(leaves: Any, outputs: Any) -> Any:
        return outputs

    def derivative(primals: Any, tangents: Any) -> Any:
        (leaves, outputs), (moves, _) = primals, tangents
        moved = [i for i, tangent in enumerate(moves) if not isinstance(tangent, SymbolicZero)]

        def author(*values: Any) -> Any:
            now = dict(zip(moved, values, strict=True))
            return job.author(*(now.get(i, leaf) for i, leaf in enumerate(leaves)))

        at, along = ([arrays[i] for i in moved] for arrays in (leaves, moves))
        return outputs, jax.jvp(author, at, along)[1]

    as_computed.defjvp(derivative, symbolic_zeros=True)
    return as_computed(job.leaves, (out, aux))


def _tapped(call: Call, job: Job) -> dict[str, int]:
    """The tapped layers and the units they are."""
    tapped: dict[str, int] = {}
    for pattern in call.taps:
        found = [u for u in job.plan.units if u.kind != "stop" and matches(pattern, u)]
        if not found:
            layers = ", ".join(dict.fromkeys(u.layer for u in job.plan.units))
            raise PlanError(f"the tap {pattern!r} matches no layer; there are: {layers}")
        if inside := [unit.layer for unit in found if unit.sharded]:
            raise PlanError(f"{inside[0]!r} runs inside a shard_map, where taps have no one shape")
        tapped.update((unit.layer, unit.index) for unit in found)
    return tapped


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["pullback", "out"],
    meta_fields=["tree", "taps"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class RelevanceOf:
    """Relevance of the inputs for any start: the backward half of an explanation, a pytree."""

    pullback: Any
    out: Any
    tree: Any
    taps: tuple[tuple[str, int], ...]

    def __call__(self, target: Any = None) -> Any:
        """Relevance for a target, or for a starting relevance like the outputs."""
        relevance, tapped, _ = _pull(self, self._start(target))
        return (relevance, tapped) if self.taps else relevance

    def _start(self, target: Any) -> Any:
        """A checked target, or the starting relevance itself."""
        if _is_start(target):
            return targets.like_outputs(target, self.out)
        target = targets.as_target(target)
        if targets.is_concrete(target):
            targets.check_range(target, self.out)
        named = isinstance(target, targets.Target)
        return target if named else targets.start(target, self.out)

    def pull(self, start: Any) -> tuple[Any, dict[str, Any], dict[int, Any]]:
        """Relevance, taps and reports for a starting relevance."""
        inputs, answers = self.pullback(jax.tree.leaves(start))
        tapped = {layer: answers[index]["tap"] for layer, index in self.taps}
        single = {layer: r[0] if len(r) == 1 else r for layer, r in tapped.items()}
        reports = {i: answer["report"] for i, answer in answers.items() if "report" in answer}
        return jax.tree.unflatten(self.tree, inputs), single, reports


@jax.jit
def _pull(relevance_of: RelevanceOf, start: Any) -> Any:
    if isinstance(start, targets.Target):
        start = targets.start(start, relevance_of.out)
    return relevance_of.pull(start)


def _is_start(target: Any) -> bool:
    """Whether a target is a starting relevance: a pytree of floating-point arrays."""
    leaves = [] if isinstance(target, targets.Target) else jax.tree.leaves(target)
    return bool(leaves) and all(
        isinstance(leaf, float) or jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
        for leaf in leaves
    )
