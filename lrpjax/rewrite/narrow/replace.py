"""Writing a step anew for other values and parameters, whatever its spec holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lrpjax.rewrite.alike import is_ours
from lrpjax.trace import Equation, Value


def mentioned(part: Any) -> Iterator[Value | Equation]:
    """The values and equations that a structure holds, those within equations left out."""
    if isinstance(part, (Value, Equation)):
        yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from mentioned(inner)
    elif is_ours(part):
        for field in dataclasses.fields(part):
            yield from mentioned(getattr(part, field.name))


@dataclasses.dataclass(frozen=True)
class Replacer:
    """Replaces all values of a structure, and the parameters of its equations.

    Attributes:
        values: the new value for each.
        params: the new parameters of each equation.
        equations: those that were replaced: one mentioned twice stays one.
    """

    values: Mapping[Value, Value]
    params: Mapping[Equation, Mapping[str, Any]]
    equations: dict[Equation, Equation] = dataclasses.field(default_factory=dict)

    def __call__(self, part: Any) -> Any:
        """The structure with others in their places."""
        match part:
            case Value():
                return self.values[part]
            case Equation():
                return self.equations.setdefault(part, self._equation(part))
            case tuple():
                return tuple(map(self, part))
            case _ if is_ours(part):
                names = (field.name for field in dataclasses.fields(part))
                return dataclasses.replace(part, **{n: self(getattr(part, n)) for n in names})
        return part

    def _equation(self, equation: Equation) -> Equation:
        return dataclasses.replace(
            equation,
            inputs=self(equation.inputs),
            outputs=self(equation.outputs),
            params=dict(self.params[equation]),
        )
