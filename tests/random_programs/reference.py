"""Runs jitted functions by StableHLO's reference interpreter, without compiling anything.

For arrays of a few elements, compiling takes a hundred times longer than computing. What
``jax.jit`` hands to XLA is a StableHLO program, and jaxlib carries the interpreter that defines
what such programs mean: one operation after the other, nothing fused. Programs with operations
that it doesn't know (most of ``chlo``'s special functions) are compiled as always.
"""

from __future__ import annotations

import collections
import contextlib
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from lrpjax import explain

_UNKNOWN = ("stablehlo.custom_call", "stablehlo.composite")
_HALF = re.compile(r"[<x]b?f16>")


class Interpreted:
    """A jitted function, run by the interpreter wherever it can be.

    Args:
        jitted: what ``jax.jit`` returned.
        static: how many leading arguments are static.

    Attributes:
        runs: how many programs were "interpreted", and how many "compiled".
    """

    def __init__(self, jitted: Any, static: int = 0):
        self.jitted, self.static, self.eval_shape = jitted, static, jitted.eval_shape
        self.runs: collections.Counter[str] = collections.Counter()
        self._lowered: dict[int, Any] = {}

    def __call__(self, *args: Any) -> Any:
        leaves = jax.tree.leaves(args[self.static :])
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self.jitted(*args)
        traced = self.jitted.trace(*args)
        if id(traced.jaxpr) not in self._lowered:
            self._lowered[id(traced.jaxpr)] = (_module(traced), traced)
        module, _ = self._lowered[id(traced.jaxpr)]
        self.runs["interpreted" if module else "compiled"] += 1
        return _evaluate(*module, traced, leaves) if module else self.jitted(*args)


@contextlib.contextmanager
def interpreted() -> Iterator[Interpreted]:
    """Explanations that are called from outside of JAX's transforms are interpreted."""
    explanation = Interpreted(explain._explain, static=2)
    with mock.patch.object(explain, "_explain", explanation):
        yield explanation


def _module(traced: Any) -> tuple[ir.Module, list[int]] | None:
    """The program and which arguments it reads; None if it is to be compiled."""
    lowered = traced.lower()
    module = lowered.compiler_ir("stablehlo")
    operations: list[ir.Operation] = []

    def collect(operation: ir.Operation) -> ir.WalkResult:
        operations.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    with module.context, ir.Location.unknown():
        for operation in operations:
            if operation.name in _MENDED:
                with ir.InsertionPoint(operation):
                    _MENDED[operation.name](operation)
            elif operation.name in _UNKNOWN or operation.name.startswith("chlo."):
                return None
    if _HALF.search(str(module)):
        return None
    return module, sorted(lowered._lowering.compile_args["kept_var_idx"])


def _square(operation: ir.Operation) -> None:
    """A square is a product."""
    x = operation.operands[0]
    operation.results[0].replace_all_uses_with(stablehlo.MulOp(x, x).result)
    operation.erase()


def _scatter(operation: ir.Operation) -> None:
    """The interpreter scatters in place, though others may read the operand: give it a copy."""
    x = operation.operands[0]
    operation.operands[0] = stablehlo.ConvertOp(x.type, x).result


_MENDED = {"chlo.square": _square, "stablehlo.scatter": _scatter}


def _evaluate(module: ir.Module, read: list[int], traced: Any, leaves: list[Any]) -> Any:
    """Run a program on the values of its arguments' leaves."""
    dtypes = [aval.dtype for aval in jax.tree.leaves(traced.in_avals)]
    arguments = [np.asarray(leaves[i], dtypes[i]) for i in read]
    with module.context, ir.Location.unknown():
        given = [_attribute(array) for array in arguments]
        results = [np.array(result) for result in stablehlo.eval_module(module, given)]
    shapes, tree = jax.tree.flatten(traced.out_info)
    arrays = zip(results, shapes, strict=True)
    return jax.tree.unflatten(tree, [a.reshape(s.shape).astype(s.dtype) for a, s in arrays])


def _attribute(array: np.ndarray) -> ir.Attribute:
    if array.dtype == bool:
        kind = ir.RankedTensorType.get(array.shape, ir.IntegerType.get_signless(1))
        return ir.DenseElementsAttr.get([ir.BoolAttr.get(bool(b)) for b in array.ravel()], kind)
    return ir.DenseElementsAttr.get(np.array(array, order="C"))
