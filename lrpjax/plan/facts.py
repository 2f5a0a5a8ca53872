"""Facts about values: what depends on the explained input, signs, parameters, what varies.

One pass over the program in its own order, child regions included. Every table below is a
transfer function: from the facts of an equation's operands to those of its outputs.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np

from lrpjax.plan.axes import sized_axes, varying_axes
from lrpjax.plan.signs import nonnegative
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Call, Equation, Literal, Region, Value


class State(enum.IntEnum):
    """How a value hangs on the explained input; the state of a result is its operands' largest."""

    CONSTANT = 0
    STOPPED = 1  # depends on it, but no relevance passes
    LIVE = 2


@dataclasses.dataclass(frozen=True)
class Fact:
    """What is known of a value when the program is traced.

    Attributes:
        state: whether it depends on the explained input, and whether relevance passes.
        nonnegative: no element is negative.
        parameters: the parameters it was computed from, in the order of their use.
        varies: the axes along which its elements may differ.
        value: what every element is, where that stands in the program.
        data: made from an argument, a parameter or a captured array.
        counted: made from ``iota``.
        ids: the explained integer inputs that it, an integer too, was made from.
    """

    state: State = State.CONSTANT
    nonnegative: bool = False
    parameters: tuple[str, ...] = ()
    varies: frozenset[int] = frozenset()
    value: float | None = None
    data: bool = False
    counted: bool = False
    ids: frozenset[Value] = frozenset()

    @property
    def structural(self) -> bool:
        """A matrix that the program counts out: of a resize, an identity, a patch extraction."""
        return self.counted and not self.data

    @property
    def live(self) -> bool:
        """Relevance passes it."""
        return self.state is State.LIVE


class Facts:
    """The facts of every value of a program."""

    def __init__(
        self, region: Region, explained: tuple[Value, ...], companions: Mapping[Value, Value]
    ):
        self._facts: dict[Atom, Fact] = {}
        self._companions = dict(companions)
        live = set(explained)
        for value in region.inputs:
            state = State.LIVE if value in live else State.CONSTANT
            names = (value.name,) if value.name and state is State.CONSTANT else ()
            ids = frozenset({value} if value in companions else ())
            axes = sized_axes(value.shape)
            self._facts[value] = Fact(state, False, names, axes, data=True, ids=ids)
        self.extend(region)

    def companion(self, integers: Atom) -> Value | None:
        """The zeros that relevance of an explained integer input goes to, also inside bodies."""
        return self._companions.get(integers) if isinstance(integers, Value) else None

    def __getitem__(self, atom: Atom) -> Fact:
        if isinstance(atom, Literal):
            if np.iscomplexobj(atom.value):
                return Fact()
            return Fact(nonnegative=bool(atom.value >= 0), value=float(atom.value))
        return self._facts[atom]

    def __setitem__(self, value: Atom, fact: Fact) -> None:
        self._facts[value] = fact

    def stop_dead_ends(self, region: Region, ends: tuple[Atom, ...]) -> None:
        """Live is only what relevance can reach: what leads to an end by a live path.

        The rest (what feeds nothing but predicates, stops and auxiliary outputs) is stopped.
        """
        reached = set(ends)
        self._reach(region, reached)
        for value in _made_values(region):
            if self[value].live and value not in reached:
                self[value] = dataclasses.replace(self[value], state=State.STOPPED)

    def _reach(self, region: Region, reached: set[Atom]) -> None:
        for equation in reversed(region.equations):
            ends = [out for out in equation.outputs if out in reached and self[out].live]
            if not ends:
                continue
            if isinstance(equation, Call):
                reached.update(inner for inner, out in equation.leaving if out in ends)
                self._reach_inside(equation, reached)
                reached.update(outer for outer, inner in equation.entering if inner in reached)
            else:
                reached.update(equation.inputs)

    def _enter_companion(self, equation: Call, zeros: Value, inner: Value) -> None:
        """Explained integers stay so inside a body; a loop takes their companion apart as well."""
        if equation.kind is Kind.MAPPED:
            return
        if inner not in self._companions and inner.shape != zeros.shape:
            part = Value(inner.shape, zeros.dtype)
            self._facts[part] = Fact(State.LIVE, False, (), sized_axes(part.shape), data=True)
            zeros = part
        self._companions.setdefault(inner, zeros)
        self._facts[inner] = dataclasses.replace(self._facts[inner], ids=frozenset({inner}))

    def _reach_inside(self, equation: Call, reached: set[Atom]) -> None:
        """The bodies; of a loop as often as one round reaches more at the end of the last."""
        before = -1
        while len(reached) != before:
            before = len(reached)
            for body in equation.bodies:
                self._reach(body, reached)
            reached.update(end for end, start in equation.carried if start in reached)

    def extend(self, region: Region) -> None:
        """Derive the facts of a region's equations from those of its inputs."""
        for equation in region.equations:
            operands = [self[atom] for atom in equation.inputs]
            if isinstance(equation, Call):
                self._extend_inside(equation)
            else:
                outs = [_transfer(equation, operands, value) for value in equation.outputs]
                self._facts.update(zip(equation.outputs, outs, strict=True))

    def _extend_inside(self, equation: Call) -> None:
        """The bodies, and what is known of the results; of a loop, what holds in every round."""
        carried = {start for _, start in equation.carried}
        for atom, inner in equation.entering:
            self._facts[inner] = _slice(self[atom]) if inner.ndim < atom.ndim else self[atom]
            if (zeros := self.companion(atom)) is not None and inner not in carried:
                self._enter_companion(equation, zeros, inner)
        settled = False
        while not settled:
            settled = True
            for body in equation.bodies:
                self.extend(body)
            for end, start in equation.carried:
                joined = _join(self[start], self[end])
                settled = settled and joined == self[start]
                self._facts[start] = joined
        starts = [start for _, start in equation.carried if not equation.length]
        results: dict[Atom, Fact] = {}
        for place, (atom, out) in enumerate(equation.leaving):
            fact = self[starts[place] if place < len(starts) else atom]
            fact = _stack(fact) if out.ndim > atom.ndim else fact
            results[out] = _join(results[out], fact) if out in results else fact
        self._facts.update(results)


