"""A call of an explanation, parted into what is static and what is traced.

Arrays and int, float and complex arguments are traced; bool, str and other hashables are static.
The static part is the key of the compiled program, so that building an explanation afresh and
calling it again does not trace again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.adapters import Model, adapt, parameter_name
from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.plan import Plan, make_plan
from lrpjax.primitives import registered
from lrpjax.trace import TracedFunction, Value, trace

_TRACED = (jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic, int, float, complex)


@dataclasses.dataclass(frozen=True)
class Call:
    """The static part of a call.

    Attributes:
        model: the model without its weights.
        argnums: the explained positional arguments.
        has_aux: the model returns (outputs, anything else).
        taps: layer patterns whose relevance is wanted.
        ledger: every unit reports.
        treedef: the structure of (args, kwargs).
        static: the static leaves, each with its position.
        registry: the primitives a user registered.
    """

    model: Model
    argnums: int | tuple[int, ...]
    has_aux: bool
    taps: tuple[str, ...]
    ledger: bool
    treedef: Any
    static: tuple[tuple[int, Any], ...]
    registry: tuple[tuple[str, Any], ...]

    def arguments(self, arrays: Sequence[Any]) -> tuple[tuple, dict]:
        """The model's arguments, from the traced leaves."""
        leaves = list(arrays)
        for position, value in self.static:
            leaves.insert(position, value)
        return jax.tree.unflatten(self.treedef, leaves)

    @property
    def explained(self) -> tuple[int, ...]:
        """The explained arguments, always as a tuple."""
        return self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user asks for besides the model and the composite."""

    argnums: int | tuple[int, ...] | None = None
    has_aux: bool = False
    taps: tuple[str, ...] = ()
    ledger: bool = False


def part(fun: Any, options: Options, args: tuple, kwargs: dict) -> tuple[Call, Any, list[Any]]:
    """Part a call into its static key, the weights, and the traced leaves.

    Raises:
        PlanError: for an argument that is neither an array nor hashable, or ``argnums`` that
            name no argument.
    """
    model, weights = adapt(fun)
    leaves, treedef = jax.tree.flatten((args, kwargs))
    traced = [_is_traced(leaf) for leaf in leaves]
    static = tuple((i, leaf) for i, leaf in enumerate(leaves) if not traced[i])
    for _, leaf in static:
        try:
            hash(leaf)
        except TypeError as error:
            raise PlanError(f"arguments are arrays, numbers or hashable; got {leaf!r}") from error
    argnums = _argnums(options.argnums, model.default_argnums, len(args))
    arrays = [leaf for leaf, is_traced in zip(leaves, traced, strict=True) if is_traced]
    call = Call(
        model,
        argnums,
        options.has_aux,
        options.taps,
        options.ledger,
        treedef,
        static,
        registered(),
    )
    return call, weights, arrays


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, _TRACED) and not isinstance(leaf, (bool, np.bool_))


def _argnums(given: Any, default: int, count: int) -> int | tuple[int, ...]:
    argnums = default if given is None else given
    if not all(isinstance(n, int) for n in (argnums if isinstance(argnums, tuple) else (argnums,))):
        raise PlanError(f"argnums is an int or a sequence of ints; got {argnums!r}")
    for number in argnums if isinstance(argnums, tuple) else (argnums,):
        if not -count <= number < count:
            raise PlanError(
                f"argnums={argnums} names no positional argument: there are {count}"
                " (keyword arguments are not explained)"
            )
    if not isinstance(argnums, tuple):
        return argnums % count
    numbers = tuple(number % count for number in argnums)
    if len(set(numbers)) < len(numbers):
        raise PlanError(f"argnums={argnums} names an argument twice")
    return numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A traced and planned call.

    Attributes:
        plan: its plan.
        leaves: the traced leaves, weights first.
        outputs: how many of the program's outputs are the model's outputs; the rest is aux.
        out_tree, aux_tree: their structures.
        relevance_tree: the structure of the result.
        author: the model itself on the leaves.
    """

    plan: Plan
    leaves: tuple[Any, ...]
    outputs: int
    out_tree: Any
    aux_tree: Any
    relevance_tree: Any
    author: Any

    def env(self) -> dict[Value, Any]:
        """The values of all inputs of the program."""
        traced = self.plan.traced
        zeros = [jnp.zeros(v.shape, v.dtype) for v in traced.companions.values()]
        values = (*self.leaves, *traced.constants, *zeros)
        return dict(zip(traced.region.inputs, values, strict=True))


