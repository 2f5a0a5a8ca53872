"""Names of layers: from where parameters come from, because NNX leaves nothing on the name stack.

A layer is called after the module that holds its weights. A unit without parameters takes the
path of the named scopes it was traced in, else the name of the layer before it and what it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

from lrpjax.plan.facts import Facts
from lrpjax.plan.specs import AffineSpec, EndSpec, Fold
from lrpjax.plan.units import Plain, Program, Step, Unit
from lrpjax.trace import Atom, Literal


def module_of(parameter: str) -> str:
    """The module that holds a parameter; a parameter of the top module is its own.

    Example:
        >>> module_of("encoder/query/kernel"), module_of("scale")
        ('encoder/query', 'scale')
    """
    return parameter.rpartition("/")[0] or parameter


def shared_module(parameters: tuple[str, ...]) -> str:
    """The innermost module that holds all of several parameters, else that of the first."""
    parts = [p.split("/")[:-1] for p in parameters]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common) or module_of(parameters[0])


class Namer:
    """Gives every unit of a program its name, in the order of the program."""

    def __init__(self, facts: Facts, top_scope: str | None):
        self.facts = facts
        self.top_scope = top_scope
        self.uses: Counter[str] = Counter()
        self.unnamed: Counter[str] = Counter()
        self.modules: set[str] = set()  # those that own a layer with weights
        self.near: dict[Atom, str] = {}  # the last layer with a name of its own, by value

    def program(self, program: Program) -> Program:
        """Name all units, those of child regions in their place."""
        for unit in program.units():
            if parameters := self._parameters(unit):
                self.modules.add(shared_module(parameters))
        return dataclasses.replace(program, steps=tuple(map(self._step, program.steps)))

    def _step(self, step: Step) -> Step:
        if isinstance(step, Unit):
            return self._unit(step)
        if isinstance(step, Plain):
            return step
        for outer, inner in step.entering:
            self._follow((outer,), (inner,))
        child = dataclasses.replace(step, programs=tuple(map(self.program, step.programs)))
        for result, given in child.leaving:
            self._follow((result,), (given,))
        return child

    def _follow(self, sources: tuple[Atom, ...], targets: tuple[Atom, ...]) -> None:
        known = next((self.near[a] for a in sources if a in self.near), None)
        if known is not None:
            self.near.update(dict.fromkeys(targets, known))

    def _unit(self, unit: Unit) -> Unit:
        base, own = self._base(unit)
        self.uses[base] += 1
        name = base if self.uses[base] == 1 else f"{base}#{self.uses[base]}"
        if own:
            self.near.update(dict.fromkeys(unit.outputs, name))
        else:
            self._follow(unit.inputs or unit.constants, unit.outputs)
        aliases, folded = self._folded(unit)
        return dataclasses.replace(unit, layer=name, aliases=aliases, folded=folded)

    def _base(self, unit: Unit) -> tuple[str, bool]:
        """A unit's name before repeated uses are counted, and whether it is its own."""
        parameters = self._parameters(unit)
        if parameters:
            return shared_module(parameters), True
        scope, label = self._scope(unit), _label(unit)
        if scope:  # a cast or a padding inside a layer doesn't take the layer's own name
            return (f"{scope}/{label}" if scope in self.modules else scope), False
        if unit.family != "affine" or unit.kind == "pool":
            sources = unit.inputs or unit.constants
            near = next((self.near[v] for v in sources if v in self.near), None)
            if near is not None:
                return f"{near}/{label}", False
        name = f"{label}_{self.unnamed[label]}"
        self.unnamed[label] += 1
        return name, unit.kind in ("conv", "dense")

    def _parameters(self, unit: Unit) -> tuple[str, ...]:
        """The parameters a unit is called after: its weights', else any it reads."""
        if unit.family == "routing":
            return ()
        if isinstance(unit.spec, AffineSpec) and unit.spec.weights is not None:
            return self.facts[unit.spec.core.inputs[unit.spec.weights]].parameters
        values = dict.fromkeys(v for v in unit.constants if unit.kind != "stop")
        return tuple(dict.fromkeys(p for v in values for p in self.facts[v].parameters))

    def _scope(self, unit: Unit) -> str:
        if not unit.equations:
            return ""
        head = unit.spec.core if isinstance(unit.spec, AffineSpec) else unit.equations[-1]
        path = head.scope
        while (bare := re.sub(r"\w+\(([^()]*)\)", r"\1", path)) != path:
            path = bare
        parts = [part for part in path.split("/") if part]
        if parts and parts[0] == self.top_scope:
            parts = parts[1:]
        return "/".join(parts)

    def _folded(self, unit: Unit) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Further names of a unit, and what a person should know was folded in."""
        text = ["zero padding"] * len(unit.spec.pads) if isinstance(unit.spec, AffineSpec) else []
        aliases: dict[str, None] = {}
        for fold in getattr(unit.spec, "folds", ()):
            if fold.is_layout:
                continue
            parameters = self.facts[fold.constant].parameters if fold.constant is not None else ()
            aliases.update(dict.fromkeys(map(module_of, parameters)))
            role = "shift" if fold.is_shift else "scale"
            text.append(f"{role} {', '.join(parameters) or _constant_text(fold)}")
        return tuple(aliases), tuple(text)


def _constant_text(fold: Fold) -> str:
    if fold.constant is None:
        return "-1"
    if isinstance(fold.constant, Literal):
        return f"{'1/' if fold.equation.name == 'div' else ''}{float(fold.constant.value):g}"
    return f"array {fold.constant}"


def _label(unit: Unit) -> str:
    """What a unit is, in a word: its core's primitive, its call's or its last primitive's name."""
    if isinstance(unit.spec, AffineSpec):
        return unit.spec.core.name
    if unit.family in ("shift", "add") or len(unit.equations) > 1:
        return unit.kind
    if isinstance(unit.spec, EndSpec):
        return unit.spec.label
    return unit.equations[-1].label
