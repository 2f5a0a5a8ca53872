"""An affine unit's linear map, for any weights: forward, transpose, stacked, and unweighted.

The map is rebuilt from the unit's core and pads in at least float32, whatever the model's dtype.
All arrays are in the layout of the core's own output; scales behind it are in the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lrpjax import _compat
from lrpjax.plan.dataflow import PERMUTES
from lrpjax.plan.elementwise import CASTS
from lrpjax.plan.layout import CoreAxes, core_axes, squash, to_core
from lrpjax.plan.specs import AffineSpec, Fold
from lrpjax.plan.units import Unit
from lrpjax.rewrite.contraction import (
    contract,
    count_conv,
    count_dot,
    stack,
    sum_to,
    unstack,
)
from lrpjax.rewrite.late import after
from lrpjax.rewrite.run import bind
from lrpjax.rules import views
from lrpjax.rules.base import wide_dtype
from lrpjax.trace import Atom, Literal, Value

Array = Any
Env = Mapping[Value, Array]


def affine_view(unit: Unit, env: Env, relevance: Array) -> tuple[views.Affine, Array]:
    """An affine unit as its rules see it, and the relevance of its output in the core's layout."""
    values = (unit.inputs[0], unit.outputs[0], unit.spec.core.outputs[0])
    dtype = wide_dtype(*(v.dtype for v in values))
    core = _Core(unit.spec, env, unit.inputs[0], dtype)
    scale, bias = core.folded()
    view = views.Affine(
        x=core.x,
        z=to_core(env[unit.outputs[0]].astype(dtype), unit.spec.folds),
        fold=partial(core.weights, scale),
        bias=bias,
        nonnegative=unit.spec.nonnegative,
        apply=core.apply,
        transpose=core.transpose,
        pull=partial(core.pull, scale),
        pair=core.pair,
        pair_transpose=core.pair_transpose,
        count=core.count,
        count_transpose=core.count_transpose,
        one_example=core.one_example,
        after=lambda array: after(array, relevance),
    )
    return view, to_core(relevance.astype(dtype), unit.spec.folds)


def scale_and_shift(fold: Fold, constant: Array) -> tuple[Array, Array]:
    """The s and t of an equation y = s·x + t."""
    match fold.equation.name:
        case "mul":
            return constant, 0.0
        case "div":
            return 1 / constant, 0.0
        case "neg":
            return -1.0, 0.0
        case "sub":
            return (1.0, -constant) if fold.live == 0 else (-1.0, constant)
        case _:
            return 1.0, constant


def _times(a: Any, b: Any) -> Any:
    """A·b, without an equation where one of them is a Python 0 or 1."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, float) and one in (0.0, 1.0):
            return other if one else 0.0
    return a * b


def _plus(a: Any, b: Any) -> Any:
    """A + b, without an equation where one of them is a Python 0."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, float) and one == 0.0:
            return other
    return a + b