def _made_values(region: Region) -> Iterator[Value]:
    for equation in region.equations:
        yield from equation.outputs
        if isinstance(equation, Call):
            for body in equation.bodies:
                yield from body.inputs
                yield from _made_values(body)


def _join(a: Fact, b: Fact) -> Fact:
    """What holds of a value that may be either of two."""
    return Fact(
        max(a.state, b.state),
        a.nonnegative and b.nonnegative,
        tuple(dict.fromkeys((*a.parameters, *b.parameters))),
        a.varies | b.varies,
        a.value if a.value == b.value else None,
        a.data or b.data,
        a.counted or b.counted,
        a.ids | b.ids,
    )


def _slice(fact: Fact) -> Fact:
    """Of what a loop takes apart along its first axis."""
    return dataclasses.replace(fact, varies=frozenset(a - 1 for a in fact.varies if a > 0))


def _stack(fact: Fact) -> Fact:
    """Of what a loop stacks up along a new first axis."""
    return dataclasses.replace(fact, varies=frozenset({0, *(a + 1 for a in fact.varies)}))


def _transfer(equation: Equation, operands: list[Fact], out: Value) -> Fact:
    """The facts of one output of an equation without a body."""
    state = max((fact.state for fact in operands), default=State.CONSTANT)
    if is_lookup(equation, operands) and _differentiable(out):
        state = State.LIVE
    if state is State.LIVE and (equation.kind is Kind.STOP or not _differentiable(out)):
        state = State.STOPPED
    names = dict.fromkeys(name for fact in operands for name in fact.parameters)
    return Fact(
        state,
        nonnegative(equation, [fact.nonnegative for fact in operands]),
        () if state is State.LIVE else tuple(names),
        varying_axes(equation, [fact.varies for fact in operands], out),
        operands[0].value if equation.name in _KEEPS_VALUE else None,
        any(fact.data for fact in operands),
        equation.name == "iota" or any(fact.counted for fact in operands),
        _ids(equation, operands, out),
    )


def is_lookup(equation: Equation, operands: list[Fact]) -> bool:
    """Whether explained integers say which rows of a constant are taken, or become floats."""
    if equation.name == "convert_element_type":
        return bool(operands[0].ids)
    takes = equation.name in ("gather", "dynamic_slice")
    constant = takes and operands[0].state is State.CONSTANT
    return constant and any(fact.ids for fact in operands[1:])


_FOLLOWED = frozenset({Kind.ROUTE, Kind.SELECT, Kind.ELEMENTWISE, Kind.ADD, Kind.SCALE})


def _ids(equation: Equation, operands: list[Fact], out: Value) -> frozenset[Value]:
    """Integers stay indices through routes and arithmetic; comparisons and floats are none."""
    moved = equation.kind is Kind.ROUTE and not out.inexact
    if not moved and not (equation.kind in _FOLLOWED and jnp.issubdtype(out.dtype, jnp.integer)):
        return frozenset()
    return frozenset().union(*(fact.ids for fact in operands))


def has_weights(equation: Equation, operands: list[Fact]) -> bool:
    """Whether a contraction has weights; a resize's matrix or a patch extraction's has none."""
    constants = (fact for fact in operands if not fact.live)
    return equation.kind is Kind.CONTRACTION and not any(fact.structural for fact in constants)


def _differentiable(value: Value) -> bool:
    """Complex numbers are: what makes them has no rule, and must say so."""
    return jnp.issubdtype(value.dtype, jnp.inexact)


_KEEPS_VALUE = frozenset("convert_element_type copy broadcast_in_dim reshape squeeze pvary".split())
