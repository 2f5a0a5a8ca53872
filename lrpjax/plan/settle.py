"""Settle what the trace left open: custom calls, implicit broadcasts, dead code.

A call with derivatives of its own that is one elementwise function stays whole: it is bound as it
is, so its derivative is the author's (inlining relu would make its gradient at 0 one half).
Any other is inlined for its layers to be recognised. Operands that a primitive would broadcast
by itself are broadcast by an equation of their own, so that every elementwise primitive and every
sum has live operands of its output's shape. Pads move behind changes of layout, to the layer they
belong to. A value that is moved twice in the same way is moved once. What nothing uses drops out.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from lrpjax import _compat
from lrpjax.plan.axes import sized_axes
from lrpjax.plan.elementwise import is_pointwise, roots
from lrpjax.plan.facts import Facts, State
from lrpjax.plan.pads import pads_last
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Call, Equation, Literal, Region, TracedFunction, Value


@dataclasses.dataclass(frozen=True)
class Settled:
    """A program ready for recognition.

    Attributes:
        region: the program; equations with a body are whole calls or child regions.
        facts: the facts of all its values.
        inlined_custom: a call with derivatives of its own was inlined, so that this program's
            plain derivative may differ from the author's.
    """

    region: Region
    facts: Facts
    inlined_custom: bool


def settle(traced: TracedFunction) -> Settled:
    """Settle a traced program and derive its facts."""
    facts = Facts(traced.region, traced.explained, traced.companions)
    settler = _Settler(facts)
    region = settler.region(traced.region)
    facts.stop_dead_ends(region, region.outputs[: traced.primary])
    return Settled(region, facts, settler.inlined_custom)


class _Settler:
    def __init__(self, facts: Facts):
        self.facts = facts
        self.inlined_custom = False
        self.alias: dict[Value, Atom] = {}
        self.routes: dict[Any, Equation] = {}

    def read(self, atom: Atom) -> Atom:
        while isinstance(atom, Value) and atom in self.alias:
            atom = self.alias[atom]
        return atom

    def region(self, region: Region) -> Region:
        equations: list[Equation] = []
        outside, self.routes = self.routes, {}
        for equation in region.equations:
            self.append(equation, equations)
        self.routes = outside
        outputs = tuple(self.read(atom) for atom in region.outputs)
        return pads_last(Region(region.inputs, outputs, _used(equations, outputs)), self.facts)

    def append(self, equation: Equation, equations: list[Equation]) -> None:
        inputs = tuple(self.read(atom) for atom in equation.inputs)
        equation = dataclasses.replace(equation, inputs=inputs)
        # A loop over explained integers has no live operand, but what they take inside is live.
        live = any(self.facts[atom].live for atom in (*inputs, *equation.outputs))
        if live and (same := self.same_route(equation)) is not None:
            self.alias.update(zip(equation.outputs, same.outputs, strict=True))
        elif live and equation.name == "scatter-add" and self.facts[inputs[0]].value != 0:
            self.split_scatter(equation, equations)
        elif live and _sums_nothing(equation):
            self.as_product(equation, equations)
        elif not live or not isinstance(equation, Call):
            equations.append(self.broadcast_operands(equation, equations) if live else equation)
        elif equation.kind in (Kind.REMAT, Kind.LOOP, Kind.BRANCH, Kind.MAPPED):
            bodies = tuple(map(self.region, equation.bodies))
            equation = dataclasses.replace(equation, bodies=bodies)
            equations.append(self.with_companions(equation))
        elif self.is_elementwise(equation):
            equations.append(equation)
        else:
            self.splice(equation, equations)

    def same_route(self, equation: Equation) -> Equation | None:
        """An earlier equation that moves the same value in the same way.

        ``vmap`` puts a transpose in front of each use of a value: x·sigmoid(βx) would have two.
        """
        if equation.kind is not Kind.ROUTE:
            return None
        try:
            key = (equation.primitive, equation.inputs, frozenset(equation.params.items()))
            first = self.routes.setdefault(key, equation)
        except TypeError:  # parameters that can't be compared
            return None
        return None if first is equation else first

    def splice(self, equation: Call, equations: list[Equation]) -> None:
        """Put a call's body in its place; its bodies are never shared, so nothing is renamed."""
        self.inlined_custom = True
        body = equation.body
        self.alias.update(zip(body.inputs, equation.inputs, strict=True))
        for inner in body.equations:
            self.append(inner, equations)
        self.alias.update(zip(equation.outputs, map(self.read, body.outputs), strict=True))

    def is_elementwise(self, equation: Call) -> bool:
        """Whether a call is a scalar function of its one live operand, element by element."""
        body = equation.body
        live = [v for v in body.inputs if self.facts[v].live]
        if len(live) != 1 or not all(map(_is_plain, body.equations)):
            return False
        root = roots(body.equations, self.facts)
        return all(isinstance(o, Value) and root.get(o) is live[0] for o in body.outputs)

    def as_product(self, equation: Equation, equations: list[Equation]) -> None:
        """An einsum that sums over nothing is a product, element by element."""
        (out,) = equation.outputs
        _, batch = equation.params["dimension_numbers"]
        operands: list[Atom] = []
        for atom, order in zip(equation.inputs, batch, strict=True):
            if tuple(order) != tuple(range(atom.ndim)):
                moved = Value(out.shape, atom.dtype)
                params = {"permutation": tuple(order)}
                parts = {"primitive": lax.transpose_p, "params": params}
                step = dataclasses.replace(equation, inputs=(atom,), outputs=(moved,), **parts)
                self.add(step, equations)
                atom = moved
            operands.append(atom)
        product = {"primitive": lax.mul_p, "params": {}, "inputs": tuple(operands)}
        self.add(dataclasses.replace(equation, **product), equations)

    def add(self, equation: Equation, equations: list[Equation]) -> None:
        """Append an equation that the program doesn't have, with its facts."""
        self.facts.extend(Region((), (), (equation,)))
        equations.append(equation)

    def with_companions(self, equation: Call) -> Call:
        """A loop that takes the companions of explained integers apart beside them."""
        pairs = [
            (self.facts.companion(outer), self.facts.companion(inner))
            for outer, inner in equation.entering
            if equation.kind is Kind.LOOP and inner.ndim < outer.ndim
        ]
        found = [
            (outer, inner) for outer, inner in pairs if outer is not None and inner is not None
        ]
        if not found:
            return equation
        inputs = (*equation.inputs, *(outer for outer, _ in found))
        inside = (*equation.body.inputs, *(inner for _, inner in found))
        body = dataclasses.replace(equation.body, inputs=inside)
        return dataclasses.replace(equation, inputs=inputs, bodies=(body,))

    def split_scatter(self, equation: Equation, equations: list[Equation]) -> None:
        """What is added into an array: a sum of that array and of what lands in zeros."""
        (out,) = equation.outputs
        zeros, landed = Value(out.shape, out.dtype), Value(out.shape, out.dtype)
        zero = Literal(np.zeros((), out.dtype), out.dtype)
        primitive, params = _compat.broadcast((), out.shape)
        replace = partial(dataclasses.replace, equation)
        operand, *rest = equation.inputs
        made = (
            replace(primitive=primitive, params=params, inputs=(zero,), outputs=(zeros,)),
            replace(inputs=(zeros, *rest), outputs=(landed,)),
            replace(primitive=lax.add_p, params={}, inputs=(operand, landed), outputs=(out,)),
        )
        for step in made:
            self.add(step, equations)

    def carries(self, atom: Atom) -> bool:
        """Whether relevance may go to an operand, if only to end there."""
        floating = jnp.issubdtype(atom.dtype, jnp.floating)
        return self.facts[atom].state is not State.CONSTANT and floating

    def broadcast_operands(self, equation: Equation, equations: list[Equation]) -> Equation:
        """Make the broadcasts of dependent operands explicit."""
        if not is_pointwise(equation) or equation.outputs[0].shape == ():
            return equation
        shape = equation.outputs[0].shape
        inputs = list(equation.inputs)
        for i, atom in enumerate(inputs):
            if self.carries(atom) and atom.shape != shape:
                wide = Value(shape, atom.dtype)
                primitive, params = _compat.broadcast(atom.shape, shape)
                equations.append(
                    dataclasses.replace(
                        equation,
                        primitive=primitive,
                        inputs=(atom,),
                        outputs=(wide,),
                        params=params,
                    )
                )
                varies = self.facts[atom].varies & sized_axes(atom.shape)
                self.facts[wide] = dataclasses.replace(self.facts[atom], varies=varies)
                inputs[i] = wide
        return dataclasses.replace(equation, inputs=tuple(inputs))


def _sums_nothing(equation: Equation) -> bool:
    """Whether a product of matrices has batch axes alone."""
    if equation.name != "dot_general":
        return False
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    alike = {atom.dtype for atom in (*equation.inputs, *equation.outputs)}
    return not contracted and len(alike) == 1 and all(a.ndim == len(batch) for a in equation.inputs)


def _used(equations: list[Equation], outputs: tuple[Atom, ...]) -> tuple[Equation, ...]:
    """Equations that lead to an output, or have none and are there for their effect."""
    needed = set(outputs)
    kept = []
    for equation in reversed(equations):
        if not equation.outputs or needed.intersection(equation.outputs):
            kept.append(equation)
            needed.update(equation.inputs)
    return tuple(reversed(kept))


def _is_plain(equation: Equation) -> bool:
    """Elementwise, or building a constant for it, in calls of calls too."""
    if isinstance(equation, Call):
        return all(map(_is_plain, equation.body.equations))
    return is_pointwise(equation) or equation.name in ("broadcast_in_dim", "pvary")