@dataclasses.dataclass(frozen=True, eq=False)
class _Core:
    spec: AffineSpec
    env: Env
    input: Value
    dtype: Any

    @property
    def x(self) -> Array:
        return self.env[self.input].astype(self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.input.shape

    @property
    def axes(self) -> CoreAxes:
        return core_axes(self.spec.core, self.spec.operand)

    def read(self, atom: Atom) -> Array:
        if isinstance(atom, Literal):
            return jnp.asarray(atom.value, self.dtype)
        return self.env[atom].astype(self.dtype)

    # ------------------------------------------------------------ what is folded in

    def folded(self) -> tuple[Array, Array]:
        """The scale s and bias b, in the core's layout, with size 1 along constant axes."""
        scale: Any = 1.0
        bias: Any = 0.0
        for i, fold in enumerate(self.spec.folds):
            if fold.is_layout:
                continue
            constant = None
            if fold.constant is not None:
                small = squash(self.read(fold.constant), fold.varies)
                constant = to_core(small, self.spec.folds[:i])
            s, t = scale_and_shift(fold, constant)
            scale, bias = _times(scale, s), _plus(_times(bias, s), t)
        return jnp.asarray(scale, self.dtype), jnp.asarray(bias, self.dtype)

    def weights(self, scale: Array) -> Array:
        """W·s, as the core's operand holds it; for a sum, s itself."""
        if self.spec.weights is None:
            return scale
        w = self.read(self.spec.core.inputs[self.spec.weights])
        if scale.ndim == 0:
            return w * scale
        features = self.axes.features
        kept = scale.transpose(
            [*features, *(axis for axis in range(scale.ndim) if axis not in features)]
        ).reshape(tuple(scale.shape[axis] for axis in features))
        order = np.argsort(list(features.values()))
        others = [axis for axis in range(w.ndim) if axis not in features.values()]
        return w * jnp.expand_dims(kept.transpose([int(i) for i in order]), others)

    # ------------------------------------------------------------ the map

    def pad(self, x: Array) -> Array:
        for equation in self.spec.pads:
            x = lax.pad(x, jnp.zeros((), x.dtype), equation.params["padding_config"])
        return x

    def apply(self, x: Array, w: Array) -> Array:
        """Wx for any weights; x may have size 1 along batch axes."""
        spec, padded = self.spec, self.pad(x)
        if spec.weights is None:
            inputs = list(spec.core.inputs)
            inputs = [padded if i == spec.operand else self._raw(a) for i, a in enumerate(inputs)]
            return bind(spec.core, inputs)[0] * w
        operands = (padded, w) if spec.operand == 0 else (w, padded)
        return self.gathered(contract(spec.core, *operands))

    def gathered(self, z: Array) -> Array:
        """The sum over devices, where each holds a part of the contraction."""
        for equation in self.spec.gathers:
            if equation.name in CASTS:
                continue
            axes = equation.params.get("axes", equation.params.get("axis_name", ()))
            alike = frozenset(axes) - _compat.varying(z)  # as a map of constants may be
            z = bind(equation, [_compat.vary(z, tuple(alike))])[0]
        return z

    @property
    def _relaid(self) -> bool:
        """Whether no axis may be left out: a core's layout is changed, or its sharding is said."""
        return self.spec.core.params.get("out_sharding") is not None or any(
            e.name in PERMUTES or e.name == "reduce_scatter" for e in self.spec.gathers
        )

    def _raw(self, atom: Atom) -> Array:
        return atom.value if isinstance(atom, Literal) else self.env[atom]

    def transpose(self, c: Array, w: Array) -> Array:
        """Wᵀc, of the input's shape."""
        return _compat.transpose(lambda x: self.apply(x, w), self.x, c)

    def pull(self, scale: Array, c: Array) -> Array:
        """(W·s)ᵀc = Wᵀ(s·c), with W as the program holds it."""
        if self.spec.weights is None:
            return self.transpose(c, scale)
        w = self.read(self.spec.core.inputs[self.spec.weights])
        scaled = c * scale
        if self.spec.overlapping:  # a transposed convolution copies its weights, in reverse
            w = after(w, scaled)
        return self.transpose(scaled, w)

    # ------------------------------------------------------------ two maps in one call

    def pair(self, x1: Array, w1: Array, x2: Array, w2: Array) -> Array:
        """W₁x₁ + W₂x₂: stacked along the axis that is summed over, where there is one."""
        if (axes := self._stacking) is None:
            return self.apply(x1, w1) + self.apply(x2, w2)
        axis, w_axis = axes
        stacked = stack(x1, x2, axis, self.axes.groups)
        return self.apply(stacked, jnp.concatenate([w1, w2], w_axis))

    def pair_transpose(self, c: Array, w1: Array, w2: Array) -> tuple[Array, Array]:
        """(W₁ᵀc, W₂ᵀc), stacked likewise."""
        if (axes := self._stacking) is None:
            return self.transpose(c, w1), self.transpose(c, w2)
        axis, w_axis = axes
        w = jnp.concatenate([w1, w2], w_axis)
        like = stack(self.x, self.x, axis, self.axes.groups)
        both = _compat.transpose(lambda x: self.apply(x, w), like, c)
        return unstack(both, axis, self.axes.groups)

    @property
    def _stacking(self) -> tuple[int, int] | None:
        """The axes to stack along: summed over, and not padded."""
        axes = self.axes.contraction
        if axes is None:
            return None
        unpadded = (p.params["padding_config"][axes[0]] == (0, 0, 0) for p in self.spec.pads)
        return axes if all(unpadded) else None

    # ------------------------------------------------------------ without weights

    def count(self, x: Array) -> Array:
        """Σx over the inputs of each output, at size 1 along axes that all outputs share."""
        if self.spec.weights is None:
            return self.apply(x, jnp.ones((), self.dtype))
        if self.axes.contraction is None or self._relaid:
            w = self.spec.core.inputs[self.spec.weights]
            return self.apply(x, jnp.ones(w.shape, self.dtype))
        count = count_dot if self.spec.core.name == "dot_general" else count_conv
        return self.gathered(count(self.spec.core, self.spec.operand, self.pad(x)))

    def count_transpose(self, c: Array) -> Array:
        """The transpose of :meth:`count`, of relevance of all outputs."""
        out = jax.eval_shape(lambda: self.count(self.x))
        return _compat.transpose(self.count, self.x, sum_to(c, out.shape))

    def one_example(self, x: Array) -> Array:
        """Cut to one along the batch axes, where x is the same along them."""
        if self._relaid:
            return jnp.broadcast_to(x, self.shape)
        same = range(len(self.shape) - x.ndim) if x.ndim else range(len(self.shape))
        ones = [a for a in self.axes.batch if a in same or x.shape[a - len(self.shape)] == 1]
        shape = tuple(1 if a in ones else n for a, n in enumerate(self.shape))
        return jnp.broadcast_to(x, shape)
