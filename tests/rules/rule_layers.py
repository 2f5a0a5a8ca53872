"""Affine layers of every style for the rule tests, with their dense matrices.

A `Layer` holds one layer with random float64 parameters, written as a plain function, a Linen
module or an NNX module, and knows how to explain it through the public API.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from oracle import affine

import lrpjax


@dataclass(frozen=True)
class Layer:
    """One layer under test.

    Attributes:
        shape: the input's shape, batch first.
        apply: (parameters, x) -> output.
        parameters: a pytree of float64 arrays.
        explain: (composite, pre) -> relevance function of (x, target=…) of the layer after `pre`.
        front: a route that the input takes before the layer, or None: the matrix is then the
            layer's alone, of the routed input.
    """

    shape: tuple[int, ...]
    apply: Callable[..., Any]
    parameters: Any
    explain: Callable[..., Any]
    front: Callable[..., Any] | None = None

    def output(self, x):
        """What the layer computes, a NumPy array."""
        return np.asarray(self.apply(self.parameters, x if self.front is None else self.front(x)))

    def affine(self):
        """The layer as a dense matrix, with the connectivity that weights of one reveal."""
        shape = self.shape
        if self.front is not None:
            shape = jax.eval_shape(self.front, np.zeros(shape)).shape
        ones = jax.tree.map(np.ones_like, self.parameters)
        return affine(
            lambda x: self.apply(self.parameters, x), shape, lambda x: self.apply(ones, x)
        )


def randomise(tree, seed=0):
    """The same tree with float64 normal values; variances become positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        value = rng.normal(size=leaf.shape)
        return 0.5 + np.abs(value) if "var" in jax.tree_util.keystr(path) else value

    return jax.tree_util.tree_map_with_path(draw, tree)


def function(shape, f, *parameter_shapes, front=None, seed=0):
    """A plain function f(front(x), *parameters) that closes over its parameters."""
    rng = np.random.default_rng(seed)
    parameters = tuple(rng.normal(size=size) for size in parameter_shapes)

    def explain(composite, pre=None):
        steps = [step for step in (pre, front) if step is not None]

        def explained(x):
            for step in steps:
                x = step(x)
            return f(x, *parameters)

        return lrpjax.lrp(explained, composite)

    return Layer(tuple(shape), lambda p, x: f(x, *p), parameters, explain, front)


def linen(shape, module, seed=0):
    """A Linen module, explained unbound: its variables are arguments."""
    with jax.enable_x64(True):
        variables = jax.eval_shape(module.init, jax.random.key(0), np.zeros(shape))
    variables = randomise(variables, seed)

    def explain(composite, pre=None):
        if pre is not None:
            return lrpjax.lrp(lambda x: module.apply(variables, pre(x)), composite)
        explained = lrpjax.lrp(module, composite)
        return lambda x, target: explained(variables, x, target=target)

    return Layer(tuple(shape), module.apply, variables, explain)


def nnx_module(shape, make, seed=0):
    """An NNX module made by make(rngs), explained as it is."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    state = randomise(state, seed)
    module = nnx.merge(graphdef, state)

    def explain(composite, pre=None):
        fun = module if pre is None else lambda x: module(pre(x))
        return lrpjax.lrp(fun, composite)

    return Layer(tuple(shape), lambda p, x: nnx.merge(graphdef, p)(x), state, explain)
