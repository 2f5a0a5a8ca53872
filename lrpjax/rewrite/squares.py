"""The linear map L of a normalisation, which sums squares: its equations, with other weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from lrpjax.plan.specs import NormalisationSpec
from lrpjax.plan.units import Unit
from lrpjax.primitives import Kind
from lrpjax.rewrite.attention import undone
from lrpjax.rewrite.wide import apply_wide, read_wide
from lrpjax.trace import Atom, Equation, Value

Array = Any
Env = Mapping[Value, Array]
Weights = Callable[[Equation, Array], Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Squares:
    """A normalisation whose equations can be run on other squares.

    Attributes:
        unit, spec: the layer.
        dtype: what is calculated in.
        env: the values of all its equations, at that dtype.
    """

    unit: Unit
    spec: NormalisationSpec
    dtype: Any
    env: Env

    def read(self, atom: Atom) -> Array:
        """The value of any atom that the layer reads or makes."""
        return read_wide(atom, self.env, self.dtype)

    @property
    def x(self) -> Value:
        """What is normalised."""
        return self.unit.inputs[0]

    @property
    def normaliser(self) -> Value:
        """What x is multiplied with or divided by."""
        value = self.spec.join.inputs[self.spec.normaliser]
        assert isinstance(value, Value), "a normaliser depends on the input"
        return value

    def linear(
        self, u: Array, weights: Weights = lambda equation, w: w, bare: bool = False
    ) -> Array:
        """Lu in the layout of y, with other weights, or with no scales at all."""
        return self.laid_out(self.sums(u, weights, linear=True, bare=bare), self.spec.statistic)

    def sums(
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
                image = image * self.scale(square.other)
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

    def scale(self, path: tuple[tuple[Equation, int], ...]) -> Array:
        """The constant factor along the way to a square."""
        return self._image(path, jnp.ones(self.x.shape, self.dtype), bare=False)

    def laid_out(self, array: Array, value: Value) -> Array:
        """What stands in the layout of a value of the chain, in the layout of y."""
        while value is not self.normaliser:
            equation = next(e for e in self.spec.chain if value in e.inputs)
            if equation.kind is Kind.ROUTE:
                array = apply_wide(equation, [array], self.dtype)
            (value,) = equation.outputs
        return array


def counted(equation: Equation, weights: Array) -> Array:
    """One for each element that isn't zero."""
    return jnp.where(weights != 0, 1, 0).astype(weights.dtype)


def without_own(equation: Equation, weights: Array) -> Array:
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
