"""The control flow of linen and NNX, against the same modules called one after another."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from control_flow.programs import EXACT, both
from flax import nnx
from support.networks import close, normal

from lrpjax import plan

WIDTH = 4
X = normal(3, WIDTH, seed=750)
OPTIONS = {"param_dtype": jnp.float64}


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- linen


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.tanh(nn.Dense(WIDTH, name="dense", **OPTIONS)(x)) + 0.5 * x


class Chooses(nn.Module):
    """Layer a or b, by `nn.cond` or `nn.switch`."""

    how: str

    def setup(self):
        self.a, self.b = Layer(), Layer()

    def __call__(self, x, which):
        branches = [lambda m, x: m.a(x), lambda m, x: m.b(m.a(x))]
        if self.is_initializing():
            return [branch(self, x) for branch in branches][-1]
        if self.how == "cond":
            return nn.cond(which == 1, *branches[::-1], self, x)
        return nn.switch(which, branches, self, x)

    def alone(self, x, which):
        return self.b(self.a(x)) if which else self.a(x)


class Rematerialised(nn.Module):
    """Six layers by `nn.remat_scan`, two loops in one another."""

    @nn.compact
    def __call__(self, x):
        return nn.remat_scan(Layer, lengths=(2, 3))(name="layers")(x)


def variables(module, *args):
    """Random weights."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    leaves, tree = jax.tree.flatten(shapes)
    draw = [jnp.asarray(0.5 * normal(*a.shape, seed=751 + i)) for i, a in enumerate(leaves)]
    return jax.tree.unflatten(tree, draw)


@pytest.mark.parametrize("how", ["cond", "switch"])
def test_a_branch_of_linen(how):
    module = Chooses(how)
    v = variables(module, X, 0)
    for which in (0, 1):
        index = jnp.asarray(which)
        f = lambda x, index=index: module.apply(v, x, index)
        g = lambda x, which=which: module.apply(v, x, which, method="alone")
        close(*both(f, g, EXACT, X), rtol=1e-9)
    units = plan(module, None, v, X, jnp.asarray(0)).units
    found = {u.layer.partition("#")[0] for u in units if u.kind == "dense"}
    assert found == {"a/dense", "b/dense"}


def test_remat_scan_of_linen():
    module = Rematerialised()
    v = variables(module, X)
    layers = v["params"]["layers"]

    def one_by_one(x):
        for i in range(2):
            for j in range(3):
                layer = jax.tree.map(lambda a, i=i, j=j: a[i, j], layers)
                x = Layer().apply({"params": layer}, x)
        return x

    close(*both(module.bind(v), one_by_one, EXACT, X), rtol=1e-9)
    (dense,) = [u for u in plan(module, None, v, X).units if u.kind == "dense"]
    assert dense.layer == "layers/dense" and dense.loops == (2, 3)


# ---------------------------------------------------------------- NNX


class NnxLayer(nnx.Module):
    def __init__(self, seed):
        self.dense = nnx.Linear(WIDTH, WIDTH, rngs=nnx.Rngs(seed), **OPTIONS)

    def __call__(self, x):
        return nnx.tanh(self.dense(x)) + 0.5 * x


class Flows(nnx.Module):
    """Two layers with a branch and loops by NNX's own functions, or without."""

    def __init__(self, how):
        self.a, self.b = NnxLayer(0), NnxLayer(1)
        self.how = how

    def __call__(self, x):
        swapped = self.how.startswith("plain")
        return getattr(self, self.how.split()[-1])(x, swapped)

    def cond(self, x, plain):
        if plain:
            return self.a(x)
        return nnx.cond(x.sum() < 99.0, lambda m, x: m.a(x), lambda m, x: m.b(x), self, x)

    def switch(self, x, plain):
        if plain:
            return self.b(x)
        index = (x.sum() < 99.0).astype(int)
        return nnx.switch(index, [lambda m, x: m.a(x), lambda m, x: m.b(x)], self, x)

    def fori_loop(self, x, plain):
        if plain:
            return self.a(self.a(self.a(x)))
        body = lambda i, c: (c[0], c[0].a(c[1]))
        return nnx.fori_loop(0, 3, body, (self, x))[1]

    def remat(self, x, plain):
        f = lambda m, x: m.b(m.a(x))
        return f(self, x) if plain else nnx.remat(f)(self, x)


@pytest.mark.parametrize("how", ["cond", "switch", "fori_loop", "remat"])
def test_control_flow_of_nnx(how):
    close(*both(Flows(how), Flows(f"plain {how}"), EXACT, X), rtol=1e-9)
    layers = {u.layer for u in plan(Flows(how), None, X).units if u.kind == "dense"}
    assert layers <= {"a/dense", "b/dense"} and layers
