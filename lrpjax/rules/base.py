"""What a rule is: numeric leaves, a formula for each family of units it fits, and arithmetic.

A rule is a frozen dataclass and a pytree: its numbers are traced, mapped over and differentiated;
its structure is static. It fits a family of units by having a method of the family's name
(``affine``, ``shift``, ``add``, ``elementwise``, ``routing``, ``generic``), which takes what the
family knows of the unit and the relevance of its output, and returns :class:`Split`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.errors import PlanError

Array = Any


def nothing() -> Array:
    """The share of something that takes none."""
    return jnp.zeros(())


@dataclasses.dataclass(frozen=True)
class Split:
    """How a unit's relevance was shared out.

    Attributes:
        relevance: one array per input of the unit; None for one that gets nothing, so that what
            is in front of it needs no backward pass.
        bias, stabiliser, stopped, remainder: functions giving what each of them took, a scalar;
            called only when the ledger is kept.
    """

    relevance: tuple[Array | None, ...]
    bias: Callable[[], Array] = nothing
    stabiliser: Callable[[], Array] = nothing
    stopped: Callable[[], Array] = nothing
    remainder: Callable[[], Array] = nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """A way to share the relevance of a unit's output among its inputs."""

    #: The signs of the weights must be known: a registered linear primitive doesn't fit.
    needs_signs: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):
            _RULES[cls.__name__] = cls

    def misfit(self, unit: Any) -> str | None:
        """Why the rule doesn't fit a unit, or None where it does."""
        if not hasattr(self, unit.family):
            return f"{type(self).__name__} has no formula for {unit.kind} units"
        if self.needs_signs and not unit.spec.signed:
            return f"{type(self).__name__} needs weights of known sign"
        return None

    def unbounded(self, unit: Any) -> str | None:
        """Why relevance may grow without bound through the unit, or None where it can't.

        The invariant: whenever R′ = y ⊙ c′ with bounded c′, the rule gives R = x ⊙ c with
        bounded c.
        """
        return None

    def cheaper(self) -> Rule:
        """An equal rule that costs less, where the numbers are known and leave a part out."""
        return self

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        names = [field.name for field in dataclasses.fields(self)]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash(type(self))

    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON: its name and its numbers."""
        fields = {f.name: _jsonable(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"rule": type(self).__name__, **fields}


_RULES: dict[str, type[Rule]] = {}

R = TypeVar("R", bound=Rule)


@dataclass_transform(frozen_default=True)
def rule(cls: type[R]) -> type[R]:
    """Make a class a rule: a frozen dataclass and a pytree with its non-string fields as leaves.

    Values are checked where a user builds a rule from numbers, never when JAX rebuilds one.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)
    leaves = tuple(f.name for f in fields if f.type not in ("str", str))
    static = tuple(f.name for f in fields if f.type in ("str", str))

    def flatten(self: Any) -> tuple[list[tuple[Any, Any]], tuple]:
        keyed = [(jax.tree_util.GetAttrKey(n), getattr(self, n)) for n in leaves]
        return keyed, tuple(getattr(self, n) for n in static)

    def unflatten(aux: tuple, children: Any) -> Any:
        new: Any = object.__new__(cls)
        for name, value in [*zip(leaves, children, strict=True), *zip(static, aux, strict=True)]:
            object.__setattr__(new, name, value)
        return new

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


def from_dict(data: Any) -> Rule:
    """Build a rule from what :meth:`Rule.to_dict` gave.

    Raises:
        PlanError: for an unknown rule or field, or an impossible value.
    """
    if not isinstance(data, dict) or "rule" not in data:
        raise PlanError(f'a rule is written as {{"rule": name, …}}; got {data!r}')
    name, values = data["rule"], {k: v for k, v in data.items() if k != "rule"}
    if not isinstance(name, str) or name not in _RULES:
        raise PlanError(f"no rule is called {name!r}; there are {', '.join(sorted(_RULES))}")
    known = {f.name for f in dataclasses.fields(_RULES[name])}
    if unknown := set(values) - known:
        raise PlanError(f"{name} takes {sorted(known) or 'no arguments'}; got {sorted(unknown)}")
    try:
        arrays = {k: np.asarray(v, float) if isinstance(v, list) else v for k, v in values.items()}
        return _RULES[name](**arrays)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{name} can't be made of {values}: {error}") from error


