"""Composites: which rule each unit of a program gets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax

from lrpjax.errors import PlanError
from lrpjax.rules import Rule
from lrpjax.rules.base import from_dict

#: The kinds of units that a composite gives rules to, by keyword.
KINDS = (
    "conv",
    "dense",
    "pool",
    "scale",
    "shift",
    "add",
    "elementwise",
    "product",
    "attention",
    "softmax",
    "normalisation",
    "max",
)
_SLOTS = (*KINDS, "first", "last", "unsupported")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Composite:
    """Rules by kind of unit, by layer pattern, and for the first and last layer.

    Precedence: ``layers`` (later patterns over earlier ones), then ``first`` and ``last``, then
    the kind, then the default of the kind (see :mod:`lrpjax.presets`). A composite that names
    ``conv`` or ``dense`` has no rule for the first layer unless it names one. It is a pytree:
    the numbers in its rules may be traced, mapped over and differentiated.

    Args:
        conv, dense: convolutions and dense layers, with what folds into them.
        pool: every linear sum without weights.
        scale, shift: constant multiplies and adds with no layer to fold into.
        add: sums of dependent values.
        elementwise: activations.
        max: maxima and sorting.
        product, attention, softmax, normalisation: units of these kinds.
        first: layers with weights that see the input with no such layer between.
        last: likewise towards the output.
        layers: patterns (:mod:`fnmatch`, on layer names) to rules, for the matching units that
            the rule fits.
        unsupported: opts into the generic x ⊙ VJP(R′/S(y)) for primitives no unit covers.

    Raises:
        PlanError: for anything that isn't a rule.

    Example:
        >>> from lrpjax import Composite, rules
        >>> c = Composite(conv=rules.Gamma(0.25), layers={"head": rules.Epsilon()})
        >>> Composite.from_json(c.to_json()) == c
        True
    """

    conv: Rule | None = None
    dense: Rule | None = None
    pool: Rule | None = None
    scale: Rule | None = None
    shift: Rule | None = None
    add: Rule | None = None
    elementwise: Rule | None = None
    product: Rule | None = None
    attention: Rule | None = None
    softmax: Rule | None = None
    normalisation: Rule | None = None
    max: Rule | None = None
    first: Rule | None = None
    last: Rule | None = None
    layers: Mapping[str, Rule] = dataclasses.field(default_factory=dict)
    unsupported: Rule | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in _SLOTS}
        if not isinstance(self.layers, Mapping):
            raise PlanError(f"layers maps patterns to rules; got {self.layers!r}")
        for pattern, rule in self.layers.items():
            if not isinstance(pattern, str):
                raise PlanError(f"a layer pattern is a string; got {pattern!r}")
            if rule is None:
                raise PlanError(f"layers[{pattern!r}] is not a rule: None")
            given[f"layers[{pattern!r}]"] = rule
        for name, rule in given.items():
            if rule is not None and not isinstance(rule, Rule):
                hint = " (did you mean to call it?)" if isinstance(rule, type) else ""
                raise PlanError(f"{name} is not a rule: {rule!r}{hint}")
        object.__setattr__(self, "layers", dict(self.layers))

    @property
    def default_first(self) -> bool:
        """Whether the first layer gets the default's own rule."""
        return self.conv is None and self.dense is None and self.first is None

    def to_json(self) -> str:
        """The composite as JSON text, numbers included; :meth:`from_json` reads it back."""
        slots = ((name, getattr(self, name)) for name in _SLOTS)
        data: dict[str, Any] = {name: rule.to_dict() for name, rule in slots if rule is not None}
        if self.layers:
            data["layers"] = {pattern: rule.to_dict() for pattern, rule in self.layers.items()}
        return json.dumps(data, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Composite:
        """Read a composite that :meth:`to_json` wrote.

        Raises:
            PlanError: for text that isn't JSON, or names unknown keywords, rules or values.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(f"not a composite: {error}") from error
        if not isinstance(data, dict):
            raise PlanError("not a composite: a JSON object of keywords and rules is needed")
        if unknown := set(data) - {*_SLOTS, "layers"}:
            raise PlanError(f"a composite has no keyword {', '.join(sorted(unknown))}")
        layers = data.pop("layers", {})
        if not isinstance(layers, dict):
            raise PlanError("layers maps patterns to rules")
        rules = {name: from_dict(rule) for name, rule in data.items()}
        return cls(layers={k: from_dict(rule) for k, rule in layers.items()}, **rules)


def _flatten(composite: Composite) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
    keyed = [(jax.tree_util.GetAttrKey(n), getattr(composite, n)) for n in _SLOTS]
    patterns = tuple(composite.layers)
    keyed += [(jax.tree_util.DictKey(p), composite.layers[p]) for p in patterns]
    return keyed, patterns


def _unflatten(patterns: tuple[str, ...], children: Any) -> Composite:
    new = object.__new__(Composite)
    values = list(children)
    for name, value in zip(_SLOTS, values, strict=False):
        object.__setattr__(new, name, value)
    layers = dict(zip(patterns, values[len(_SLOTS) :], strict=True))
    object.__setattr__(new, "layers", layers)
    return new


jax.tree_util.register_pytree_with_keys(Composite, _flatten, _unflatten)
