"""What each primitive is: the one table that recognition starts from.

A recogniser never asks for a function's name; it asks this table what an equation does to its
operands, and the facts of :mod:`lrpjax.plan.facts` which operands depend on the explained input.
A primitive that is missing here is an error on a relevance path, never a silent gradient;
:func:`register_rule` adds one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any


class Kind(enum.Enum):
    """What a primitive does to the operands that depend on the explained input."""

    CONTRACTION = "bilinear: linear in one operand when the other is constant"
    SUM = "a linear sum with non-negative weights"
    LINEAR = "linear in its one operand, with weights of unknown sign"
    ADD = "a sum, or a difference, of operands"
    SCALE = "a product, or a quotient, of operands"
    ELEMENTWISE = "each output element is a function of the operands' elements there"
    ROUTE = "moves, copies or drops elements"
    SELECT = "takes each element from one of several operands"
    MAX = "takes the largest, or sorts"
    STOP = "no relevance passes"
    INLINE = "a call whose body is part of the program"
    CUSTOM = "a call with derivatives of its own"
    REMAT = "a call whose body is computed again in the backward pass"
    LOOP = "a body that runs a known number of times"
    BRANCH = "one of several bodies"
    MAPPED = "a body that runs on each device with its part"


_TABLE: dict[Kind, str] = {
    Kind.CONTRACTION: "dot_general conv_general_dilated",
    Kind.SUM: "reduce_sum cumsum reduce_window_sum psum psum_invariant reduce_scatter scatter-add",
    Kind.ADD: "add add_any sub",
    Kind.SCALE: "mul div neg",
    Kind.ELEMENTWISE: """
        abs acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp cos cosh
        digamma erf erf_inv erfc exp exp2 expm1 floor integer_pow is_finite lgamma log log1p log2
        logistic max min nextafter one_minus_square pow rem round rsqrt sign sin sinh sqrt square
        tan tanh and or xor not eq ne ge gt le lt
        """,
    Kind.ROUTE: """
        all_gather all_gather_invariant all_to_all broadcast_in_dim concatenate
        convert_element_type copy device_put dynamic_slice dynamic_update_slice gather
        layout_constraint optimization_barrier pad ppermute pvary reduce_precision reshape
        reshard rev scatter sharding_constraint slice split squeeze stack tile transpose unstack
        """,
    Kind.SELECT: "select_n",
    Kind.MAX: """
        cummax cummin reduce_max reduce_min reduce_window_max reduce_window_min scatter-max
        scatter-min sort top_k
        """,
    Kind.STOP: "stop_gradient argmax argmin",
    Kind.INLINE: "jit pjit closed_call core_call",
    Kind.CUSTOM: "custom_jvp_call custom_vjp_call",
    Kind.REMAT: "remat2 checkpoint",
    Kind.LOOP: "scan",
    Kind.BRANCH: "cond",
    Kind.MAPPED: "shard_map",
}

_KINDS: dict[str, Kind] = {name: kind for kind, names in _TABLE.items() for name in names.split()}

#: Kinds that :func:`register_rule` takes, by the name a user gives.
_REGISTRABLE = {
    "linear": Kind.LINEAR,
    "elementwise": Kind.ELEMENTWISE,
    "route": Kind.ROUTE,
    "stop": Kind.STOP,
}

RelevanceFunction = Callable[[Any, list[Any], Any, dict], Any]

_registered: dict[str, Kind | RelevanceFunction] = {}


def kind_of(primitive: str) -> Kind | None:
    """What a primitive is, or None for one that no unit covers."""
    entry = _registered.get(primitive, _KINDS.get(primitive))
    return entry if isinstance(entry, Kind) else None


def function_of(primitive: str) -> RelevanceFunction | None:
    """The relevance function a user registered for a primitive, if any."""
    entry = _registered.get(primitive)
    return None if isinstance(entry, Kind) else entry


def is_registered(primitive: str) -> bool:
    """Whether a user said what a primitive is."""
    return primitive in _registered


def registered() -> tuple[tuple[str, Any], ...]:
    """All that was registered: a part of what a compiled explanation is keyed by."""
    return tuple(sorted(_registered.items(), key=lambda item: item[0]))


def register_rule(primitive: Any, kind_or_function: str | RelevanceFunction) -> None:
    """Say what a primitive is, or give it a relevance rule of its own.

    Args:
        primitive: a JAX primitive or its name.
        kind_or_function: what it is: "linear" (in its one dependent operand; it becomes an affine
            unit of kind "pool"), "elementwise", "route" (relevance follows its VJP) or "stop"; or
            a function ``(relevance, inputs, outputs, params) -> relevance of each input``.
            ``inputs`` is the list of all operands; ``outputs`` and ``relevance`` are arrays for a
            primitive with one result, lists for one with several. The result is one array per
            operand (None for an operand that gets nothing), or the array itself for one operand.

    Raises:
        ValueError: for a kind that isn't one of the four.

    Example:
        >>> import jax, lrpjax
        >>> lrpjax.register_rule("erf_inv", "elementwise")
        >>> lrpjax.lrp(jax.lax.erf_inv)(jax.numpy.array(0.5)).shape
        ()
    """
    name = primitive if isinstance(primitive, str) else primitive.name
    if callable(kind_or_function):
        _registered[name] = kind_or_function
    elif kind_or_function in _REGISTRABLE:
        _registered[name] = _REGISTRABLE[kind_or_function]
    else:
        raise ValueError(
            f"a primitive is one of {', '.join(map(repr, _REGISTRABLE))}, or has a function of "
            f"its own; got {kind_or_function!r} for '{name}'"
        )
