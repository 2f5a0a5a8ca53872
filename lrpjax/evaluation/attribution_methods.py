"""What the baselines of :mod:`lrpjax.evaluation.attributions` compute.

A method is a pytree: its numbers are traced, its counts and sizes are static, and it is called
with an :class:`~lrpjax.evaluation.explained.Explained` while the program is traced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.errors import PlanError
from lrpjax.evaluation.explained import Explained, at_least_float32

Array = Any


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Gradient:
    """∇f(x)."""

    def __call__(self, explained: Explained) -> Any:
        """A pytree like the inputs."""
        explained.check_floating()
        return explained.gradient(explained.inputs)


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class GradientTimesInput:
    """x ⊙ ∇f(x)."""

    def __call__(self, explained: Explained) -> Any:
        """A pytree like the inputs."""
        explained.check_floating()
        return jax.tree.map(jnp.multiply, explained.inputs, explained.gradient(explained.inputs))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["noise_level", "key"],
    meta_fields=["samples"],
)
@dataclasses.dataclass(frozen=True)
class SmoothGrad:
    """1/n Σ ∇f(x + noise)."""

    noise_level: Any
    key: Any
    samples: int

    def __call__(self, explained: Explained) -> Any:
        """A pytree like the inputs."""
        explained.check_floating()
        leaves, tree = jax.tree.flatten(explained.inputs)
        scales = [self._scale(leaf, explained.batch) for leaf in leaves]

        def noisy_gradient(i: Array) -> Any:
            keys = jax.random.split(jax.random.fold_in(self.key, i), len(leaves))
            noisy = [
                x + scale * jax.random.normal(key, x.shape, x.dtype)
                for x, scale, key in zip(leaves, scales, keys, strict=True)
            ]
            return explained.gradient(jax.tree.unflatten(tree, noisy))

        total = _sum_of(noisy_gradient, jnp.arange(self.samples), explained)
        return jax.tree.map(
            lambda t, x: (t / self.samples).astype(x.dtype), total, explained.inputs
        )

    def _scale(self, x: Array, batch: int | None) -> Array:
        """The noise's standard deviation, with axes of size 1."""
        axes = tuple(range(0 if batch is None else 1, x.ndim))
        extent = jnp.max(x, axes, keepdims=True) - jnp.min(x, axes, keepdims=True)
        return (self.noise_level * extent).astype(x.dtype)


@partial(jax.tree_util.register_dataclass, data_fields=["baseline"], meta_fields=["steps"])
@dataclasses.dataclass(frozen=True)
class IntegratedGradients:
    """(x − x′) ⊙ Σ w_i ∇f(x′ + a_i(x − x′)), with Gauss–Legendre nodes a_i and weights w_i."""

    baseline: Any
    steps: int

    def __call__(self, explained: Explained) -> Any:
        """A pytree like the inputs."""
        explained.check_floating()
        start = self._start(explained.inputs)
        difference = jax.tree.map(jnp.subtract, explained.inputs, start)
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)

        def weighted_gradient(node_and_weight: Array) -> Any:
            a, weight = node_and_weight
            point = jax.tree.map(lambda s, d: s + a.astype(d.dtype) * d, start, difference)
            return jax.tree.map(lambda g: g * weight.astype(g.dtype), explained.gradient(point))

        steps = (jnp.asarray((nodes + 1) / 2), jnp.asarray(weights / 2))
        total = _sum_of(weighted_gradient, steps, explained)
        return jax.tree.map(lambda t, d: (t * d).astype(d.dtype), total, difference)

    def _start(self, inputs: Any) -> Any:
        """The baseline in the structure, shapes and dtypes of the inputs."""
        baseline = self.baseline
        if isinstance(baseline, jax.Array):
            baseline = jax.tree.map(lambda _: self.baseline, inputs)
        wanted: Any = jax.tree.structure(inputs)
        got: Any = jax.tree.structure(baseline)
        if wanted != got:
            raise PlanError(
                "a baseline is one array, or has the structure of the explained inputs, "
                f"{wanted}; got {got}"
            )
        return jax.tree.map(lambda b, x: _fit(b, x, "baseline"), baseline, inputs)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["value"],
    meta_fields=["window", "stride", "axes", "windows_at_a_time"],
)
@dataclasses.dataclass(frozen=True)
class Occlusion:
    """f(x) − f(x with a window replaced), averaged over the windows that cover an element."""

    value: Any
    window: tuple[int, ...]
    stride: tuple[int, ...]
    axes: tuple[int, ...]
    windows_at_a_time: int

    def __call__(self, explained: Explained) -> Any:
        """An array like the input, at least float32 for integers."""
        x, (axes, window, stride) = self._check(explained)
        value = _fit(self.value, x, "value")
        sizes = [x.shape[axis] for axis in axes]
        starts = [_starts(*each) for each in zip(sizes, window, stride, strict=True)]
        corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(axes))
        whole = explained.per_example(explained.inputs)

        def drop(corner: Array) -> Array:
            inside: Array = True
            for axis, first, size in zip(axes, corner, window, strict=True):
                index = jax.lax.broadcasted_iota(jnp.int32, x.shape, axis)
                inside &= (index >= first) & (index < first + size)
            occluded = jnp.where(inside, value, x)
            return whole - explained.per_example(_like(explained.inputs, occluded))

        drops = _map(drop, corners, self.windows_at_a_time)
        drops = drops.reshape(*map(len, starts), *whole.shape)
        for first, size, wide in zip(starts, sizes, window, strict=True):
            drops = _spread(drops, first, size, wide)
        shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
        if explained.batch is not None:
            shape[0] = explained.batch
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        dtype = x.dtype if floating else jnp.zeros(()).dtype
        return _like(
            explained.inputs, jnp.broadcast_to(drops.reshape(shape), x.shape).astype(dtype)
        )

    def _check(self, explained: Explained) -> tuple[Array, tuple]:
        """The one explained array, and axes, windows and strides in the axes' order."""
        leaves = jax.tree.leaves(explained.inputs)
        if len(leaves) != 1:
            raise PlanError(f"occlusion explains one array; there are {len(leaves)}")
        (x,) = leaves
        first = 0 if explained.batch is None else 1
        if not all(-x.ndim <= axis < x.ndim and axis % x.ndim >= first for axis in self.axes):
            raise PlanError(
                f"axes {self.axes} are no axes of one example of an input of shape {x.shape}"
                f"{' (axis 0 is the batch)' if first else ''}"
            )
        axes = [axis % x.ndim for axis in self.axes]
        if len(set(axes)) < len(axes):
            raise PlanError(f"axes {self.axes} name an axis of shape {x.shape} twice")
        return x, tuple(zip(*sorted(zip(axes, self.window, self.stride, strict=True)), strict=True))


