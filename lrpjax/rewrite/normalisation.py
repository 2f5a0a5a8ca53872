"""A normalisation as its rules see it: its factor, and its sum of squares as a linear map.

The layer's own equations are run again from its input, in at least float32. What the Taylor rule
needs beside them is worked out only when that rule asks for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax import _compat
from lrpjax.plan.coefficients import Moved
from lrpjax.plan.layout import squash, to_core
from lrpjax.plan.normalisation.expansion import movements
from lrpjax.plan.specs import Fold
from lrpjax.plan.units import Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.affine import scale_and_shift
from lrpjax.rewrite.squares import Squares, counted, without_own
from lrpjax.rewrite.wide import apply_wide, run_wide, wide_array
from lrpjax.rules import views
from lrpjax.rules.base import moved, negative, positive, wide_dtype
from lrpjax.trace import Atom, Equation, Value

Array = Any
Env = Mapping[Value, Array]

#: Windows of more elements than this are summed as the program sums them, less the diagonal.
MOST = 64


def normalisation_view(
    unit: Unit, env: Env, relevance: tuple[Array, ...]
) -> tuple[views.Normalisation, Array]:
    """A normalisation as its rules see it, and the relevance of its output."""
    (x,), (y,) = unit.inputs, unit.outputs
    dtype = wide_dtype(x.dtype, y.dtype)
    known = {v: wide_array(env[v], dtype) for v in unit.reads}
    layer = _Layer(unit, unit.spec, dtype, run_wide(unit.equations, known, dtype))
    view = views.Normalisation(
        x=layer.env[x],
        y=to_core(env[y].astype(dtype), unit.spec.behind),
        c=layer.env[unit.spec.centred],
        shift=layer.shift,
        factor=layer.factor(layer.env[layer.normaliser]),
        centred_back=layer.centred_back,
        expansion=layer.expansion,
        centres=unit.spec.centres,
    )
    return view, to_core(relevance[0].astype(dtype), unit.spec.behind)


@dataclasses.dataclass(frozen=True, eq=False)
class _Layer(Squares):
    """The factor, and what the Taylor rule expands."""

    # ------------------------------------------------------------ factor and shift

    def factor(self, normaliser: Array) -> Array:
        """ν: what c is multiplied with, the constant scales on the way included."""
        factor = 1 / normaliser if self.spec.join.name == "div" else normaliser
        for fold in self.spec.scales:
            factor = factor * self._steps(fold)[0]
        for s, _ in self._behind():
            factor = factor * s
        return factor

    @property
    def shift(self) -> Array:
        shift = jnp.zeros((), self.dtype)
        for s, t in self._behind():
            shift = shift * s + t
        return shift

    def _behind(self) -> Iterator[tuple[Array, Array]]:
        """The scales and shifts behind, in the layout of the join."""
        for place, fold in enumerate(self.spec.behind):
            if not fold.is_layout:
                yield self._steps(fold, self.spec.behind[:place])

    def _steps(self, fold: Fold, before: tuple[Fold, ...] = ()) -> tuple[Array, Array]:
        if fold.constant is None:
            return scale_and_shift(fold, None)
        return scale_and_shift(fold, to_core(squash(self.read(fold.constant), fold.varies), before))

    def centred_back(self, relevance: Array) -> Array:
        """The transpose of x → c."""
        if not self.spec.centring:
            return relevance
        x = self.x

        def centred(array: Array) -> Array:
            return run_wide(self.spec.centring, {**self.env, x: array}, self.dtype)[
                self.spec.centred
            ]

        return _compat.transpose(centred, self.env[x], relevance)

    # ------------------------------------------------------------ the expansion

    def expansion(self) -> views.Expansion:
        """What the Taylor rule needs: derivatives by running the chain, L by running its sum."""
        u = self.env[self.spec.centred] ** 2
        where = movements(self.spec, self.read, self.scale)
        statistic = self.laid_out(self.env[self.spec.statistic], self.spec.statistic)

        def normalise(statistic: Array) -> Array:
            return self.factor(self._chain(statistic))

        _, slope = jax.jvp(normalise, (statistic,), (jnp.ones_like(statistic),))
        return views.Expansion(
            own=normalise(self._offset(u) + jnp.broadcast_to(where.diagonal * u, u.shape)),
            slope=slope,
            others=self._others(where),
            by_sign=self._by_sign(where),
            members=self._members(where),
            count=lambda: self._count(where),
            shifts=where.weights if where.complete else None,
        )

    def _offset(self, u: Array) -> Array | float:
        """What the constants that are added between the squares come to."""
        if not self.spec.adds:
            return 0.0
        return self.laid_out(self.sums(jnp.zeros_like(u)), self.spec.statistic)

    def _members(self, where: Moved) -> views.TwoWay:
        """The sum over a window that counts each of its elements once."""
        if not where.complete:
            return self._two_way(lambda a: self.linear(a, counted, bare=True))
        once = {shift: jnp.where(w != 0, 1, 0) for shift, w in where.weights.items()}
        return self._two_way(lambda a: sum(moved(w * a, s) for s, w in once.items()))

    def _count(self, where: Moved) -> Array:
        """How many elements each window has, at size 1 along axes that it is the same on.

        From the shifts where they are known: XLA would take seconds to sum up windows of ones.
        """
        if where.complete and not any(isinstance(w, jax.Array) for w in where.weights.values()):
            return sum(_arrived(w, s) for s, w in where.weights.items())
        return self._members(where).apply(jnp.ones(self.spec.centred.shape, self.dtype))

    def _two_way(self, linear: Callable[[Array], Array]) -> views.TwoWay:
        like = self.env[self.spec.centred]
        return views.TwoWay(linear, lambda c: _compat.transpose(linear, like, c))

    # ------------------------------------------------------------ L, less its diagonal

    def _others(self, where: Moved) -> views.TwoWay:
        """Σ_{j≠k} L_kj u_j, where possible without a difference: it would leave rounding.

        A window of few elements is added up one diagonal at a time. A matrix loses its diagonal.
        What is left, sums over whole axes among them, is L less the diagonal.
        """
        if where.complete and len(where.weights) <= MOST:
            return self._neighbours(where, lambda w: w)
        if self.spec.matrix:
            return self._two_way(lambda u: self.linear(u, without_own))
        return self._two_way(lambda u: self.linear(u) - where.diagonal * u)

    def _by_sign(self, where: Moved) -> tuple[views.TwoWay, views.TwoWay | None]:
        if self.spec.signed:
            return self._others(where), None
        part = self._neighbours if where.complete else self._matrix
        return part(where, positive), part(where, negative)

    def _neighbours(self, where: Moved, part: Callable[[Array], Array]) -> views.TwoWay:
        """The elements off the diagonal one diagonal at a time, or one sign of them."""
        rest = {shift: part(w) for shift, w in where.weights.items() if any(shift)}
        zero = jnp.zeros((), self.dtype)
        return self._two_way(lambda u: sum((moved(w * u, s) for s, w in rest.items()), zero * u))

    def _matrix(self, where: Moved, part: Callable[[Array], Array]) -> views.TwoWay:
        """One sign of the weights of a matrix or convolution, its diagonal left out."""
        return self._two_way(lambda u: self.linear(u, lambda e, w: part(without_own(e, w))))

    # ------------------------------------------------------------ the chain, in the layout of y

    def _chain(self, statistic: Array) -> Array:
        """The normaliser, from a statistic in the layout of y: no equation moves anything."""
        known: dict[Atom, Array] = {self.spec.statistic: statistic}
        for equation in self.spec.chain:
            (out,) = equation.outputs
            if equation.kind is Kind.ROUTE:
                known[out] = next(known[a] for a in equation.inputs if a in known)
                continue
            inputs = [
                known[a] if a in known else self._constant(a, equation) for a in equation.inputs
            ]
            known[out] = apply_wide(equation, inputs, self.dtype)
        return known[self.normaliser]

    def _constant(self, atom: Atom, equation: Equation) -> Array:
        """A constant of the chain in the layout of y."""
        constant = self.read(atom)
        if np.ndim(constant) == 0:
            scalar = equation.kind is Kind.SELECT  # a predicate may be a scalar
            return constant if scalar else jnp.broadcast_to(constant, self.normaliser.shape)
        (out,) = equation.outputs
        return self.laid_out(jnp.broadcast_to(constant, out.shape), out)


def _arrived(weight: Any, shift: tuple[int, ...]) -> np.ndarray:
    """One where an element that has moved stands, along the axes that it has moved on."""
    there = np.asarray(weight) != 0
    for axis, n in enumerate(shift):
        if n:
            there = np.roll(there, n, axis)  # what would come round again has no weight
    return there.astype(np.float32)
