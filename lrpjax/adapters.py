"""Models as functions: any callable, Flax linen or NNX module, unmodified, as one calling form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx

_COLLECTIONS = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Model:
    """A model without its weights: what a compiled explanation is keyed by.

    Attributes:
        call: ``(weights, *args, **kwargs) -> outputs``; hashable.
        default_argnums: which positional argument is explained if nothing is said.
        top_scope: the outermost named scope of its program, no part of layer names.
    """

    call: Callable[..., Any]
    default_argnums: int = 0
    top_scope: str | None = None


@dataclasses.dataclass(frozen=True)
class _Function:
    fun: Callable[..., Any]

    def __call__(self, weights: Any, *args: Any, **kwargs: Any) -> Any:
        return self.fun(*args, **kwargs)


@dataclasses.dataclass(frozen=True, eq=False)
class _ByIdentity:
    """A callable that can't be hashed by value is known by what it is."""

    fun: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fun(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.fun is other.fun

    def __hash__(self) -> int:
        return id(self.fun)


@dataclasses.dataclass(frozen=True, eq=False)
class _Linen:
    """Known by the module's own value, so that equal modules share one compiled program."""

    module: linen.Module

    def __eq__(self, other: object) -> bool:
        """Whether the modules are equal; ones that keep arrays may not be comparable."""
        if not isinstance(other, _Linen) or type(other) is not type(self):
            return False
        try:
            return bool(self.module is other.module or self.module == other.module)
        except ValueError:
            return False

    def __hash__(self) -> int:
        """By value where that can be; a module may keep sets and lists (WeightNorm's filter)."""
        return hash(self.module if _is_hashable(self.module) else type(self.module))

    def __call__(self, weights: Any, *args: Any, **kwargs: Any) -> Any:
        return self.module.apply(*args, **kwargs)


class _BoundLinen(_Linen):
    def __call__(self, weights: Any, *args: Any, **kwargs: Any) -> Any:
        return self.module.apply(weights, *args, **kwargs)


@dataclasses.dataclass(frozen=True)
class _Nnx:
    """Merged anew at each trace: state that the module changes inside is discarded."""

    graphdef: Any
    method: str

    def __hash__(self) -> int:
        """By value where that can be; a module may keep lists (a convolution's padding)."""
        return hash((self.graphdef if _is_hashable(self.graphdef) else None, self.method))

    def __call__(self, weights: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(nnx.merge(self.graphdef, weights), self.method)(*args, **kwargs)


def adapt(fun: Any) -> tuple[Model, Any]:
    """The model behind a callable, and its weights as they are now.

    Raises:
        TypeError: for something that can't be called.
    """
    owner = getattr(fun, "__self__", None)
    if isinstance(fun, nnx.Module):
        graphdef, state = nnx.split(fun)
        return Model(_Nnx(graphdef, "__call__")), state
    if isinstance(owner, nnx.Module):
        graphdef, state = nnx.split(owner)
        return Model(_Nnx(graphdef, fun.__name__)), state
    if isinstance(fun, linen.Module):
        name = fun.name or type(fun).__name__
        if fun.scope is None:
            return Model(_Linen(fun), 1, name), ()
        module, variables = fun.unbind()
        return Model(_BoundLinen(module), 0, name), variables
    if not callable(fun):
        raise TypeError(f"a model is a callable or a Flax module; got {fun!r}")
    scope = type(owner).__name__ if isinstance(owner, linen.Module) else None
    call = fun if _is_hashable(fun) else _ByIdentity(fun)
    return Model(_Function(call), 0, scope), ()


def _is_hashable(fun: Any) -> bool:
    try:
        hash(fun)
    except TypeError:
        return False
    return True


def parameter_name(path: tuple[Any, ...]) -> str | None:
    """The name of a parameter leaf from its path in a pytree; None for a bare array.

    Example:
        >>> import jax
        >>> tree = {"params": {"head": {"kernel": 0.0}}}
        >>> [(path, _)] = jax.tree_util.tree_flatten_with_path(tree)[0]
        >>> parameter_name(path)
        'head/kernel'
    """
    keys = [str(_key(entry)) for entry in path]
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and "value" in keys[-1]:
        keys = keys[:-1]
    if len(keys) > 1 and keys[0] in _COLLECTIONS:
        keys = keys[1:]
    return "/".join(keys) or None


def _key(entry: Any) -> Any:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return entry
