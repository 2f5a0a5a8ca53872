"""Everything that touches ``jax.extend`` or differs between JAX versions.

Written against JAX 0.10.2 and 0.12. ``jax.extend.core`` carries no promise of compatibility, and
in JAX 0.11 ``ClosedJaxpr`` became ``Jaxpr``: so a jaxpr is known by its attributes, never by type.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import flax
import jax
from jax.extend import core as _core
from jax.extend import source_info_util as _source

Primitive = _core.Primitive

_LIBRARIES = tuple(
    os.path.join(os.path.dirname(str(module.__file__)), "") for module in (jax, flax)
)


def open_jaxpr(value: Any) -> tuple[Any, tuple[Any, ...]]:
    """A sub-program's open jaxpr and the constants it closes over."""
    if hasattr(value, "consts") and hasattr(value, "jaxpr"):
        return value.jaxpr, tuple(value.consts)
    return value, ()


def function_name(value: Any) -> str:
    """The name of the function that a sub-program was traced from; for people, not recognition."""
    return open_jaxpr(value)[0].debug_info.func_name


def scan_counts(params: dict) -> tuple[int, int]:
    """How many operands of a scan are constant over the loop, and how many are carried."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constants, carry, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carry))


def transpose(linear: Any, like: Any, cotangent: Any) -> Any:
    """The transpose of a linear function of one array, applied.

    Where devices hold parts, inside a ``shard_map`` or with shardings in types,
    ``jax.linear_transpose`` does not take the type of an array; its value does no harm.
    """
    if varying(like) or has_sharding(like):
        return jax.vjp(linear, like)[1](cotangent)[0]
    return jax.linear_transpose(linear, like)(cotangent)[0]


def has_sharding(array: Any) -> bool:
    """Whether an array's type says how its axes are spread over devices."""
    return any(axes is not None for axes in jax.typeof(array).sharding.spec)


def placed_as(array: Any, like: Any) -> Any:
    """An array with the sharding that another's type has, where shardings are explicit."""
    wanted = jax.typeof(like).sharding
    if wanted == jax.typeof(array).sharding or wanted.mesh.empty:
        return array
    return jax.sharding.reshard(array, wanted)


def varying(array: Any) -> frozenset[str]:
    """The axes of the mesh along which devices hold different parts, inside a ``shard_map``."""
    kind = getattr(jax.typeof(array), "manual_axis_type", None)
    return frozenset() if kind is None else frozenset(kind.varying)


def vary(array: Any, axes: tuple[str, ...]) -> Any:
    """The same array as one that differs between devices."""
    return jax.lax.pcast(array, axes, to="varying") if axes else array


def is_literal(atom: Any) -> bool:
    """Whether an atom of a jaxpr is a literal, whose value stands in the program."""
    return isinstance(atom, _core.Literal)


def scope_of(equation: Any) -> str:
    """The name stack of an equation: the path of the named scopes it was traced in."""
    return str(equation.source_info.name_stack)


def source_of(source_info: Any) -> str:
    """The user's source line that an equation comes from: ``file:line (function)``, or nothing.

    Frames of JAX and Flax themselves are passed over: a layer's author is not who calls it.
    """
    frames = source_info.traceback.frames if source_info.traceback else ()
    for frame in frames:
        if not frame.file_name.startswith(_LIBRARIES):
            return f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
    return ""


def bind(
    primitive: Primitive, inputs: Sequence[Any], params: dict, context: Any, source_info: Any
) -> list[Any]:
    """Run one equation as the program would: its parameters, context and name stack."""
    stack = _source.current_name_stack() + source_info.name_stack
    with _source.user_context(source_info.traceback, name_stack=stack), context.manager:
        out = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return list(out) if primitive.multiple_results else [out]


def broadcast(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[Primitive, dict]:
    """The primitive and parameters that broadcast a shape the way elementwise primitives do."""
    dims = tuple(range(len(new))) if old else ()
    params = {"shape": new, "broadcast_dimensions": dims, "sharding": None}
    return _core.primitives.broadcast_in_dim_p, params
