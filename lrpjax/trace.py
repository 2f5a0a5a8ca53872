"""From a callable or Flax module to one flat program: the first stage of the transform.

The program is written in a small representation of its own (:class:`Region` of
:class:`Equation` between :class:`Value`), because a jaxpr's sub-programs are shared objects: two
calls of one ``jit`` must not share an environment. Every nested ``jit`` is inlined here; custom
derivative calls and ``remat`` keep their body beside them, for the plan to decide.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lrpjax import _compat
from lrpjax.primitives import Kind, kind_of


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """One array of the program, known by its identity."""

    shape: tuple[int, ...]
    dtype: Any
    name: str | None = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def inexact(self) -> bool:
        """Whether it can carry relevance: real floating point."""
        return jax.numpy.issubdtype(self.dtype, jax.numpy.floating)

    def __str__(self) -> str:
        return f"{np.dtype(self.dtype).name}[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True, eq=False)
class Literal:
    """A scalar whose value stands in the program."""

    value: Any
    dtype: Any

    shape: tuple[int, ...] = ()
    ndim: int = 0


Atom = Value | Literal


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Equation:
    """One primitive applied to atoms."""

    primitive: Any
    inputs: tuple[Atom, ...]
    outputs: tuple[Value, ...]
    params: dict[str, Any]
    scope: str
    context: Any
    source_info: Any
    callers: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name

    @property
    def kind(self) -> Kind | None:
        """What the primitive is, by the table."""
        return kind_of(self.primitive.name)

    @property
    def label(self) -> str:
        """What a person would call it."""
        return self.name

    @property
    def source(self) -> str:
        """The user's source line: its own, else that of the call it stands in."""
        places = map(_compat.source_of, (self.source_info, *reversed(self.callers)))
        return next(filter(None, places), "unknown source")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Call(Equation):
    """What has bodies: a call that was not inlined, remat, a loop, a branch.

    Attributes:
        bodies: one, or one for each branch.
        skipped: how many operands enter no body (which branch it is).
        constants: how many operands are the same in every round of a loop.
        carry: how many operands, behind those, and results go from round to round; operands
            behind them are taken apart along their first axis, results stacked up along theirs.
    """

    bodies: tuple[Region, ...]
    skipped: int = 0
    constants: int = 0
    carry: int = 0

    @property
    def body(self) -> Region:
        """The one body."""
        (body,) = self.bodies
        return body

    @property
    def body_inputs(self) -> tuple[Value, ...]:
        """What the operands that enter are in the first body."""
        return self.bodies[0].inputs

    @property
    def entering(self) -> list[tuple[Atom, Value]]:
        """Each operand with the value that it is inside, in every body."""
        operands = self.inputs[self.skipped :]
        return [pair for b in self.bodies for pair in zip(operands, b.inputs, strict=True)]

    @property
    def leaving(self) -> list[tuple[Atom, Value]]:
        """Each value that a body ends with, and the result that it is outside."""
        return [pair for b in self.bodies for pair in zip(b.outputs, self.outputs, strict=True)]

    @property
    def carried(self) -> list[tuple[Atom, Value]]:
        """What one round ends with, and the value it is in the next."""
        if self.kind is not Kind.LOOP:
            return []
        inputs = self.body.inputs[self.constants : self.constants + self.carry]
        return list(zip(self.body.outputs[: self.carry], inputs, strict=True))

    @property
    def length(self) -> int | None:
        """How often a loop runs; None for what is none."""
        return self.params["length"] if self.kind is Kind.LOOP else None

    @property
    def label(self) -> str:
        """The name of the function it calls."""
        return _compat.function_name(_body(self.params))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Region:
    """A flat list of equations from inputs to outputs, in an order they can be run in."""

    inputs: tuple[Value, ...]
    outputs: tuple[Atom, ...]
    equations: tuple[Equation, ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TracedFunction:
    """A program: its region, the constants it closes over, and how outputs are put together.

    ``region.inputs`` are the flat arguments, then one value per entry of ``constants``, then the
    companions of explained integers: floating-point values of their shape, which no equation
    reads, that relevance goes to in their place. The first ``primary`` of ``region.outputs`` are
    explained, the others come along.
    """

    region: Region
    explained: tuple[Value, ...]
    constants: tuple[Any, ...]
    companions: dict[Value, Value]
    out_tree: Any
    primary: int


class _Flattener:
    """Writes a jaxpr and everything it calls into one list of equations."""

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.constants: list[tuple[Value, Any]] = []

    def constant(self, array: Any) -> Value:
        value = Value(np.shape(array), array.dtype)
        self.constants.append((value, array))
        return value

    def inline(
        self, jaxpr: Any, inputs: Sequence[Atom], scope: str = "", callers: tuple = ()
    ) -> Sequence[Atom]:
        """Append the equations of ``jaxpr`` applied to ``inputs``; return its outputs."""
        jaxpr, consts = _compat.open_jaxpr(jaxpr)
        env: dict[Any, Atom] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, map(self.constant, consts), strict=True))

        def read(atom: Any) -> Atom:
            return Literal(atom.val, atom.aval.dtype) if _compat.is_literal(atom) else env[atom]

        for eqn in jaxpr.eqns:
            ins = [read(atom) for atom in eqn.invars]
            path = "/".join(filter(None, (scope, _compat.scope_of(eqn))))
            outs: Sequence[Atom]
            if kind_of(eqn.primitive.name) is Kind.INLINE:
                outs = self.inline(_body(eqn.params), ins, path, (*callers, eqn.source_info))
            else:
                outs = self.append(eqn, ins, path, callers)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def append(self, eqn: Any, inputs: list[Atom], scope: str, callers: tuple) -> tuple[Value, ...]:
        """Append one equation, a call that is not inlined with its body beside it."""
        outputs = tuple(Value(v.aval.shape, v.aval.dtype) for v in eqn.outvars)
        place = (scope, eqn.ctx, eqn.source_info, callers)
        fields = (eqn.primitive, tuple(inputs), outputs, eqn.params, *place)
        kind = kind_of(eqn.primitive.name)
        if kind not in (Kind.CUSTOM, Kind.REMAT, Kind.LOOP, Kind.BRANCH, Kind.MAPPED):
            self.equations.append(Equation(*fields))
            return outputs
        callers = (*callers, eqn.source_info)
        sources = eqn.params["branches"] if kind is Kind.BRANCH else [_body(eqn.params)]
        bodies = tuple(self.region(source, scope, callers) for source in sources)
        counts = _compat.scan_counts(eqn.params) if kind is Kind.LOOP else (0, 0)
        skipped = int(kind is Kind.BRANCH)
        self.equations.append(Call(*fields, bodies, skipped, *counts))
        return outputs

    def region(self, jaxpr: Any, scope: str, callers: tuple) -> Region:
        """A child region with inputs of its own; its constants become the program's."""
        child = _Flattener()
        child.constants = self.constants
        opened, _ = _compat.open_jaxpr(jaxpr)
        values = tuple(Value(v.aval.shape, v.aval.dtype) for v in opened.invars)
        outputs = child.inline(jaxpr, values, scope, callers)
        return Region(values, tuple(outputs), tuple(child.equations))


