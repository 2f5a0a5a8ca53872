"""The transform: trace → plan → rewrite → ``jax.vjp``, under one module-level ``jit``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lrpjax import targets
from lrpjax.call import Call, Job, Options, part, prepare
from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.plan import Plan, matches
from lrpjax.presets import as_composite
from lrpjax.rewrite.evaluate import evaluate
from lrpjax.rewrite.probes import Probing
from lrpjax.rules import Rule

AnyComposite = Composite | Rule | str | None


def lrp(
    fun: Any,
    composite: AnyComposite = None,
    *,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
) -> Callable[..., Any]:
    """The layer-wise relevance of a function's inputs, as ``jax.grad`` is its gradient.

    Args:
        fun: any callable of arrays, or a Flax module. An ``nnx.Module`` and a bound
            ``linen.Module`` are called with their inputs; an unbound ``linen.Module`` with
            ``(variables, *inputs)``, and ``argnums`` is 1 unless given.
        composite: which rule each unit gets: a :class:`Composite`, a preset's name, a single rule
            (for convolutions and dense layers), or None for :func:`lrpjax.presets.default`.
        argnums: the positional arguments to explain, as in ``jax.grad``; 0 unless given.
        has_aux: ``fun`` returns (outputs, anything else); the result is (relevance, aux).
        taps: layer patterns; the result is (relevance, {layer: relevance at its output}).

    Returns:
        ``relevance_fn(*args, target=None, **kwargs)``, giving relevance in the structure, shapes
        and dtypes of ``args[argnums]``. ``target`` says where relevance starts: None (the largest
        output on the last axis, at every leading position), an int or integer array, a function
        of the outputs, or one of :mod:`lrpjax.targets`. It composes with ``jit``, ``vmap``,
        ``grad`` and the other transforms.

    Raises:
        PlanError: for a composite, target or argument that doesn't fit the program.
        UnsupportedPrimitiveError: for a primitive on a relevance path that no unit covers.

    Example:
        >>> import jax, jax.numpy as jnp, lrpjax
        >>> w = jnp.array([[2.0, -1.0], [1.0, 3.0]])
        >>> r = lrpjax.lrp(lambda x: jax.nn.relu(w @ x))(jnp.array([1.0, 1.0]))
        >>> [round(float(share), 3) for share in r]
        [1.0, 3.0]
    """
    explain = value_and_lrp(fun, composite, argnums=argnums, has_aux=has_aux, taps=taps)

    def relevance_fn(*args: Any, target: Any = None, **kwargs: Any) -> Any:
        value, relevance = explain(*args, target=target, **kwargs)
        return (relevance, value[1]) if has_aux else relevance

    return relevance_fn


def value_and_lrp(
    fun: Any,
    composite: AnyComposite = None,
    *,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
) -> Callable[..., Any]:
    """As :func:`lrp`, returning (outputs, relevance).

    The outputs are the model's own, to float rounding, and so is their gradient. With
    ``has_aux`` the outputs are (outputs, aux), as in ``jax.value_and_grad``.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> out, r = lrpjax.value_and_lrp(lambda x: x.sum(keepdims=True))(jnp.array([1.0, 2.0]))
        >>> out.item(), round(r.sum().item(), 3)
        (3.0, 3.0)
    """
    rules = as_composite(composite)
    options = as_options(argnums, has_aux, taps)

    def explain(*args: Any, target: Any = None, **kwargs: Any) -> Any:
        result = run(fun, rules, options, target, args, kwargs)
        relevance = (result.relevance, result.taps) if options.taps else result.relevance
        return ((result.out, result.aux) if has_aux else result.out), relevance

    return explain


def lrp_vjp(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
    **kwargs: Any,
) -> tuple[Any, ...]:
    """One forward pass for many starts, as ``jax.vjp`` is to ``jax.grad``.

    Args:
        fun, composite, argnums, has_aux, taps: as in :func:`lrp`.
        *args, **kwargs: the arguments of ``fun``.

    Returns:
        (outputs, relevance_of), and aux with ``has_aux``. ``relevance_of(target)`` takes a target
        as ``relevance_fn`` does, or a starting relevance like the outputs; it is a pytree, and
        may be mapped over and passed through ``jit``.

    Example:
        >>> import jax, jax.numpy as jnp, lrpjax
        >>> w = jnp.array([[2.0, -1.0], [1.0, 3.0]])
        >>> out, relevance_of = lrpjax.lrp_vjp(lambda x: w @ x, None, jnp.ones(2))
        >>> r = jax.vmap(relevance_of)(jnp.arange(2))
        >>> [round(float(share), 3) for share in r.ravel()]
        [2.0, -1.0, 1.0, 3.0]
    """
    options = as_options(argnums, has_aux, taps)
    call, weights, arrays = part(fun, options, args, kwargs)
    out, aux, relevance_of = _linearise(call, as_composite(composite), weights, arrays)
    return (out, relevance_of, aux) if has_aux else (out, relevance_of)


def plan(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    **kwargs: Any,
) -> Plan:
    """What an explanation would do, unit by unit; computes nothing.

    Args:
        fun, composite, argnums, has_aux: as in :func:`lrp`.
        *args, **kwargs: the arguments of ``fun``; ``jax.ShapeDtypeStruct`` will do for arrays.

    Returns:
        The plan; ``print`` shows it as a table.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> p = lrpjax.plan(lambda x: x @ jnp.ones((2, 3)) + jnp.ones(3), None, jnp.ones((1, 2)))
        >>> [(unit.layer, unit.kind, type(unit.rule).__name__) for unit in p.units]
        [('dot_general_0', 'dense', 'Epsilon')]
    """
    call, weights, arrays = part(fun, as_options(argnums, has_aux), args, kwargs)
    return prepare(call, as_composite(composite), weights, arrays).plan


# ---------------------------------------------------------------- the call boundary


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
def _linearise(call: Call, composite: Composite, weights: Any, arrays: list) -> Any:
    return _trace(call, composite, weights, arrays)


def _trace(call: Call, composite: Composite, weights: Any, arrays: list) -> Any:
    """Trace → plan → rewrite → jax.vjp."""
    job = prepare(call, composite, weights, arrays)
    taps = _tapped(call, job)
    probing = Probing(call.ledger, frozenset(taps.values()))
    probes = {unit.index: probe for unit in job.plan.units if (probe := probing.probe(unit))}
    env, explained = job.env(), job.plan.traced.explained

    def rewritten(inputs: list, probes: dict) -> tuple[list, list]:
        values = {**env, **dict(zip(explained, inputs, strict=True))}
        outputs = evaluate(job.plan.program, values, probes)
        return outputs[: job.outputs], outputs[job.outputs :]

    inputs = [jnp.asarray(env[v]) for v in explained]
    outputs, pullback, aux = jax.vjp(rewritten, inputs, probes, has_aux=True)
    out, aux = jax.tree.unflatten(job.out_tree, outputs), jax.tree.unflatten(job.aux_tree, aux)
    if job.plan.inlined_custom:  # the outputs keep the derivatives that their author gave them
        out, aux = job.author(*job.leaves)
    return out, aux, RelevanceOf(pullback, out, job.relevance_tree, tuple(taps.items()))


def _tapped(call: Call, job: Job) -> dict[str, int]:
    """The tapped layers and the units they are."""
    tapped: dict[str, int] = {}
    for pattern in call.taps:
        found = [u for u in job.plan.units if u.kind != "stop" and matches(pattern, u)]
        if not found:
            layers = ", ".join(dict.fromkeys(u.layer for u in job.plan.units))
            raise PlanError(f"the tap {pattern!r} matches no layer; there are: {layers}")
        tapped.update((unit.layer, unit.index) for unit in found)
    return tapped


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["pullback", "out"],
    meta_fields=["tree", "taps"],
)
@dataclasses.dataclass(frozen=True)
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


def as_options(argnums: Any, has_aux: bool, taps: Sequence[str] = ()) -> Options:
    """Options as a user gives them, in hashable form."""
    if isinstance(taps, str):
        raise PlanError(f"taps is a sequence of layer patterns; got the string {taps!r}")
    numbers = tuple(argnums) if isinstance(argnums, (list, tuple)) else argnums
    return Options(numbers, has_aux, tuple(taps))
