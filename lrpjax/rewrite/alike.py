"""Which units are the same but for their arrays: a deep network repeats its layers.

The rule of the first of them is traced; the others take over what came of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lrpjax.plan.units import Unit
from lrpjax.trace import Literal, Value

#: What doesn't matter to what is computed.
_FOR_PEOPLE = frozenset({"scope", "source_info", "callers", "name"})


@dataclasses.dataclass(frozen=True, eq=False)
class Alike:
    """A unit as a key: equal to every unit that computes the same of arrays of the same shapes."""

    unit: Unit
    written: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        unit, writer = self.unit, _Writer()
        parts = (unit.reads, unit.outputs, unit.equations, unit.family, unit.spec)
        object.__setattr__(self, "written", tuple(map(writer.write, parts)))

    def __hash__(self) -> int:
        return hash(self.written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike) and self.written == other.written


class _Writer:
    """Writes a structure down as nested tuples, values by the order they turn up in."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def write(self, part: Any) -> Any:
        """Something hashable; what can't be compared stands for itself."""
        match part:
            case Literal():
                return str(part.dtype), np.asarray(part.value).tobytes()
            case tuple() | list():
                return tuple(map(self.write, part))
            case dict():
                return tuple((key, self.write(value)) for key, value in part.items())
            case _ if is_ours(part):
                return self._dataclass(part)
        try:
            hash(part)
        except TypeError:
            return _Itself(part)
        return type(part), part

    def _dataclass(self, part: Any) -> Any:
        number = len(self.numbers)
        if (seen := self.numbers.setdefault(id(part), number)) != number:
            return type(part), seen
        fields = (f.name for f in dataclasses.fields(part) if f.name not in _FOR_PEOPLE)
        return type(part), *(self.write(getattr(part, name)) for name in fields)


@dataclasses.dataclass(frozen=True, eq=False)
class _Itself:
    """Equal to nothing else."""

    part: Any


_OURS = Value.__module__.split(".")[0] + "."


def is_ours(part: Any) -> bool:
    """Whether a part of a spec is a structure of this package, to be looked into."""
    return dataclasses.is_dataclass(part) and type(part).__module__.startswith(_OURS)
