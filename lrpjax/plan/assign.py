"""One rule per unit: layer patterns over first and last over kinds over defaults."""

from __future__ import annotations

import dataclasses
import re
from fnmatch import fnmatchcase

from lrpjax.composite import Composite
from lrpjax.errors import PlanError, UnsupportedPrimitiveError
from lrpjax.plan.units import Program, Unit, map_units
from lrpjax.presets import default_rule
from lrpjax.rules import Routing, Rule, Stop
from lrpjax.rules.base import all_rules
from lrpjax.rules.other import Registered

_REPEAT = re.compile(r"#\d+(?=/|$)")  # which use of a layer it is, in a name


def assign(program: Program, composite: Composite) -> Program:
    """Give every unit its rule and the reason for it.

    Raises:
        PlanError: for a rule that doesn't fit its unit, or a pattern that fits none.
        UnsupportedPrimitiveError: for a primitive no unit covers.
    """
    _check_patterns(program.units(), composite)
    return map_units(program, lambda unit: _assign(unit, composite))


def matches(pattern: str, unit: Unit) -> bool:
    """Whether a layer pattern means a unit: by name, any use of it, or what was folded in."""
    names = {unit.layer, _REPEAT.sub("", unit.layer), *unit.aliases}
    return any(fnmatchcase(name, pattern) for name in names)


def _check_patterns(units: tuple[Unit, ...], composite: Composite) -> None:
    for pattern, rule in composite.layers.items():
        matching = [unit for unit in units if matches(pattern, unit)]
        if not matching:
            names = ", ".join(dict.fromkeys(unit.layer for unit in units))
            raise PlanError(f"the layer pattern {pattern!r} matches nothing; there are: {names}")
        if all(rule.misfit(unit) for unit in matching):
            unit = matching[0]
            raise PlanError(
                f"{_name(rule)} fits none of the units that {pattern!r} matches: "
                f"{unit.layer} ({unit.kind}): {rule.misfit(unit)}; {_fitting(unit)}"
            )


def _assign(unit: Unit, composite: Composite) -> Unit:
    rule, reason = _choose(unit, composite)
    if (misfit := rule.misfit(unit)) is not None:
        raise PlanError(
            f"{_name(rule)} ({reason}) does not fit layer '{unit.layer}', a unit of kind "
            f"{unit.kind}: {misfit}; {_fitting(unit)}"
        )
    if (grows := rule.unbounded(unit)) is not None:
        reason = f"{reason}; unbounded: {grows}"
    return dataclasses.replace(unit, rule=rule, reason=reason)


def _choose(unit: Unit, composite: Composite) -> tuple[Rule, str]:
    for pattern, rule in reversed(list(composite.layers.items())):
        # The generic fallback is opted into by its own keyword, never by a pattern.
        chosen = unit.kind != "unsupported" or isinstance(rule, Stop)
        if chosen and matches(pattern, unit) and not rule.misfit(unit):
            return rule, f"layer pattern {pattern!r}"
    if unit.kind == "unsupported":
        return _unsupported(unit, composite)
    if unit.kind in _FIXED:
        return _FIXED[unit.kind]
    if unit.first and composite.first is not None:
        return composite.first, "first layer"
    if unit.last and composite.last is not None:
        return composite.last, "last layer"
    rule = getattr(composite, unit.kind)
    if rule is not None:
        return rule, f"rule of {unit.kind}"
    return default_rule(unit, composite.default_first)


_FIXED: dict[str, tuple[Rule, str]] = {
    "route": (Routing(), "the primitive's own VJP"),
    "custom": (Registered(), "registered relevance function"),
    "stop": (Stop(), "relevance ends here"),
}


def _unsupported(unit: Unit, composite: Composite) -> tuple[Rule, str]:
    equation = unit.equations[0]
    if composite.unsupported is not None and equation.name != "while":
        return composite.unsupported, f"fallback for '{equation.name}'; unbounded: not a known unit"
    detail = _DETAILS.get(equation.name, "")
    # JAX has no reverse pass for a while loop: no relevance function could be given one.
    differentiable = equation.name != "while"
    raise UnsupportedPrimitiveError(
        equation.name, unit.layer, equation.source, detail, differentiable
    )


_FUSED = (
    "a fused attention kernel hides its softmax; take the implementation that XLA compiles: "
    "implementation='xla' of jax.nn.dot_product_attention"
)
_INDICES = (
    "explained integers are followed to where they take rows within one region; inside a loop, "
    "remat or shard_map, take the rows outside"
)
_DETAILS = {
    "div": "it divides by a value that depends on the explained input",
    "gather": _INDICES,
    "dynamic_slice": _INDICES,
    "while": "its trip count is not known when traced; use scan, or fori_loop with fixed bounds",
    "shard_map": (
        "JAX differentiates no shard_map inside another, and with check_vma=False it is not known "
        "which values all devices hold alike"
    ),
    "pallas_call": _FUSED,
    "dot_product_attention_fwd_wrapper": _FUSED,
    "dot_product_attention_fwd": _FUSED,
    "dot_product_attention_fp8_fwd_wrapper": _FUSED,
}


def _name(rule: Rule) -> str:
    return type(rule).__name__


def _fitting(unit: Unit) -> str:
    """The rules that do fit a unit, for the error to name."""
    fitting = (cls.__name__ for cls in all_rules() if object.__new__(cls).misfit(unit) is None)
    return "these fit: " + ", ".join(fitting)