def prepare(call: Call, composite: Composite, weights: Any, arrays: Sequence[Any]) -> Job:
    """Trace and plan a call.

    Raises:
        PlanError: for inputs that are no real numbers, outputs that are not floating point, and as
            in planning.
        UnsupportedPrimitiveError: as in planning.
    """
    weight_leaves, weight_tree = jax.tree.flatten(weights)
    offset = len(weight_leaves)
    explained, relevance_tree = _explained(call, arrays)

    def author(*leaves: Any) -> tuple[Any, Any]:
        own = jax.tree.unflatten(weight_tree, leaves[:offset])
        args, kwargs = call.arguments(leaves[offset:])
        result = call.model.call(own, *args, **kwargs)
        if call.has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise PlanError("with has_aux the model returns a pair (outputs, anything else)")
        return result if call.has_aux else (result, ())

    names = [parameter_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(weights)[0]]
    names += _argument_names(call, arrays)
    leaves = (*weight_leaves, *arrays)
    positions = tuple(offset + i for i in explained)
    traced = trace(author, leaves, names, positions)
    out_tree, aux_tree = traced.out_tree.children()
    traced = dataclasses.replace(traced, primary=out_tree.num_leaves)
    _check_outputs(traced)
    plan = make_plan(traced, composite, call.model.top_scope)
    count = out_tree.num_leaves
    return Job(plan, leaves, count, out_tree, aux_tree, relevance_tree, author)


def _explained(call: Call, arrays: Sequence[Any]) -> tuple[list[int], Any]:
    """Which traced leaves are explained, and the structure of their relevance."""
    args, _ = call.arguments([_Position(i) for i in range(len(arrays))])
    chosen = tuple(args[i] for i in call.explained)
    leaves, tree = jax.tree.flatten(chosen if isinstance(call.argnums, tuple) else chosen[0])
    for leaf in leaves:
        shown = _dtype(arrays[leaf.index]) if isinstance(leaf, _Position) else repr(leaf)
        if not isinstance(leaf, _Position) or jnp.issubdtype(shown, jnp.complexfloating):
            raise PlanError(
                f"an explained input is an array of real numbers or of integer ids; got {shown}."
                " Other arguments can be explained with argnums"
            )
    return [leaf.index for leaf in leaves], tree


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _argument_names(call: Call, arrays: Sequence[Any]) -> list[str | None]:
    args, kwargs = call.arguments([_Position(i) for i in range(len(arrays))])
    names: dict[int, str | None] = {}
    for i, argument in [*enumerate(args), (None, kwargs)]:
        for path, leaf in jax.tree_util.tree_flatten_with_path(argument)[0]:
            if isinstance(leaf, _Position):
                names[leaf.index] = None if i in call.explained else parameter_name(path)
    return [names[i] for i in range(len(arrays))]


@dataclasses.dataclass(frozen=True)
class _Position:
    """Stands for a traced leaf while names are looked up."""

    index: int


def _check_outputs(traced: TracedFunction) -> None:
    if not traced.primary:
        raise PlanError("the model returns no array to explain")
    for atom in traced.region.outputs[: traced.primary]:
        if not jnp.issubdtype(atom.dtype, jnp.floating):
            raise PlanError(f"outputs must be floating point to be explained; got {atom.dtype}")
