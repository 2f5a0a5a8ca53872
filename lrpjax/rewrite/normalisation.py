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
from lrpjax.plan.units import Fold, NormalisationSpec, Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.affine import scale_and_shift
from lrpjax.rewrite.attention import undone
from lrpjax.rewrite.wide import apply_wide, read_wide, run_wide, wide_array
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
class _Layer:
    unit: Unit
    spec: NormalisationSpec
    dtype: Any
    env: Env

    def read(self, atom: Atom) -> Array:
        return read_wide(atom, self.env, self.dtype)

    @property
    def x(self) -> Value:
        return self.unit.inputs[0]

    @property
    def normaliser(self) -> Value:
        value = self.spec.join.inputs[self.spec.normaliser]
        assert isinstance(value, Value), "a normaliser depends on the input"
        return value

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
        where = movements(self.spec, self.read, self._scale)
        statistic = self._laid_out(self.env[self.spec.statistic], self.spec.statistic)
        normalise = lambda s: self.factor(self._chain(s))  # noqa: E731
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
        return self._laid_out(self._sums(jnp.zeros_like(u)), self.spec.statistic)

    def _members(self, where: Moved) -> views.TwoWay:
        """The sum over a window that counts each of its elements once."""
        if not where.complete:
            return self._two_way(lambda a: self._linear(a, _counted, bare=True))
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
            return self._two_way(lambda u: self._linear(u, _without_own))
        return self._two_way(lambda u: self._linear(u) - where.diagonal * u)

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
        return self._two_way(lambda u: self._linear(u, lambda e, w: part(_without_own(e, w))))

    def _linear(
        self, u: Array, weights: Weights = lambda equation, w: w, bare: bool = False
    ) -> Array:
        """Lu in the layout of y, with other weights, or with no scales at all."""
        return self._laid_out(self._sums(u, weights, linear=True, bare=bare), self.spec.statistic)

    def _sums(
        self,
        u: Array,
        weights: Weights = lambda equation, w: w,
        linear: bool = False,
        bare: bool = False,
    ) -> Array:
        """L's own equations on squares in the layout of c.

        Args:
            u: the squares.
            weights: other weights for those of a matrix or convolution.
            linear: leave out constants that are added between.
            bare: leave out scales.
        """
        known: dict[Atom, Array] = {}
        u = undone(u, self.spec.front)
        for square in self.spec.squares:
            image = self._image(square.path, u, bare)
            if not bare and any(e.kind is Kind.SCALE for e, _ in square.other):
                image = image * self._scale(square.other)
            known[square.value] = image
        for equation in self.spec.linear:
            made = [known[a] for a in equation.inputs if a in known]
            if equation.kind is Kind.SCALE and bare:
                known[equation.outputs[0]] = made[0]
                continue
            inputs = []
            for atom in equation.inputs:
                constant = None if atom in known else self.read(atom)
                if constant is not None and equation.kind is Kind.ADD and linear:
                    constant = jnp.zeros_like(constant)
                if constant is not None and equation.kind is Kind.CONTRACTION:
                    constant = weights(equation, constant)
                inputs.append(known[atom] if constant is None else constant)
            known[equation.outputs[0]] = apply_wide(equation, inputs, self.dtype)
        return known[self.spec.total]

    def _image(self, path: tuple[tuple[Equation, int], ...], u: Array, bare: bool) -> Array:
        """What the way to a square does to an array of the layout of x."""
        for equation, place in path:
            if equation.name == "abs" or (bare and equation.kind is Kind.SCALE):
                continue
            inputs = [u if i == place else self.read(a) for i, a in enumerate(equation.inputs)]
            u = apply_wide(equation, inputs, self.dtype)
        return u

    def _scale(self, path: tuple[tuple[Equation, int], ...]) -> Array:
        """The constant factor along the way to a square."""
        return self._image(path, jnp.ones(self.x.shape, self.dtype), bare=False)

    # ------------------------------------------------------------ the chain, in the layout of y

    def _laid_out(self, array: Array, value: Value) -> Array:
        """What stands in the layout of a value of the chain, in the layout of y."""
        while value is not self.normaliser:
            equation = next(e for e in self.spec.chain if value in e.inputs)
            if equation.kind is Kind.ROUTE:
                array = apply_wide(equation, [array], self.dtype)
            (value,) = equation.outputs
        return array

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
        return self._laid_out(jnp.broadcast_to(constant, out.shape), out)


def _arrived(weight: Any, shift: tuple[int, ...]) -> np.ndarray:
    """One where an element that has moved stands, along the axes that it has moved on."""
    there = np.asarray(weight) != 0
    for axis, n in enumerate(shift):
        if n:
            there = np.roll(there, n, axis)  # what would come round again has no weight
    return there.astype(np.float32)


Weights = Callable[[Equation, Array], Array]


def _counted(equation: Equation, weights: Array) -> Array:
    """One for each element that isn't zero."""
    return jnp.where(weights != 0, 1, 0).astype(weights.dtype)


def _without_own(equation: Equation, weights: Array) -> Array:
    """The weights with zeros where an element would count itself."""
    if equation.name == "dot_general":
        return weights * (1 - jnp.eye(len(weights), dtype=weights.dtype))
    numbers, groups = equation.params["dimension_numbers"], equation.params["feature_group_count"]
    out_axis, in_axis, *spatial = numbers.rhs_spec
    outs, ins = weights.shape[out_axis], weights.shape[in_axis]
    own = np.eye(outs, ins) if groups == 1 else np.ones((outs, ins))
    for axis, step, (low, _) in zip(
        spatial, equation.params["rhs_dilation"], equation.params["padding"], strict=True
    ):
        place = np.arange(weights.shape[axis]) * step == low
        own = own[..., None] * place
    return weights * jnp.asarray(1 - own.transpose(np.argsort(numbers.rhs_spec)), weights.dtype)