def _body(params: dict[str, Any]) -> Any:
    return next(params[key] for key in ("call_jaxpr", "jaxpr") if key in params)


def trace(
    fun: Any, leaves: Sequence[Any], names: Sequence[str | None], explained: Sequence[int]
) -> TracedFunction:
    """Trace ``fun(*leaves)`` into a flat program.

    Args:
        fun: takes the flat leaves; returns a pytree of arrays.
        leaves: arrays or tracers.
        names: the path of each leaf that is a parameter, else None.
        explained: the positions of the leaves that relevance is wanted for.

    Returns:
        The program; nothing of it has been computed.
    """
    closed, out_shape = jax.make_jaxpr(fun, return_shape=True)(*leaves)
    inputs = tuple(
        Value(aval.shape, aval.dtype, name)
        for aval, name in zip(closed.in_avals, names, strict=True)
    )
    flattener = _Flattener()
    outputs = flattener.inline(closed, inputs)
    values = tuple(value for value, _ in flattener.constants)
    asked = [inputs[i] for i in explained]
    floating = jax.numpy.zeros(()).dtype
    companions = {v: Value(v.shape, floating) for v in asked if not v.inexact}
    return TracedFunction(
        Region(
            (*inputs, *values, *companions.values()),
            tuple(outputs),
            tuple(flattener.equations),
        ),
        tuple(companions.get(v, v) for v in asked),
        tuple(array for _, array in flattener.constants),
        companions,
        jax.tree.structure(out_shape),
        len(outputs),
    )