@partial(jax.tree_util.register_dataclass, data_fields=["width"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class CentreGaussian:
    """exp(−d²/2) around the middle of the rows and columns, shared by the channels."""

    width: Any

    def __call__(self, explained: Explained) -> Any:
        """A pytree like the inputs [..., h, w, c]."""
        return jax.tree.map(self._gaussian, explained.inputs)

    def _gaussian(self, x: Array) -> Array:
        if x.ndim < 3:
            raise PlanError(f"a Gaussian in the middle of [..., h, w, c]; got shape {x.shape}")
        *_, rows, columns, channels = x.shape
        down, across = (
            jnp.exp(-(((jnp.arange(n) - (n - 1) / 2) / (self.width * n)) ** 2) / 2)
            for n in (rows, columns)
        )
        pixels = down[:, None] * across
        return jnp.broadcast_to(pixels[..., None] / channels, x.shape).astype(_floating(x))


def _sum_of(function: Callable[..., Any], over: Any, explained: Explained) -> Any:
    """Σ function(i), one after another, in at least float32."""
    zeros = jax.tree.map(lambda x: jnp.zeros_like(at_least_float32(x)), explained.inputs)

    def add(total: Any, item: Any) -> tuple[Any, None]:
        term = jax.tree.map(lambda t, g: t + g.astype(t.dtype), total, function(item))
        return term, None

    return jax.lax.scan(add, zeros, over)[0]


def _starts(size: int, window: int, stride: int) -> np.ndarray:
    """Where windows start so that they cover an axis."""
    return np.arange(0, max(size - window, 0) + stride, stride, dtype=np.int32)


def _map(function: Callable[..., Array], corners: np.ndarray, at_a_time: int) -> Array:
    """One value per corner; filled up to whole steps, because a remainder is a second program."""
    count = len(corners)
    at_a_time = min(at_a_time, count)
    filled = np.concatenate([corners, np.repeat(corners[-1:], -count % at_a_time, axis=0)])
    return jax.lax.map(function, jnp.asarray(filled), batch_size=at_a_time)[:count]


def _spread(drops: Array, starts: np.ndarray, size: int, window: int) -> Array:
    """From the first axis, one value per window, to a last axis: the mean over windows [size]."""
    index = np.arange(size)
    covers = (index >= starts[:, None]) & (index < starts[:, None] + window)
    shares = jnp.asarray(covers / covers.sum(0), drops.dtype)
    return jnp.tensordot(drops, shares, (0, 0), precision=jax.lax.Precision.HIGHEST)


def _fit(given: Array, x: Array, name: str) -> Array:
    """A number or array, broadcast to an input."""
    try:
        return jnp.broadcast_to(given, x.shape).astype(x.dtype)
    except ValueError as error:
        raise PlanError(
            f"{name} of shape {jnp.shape(given)} does not broadcast to the input's {x.shape}"
        ) from error


def _like(inputs: Any, x: Array) -> Any:
    return jax.tree.unflatten(jax.tree.structure(inputs), [x])


def _floating(x: Array) -> Any:
    """The dtype of an attribution for an input that may hold integers."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.zeros(()).dtype