def all_rules() -> tuple[type[Rule], ...]:
    """Every kind of rule there is."""
    return tuple(_RULES.values())


def _same(a: Any, b: Any) -> bool:
    """Equal numbers; ones that are being traced are equal only to themselves."""
    known = all(isinstance(v, str) or concrete(v) for v in (a, b))
    return bool(np.array_equal(a, b)) if known else a is b


def _jsonable(value: Any) -> Any:
    return value if isinstance(value, str) else np.asarray(value).tolist()


def concrete(value: Any) -> bool:
    """Whether a number's value can be looked at: it is none that JAX is tracing."""
    numeric = isinstance(value, (int, float, np.ndarray, np.generic, jax.Array))
    return numeric and not isinstance(value, jax.core.Tracer)


def check_nonnegative(owner: Any, **values: Any) -> None:
    """Refuse concrete negative or non-numeric values."""
    for name, value in values.items():
        if isinstance(value, (str, bytes, bool)) or value is None:
            raise PlanError(f"{type(owner).__name__}: {name} is a number; got {value!r}")
        if concrete(value) and not np.all(np.asarray(value) >= 0):
            raise PlanError(f"{type(owner).__name__}: {name} must not be negative; got {value!r}")


# ---------------------------------------------------------------- arithmetic

#: Traced once for each shape, not once for each layer: a deep network's plan is long.
_once = functools.partial(jax.jit, inline=True)


@_once
def stabilise(z: Array, epsilon: Array) -> Array:
    """S(z) = z + ε·sign(z), with sign(0) = +1."""
    return z + jnp.where(z >= 0, epsilon, -jnp.asarray(epsilon)).astype(z.dtype)


@_once
def divide(a: Array, b: Array) -> Array:
    """A / b; zero where b is zero, or too small for its reciprocal to be a number."""
    return a / jnp.where(is_tiny(b), jnp.inf, b)


@_once
def divide_by_constants(a: Array, b: Array) -> Array:
    """The same, for one b that serves a whole batch.

    XLA multiplies with the reciprocal of such a b; on CPU it then merged the quotient into what
    follows, and held all that the quotient is made of: three times the memory on ResNet-18 with
    the flat rule. With the mask behind it the quotient stays whole.
    """
    tiny = is_tiny(b)
    return jnp.where(tiny, 0, a / jnp.where(tiny, 1, b))


@_once
def is_tiny(a: Array) -> Array:
    """Whether a is zero, or too small for its reciprocal to be a number."""
    return jnp.abs(a) < jnp.finfo(a.dtype).tiny


@_once
def positive(a: Array) -> Array:
    """a⁺ = max(a, 0)."""
    return jnp.where(a > 0, a, 0)


@_once
def negative(a: Array) -> Array:
    """a⁻ = min(a, 0)."""
    return jnp.where(a < 0, a, 0)


def moved(a: Array, shift: tuple[int, ...]) -> Array:
    """Every element moved by a number of places along each axis; zeros come in."""
    config = [(n, -n, 0) for n in shift]
    return jax.lax.pad(a, jnp.zeros((), a.dtype), config) if any(shift) else a


def wide_dtype(*dtypes: Any) -> Any:
    """The dtype to calculate in: float32, or the most precise of these.

    What is narrower says nothing, and can't be asked: float8 has no promotion.
    """
    single = jnp.finfo(jnp.float32).bits
    return jnp.result_type(jnp.float32, *(d for d in dtypes if jnp.finfo(d).bits > single))


def saturate(a: Array, dtype: Any) -> Array:
    """Cast to a dtype, at its largest number where it can't hold more: 65504 for float16.

    A zero output over a stabiliser of 10⁻⁶ is beyond float16; infinity would be NaN one layer on.
    """
    if jnp.finfo(dtype).max < jnp.finfo(jnp.float32).max:
        largest = jnp.finfo(dtype).max.astype(wide_dtype(a.dtype))
        a = jnp.clip(a.astype(largest.dtype), -largest, largest)
    return a.astype(dtype)


@_once
def times(a: Array, c: Array) -> Array:
    """A·c; zero where c is zero: what a mask of −∞ has taken out has no relevance to share."""
    return jnp.where(c == 0, 0, a * c)


def total(a: Array) -> Array:
    """The sum over all elements."""
    return jnp.sum(a)
