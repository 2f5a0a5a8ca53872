"""A small residual network with BatchNorm, the same in Linen and in NNX, with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from support.networks import mlp, normal

CLASSES = 10
IMAGES = normal(3, 6, 6, 2, seed=70)
VECTORS = normal(3, 4, seed=71)


class LinenResidual(nn.Module):
    """Convolutions with BatchNorm, a skip connection, max pooling and a head."""

    @nn.compact
    def __call__(self, x):
        norm = lambda name: nn.BatchNorm(use_running_average=True, name=name)
        x = nn.relu(norm("stem_norm")(nn.Conv(4, (3, 3), use_bias=False, name="stem")(x)))
        y = norm("branch_norm")(nn.Conv(4, (3, 3), name="branch")(x))
        x = nn.max_pool(nn.relu(x + y), (2, 2), (2, 2))
        return nn.Dense(CLASSES, name="head")(x.mean((-3, -2)))


class NnxResidual(nnx.Module):
    """The same."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(2, 4, (3, 3), use_bias=False, rngs=rngs)
        self.stem_norm = nnx.BatchNorm(4, rngs=rngs)
        self.branch = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.branch_norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem_norm(self.stem(x)))
        y = self.branch_norm(self.branch(x))
        x = nnx.max_pool(nnx.relu(x + y), (2, 2), (2, 2))
        return self.head(x.mean((-3, -2)))


def linen_residual(seed=0):
    """(module, variables), the variables float64 NumPy arrays."""
    module = LinenResidual()
    shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)
    rng = np.random.default_rng((72, seed))

    def draw(path, leaf):
        value = rng.normal(size=leaf.shape) / np.sqrt(max(1, np.prod(leaf.shape[:-1])))
        special = {"var": 0.5 + np.abs(value), "scale": 1.0 + 0.3 * value}
        return special.get(path[-1].key, value)

    return module, jax.tree_util.tree_map_with_path(draw, shapes)


def load(model, variables):
    """Give an NNX network the weights of the Linen one."""
    for collection in variables.values():
        for layer, values in collection.items():
            for name, value in values.items():
                getattr(getattr(model, layer), name).set_value(jnp.asarray(value))


def nnx_residual(seed=0, make=NnxResidual):
    """The same network as an NNX module in evaluation mode, with the same weights."""
    model = make(nnx.Rngs(0))
    load(model, linen_residual(seed)[1])
    model.eval()
    return model


def function(name):
    """A network as something to explain of one argument, and a batch of three inputs for it."""
    if name == "mlp":
        return mlp, VECTORS
    if name == "nnx":
        return nnx_residual(), IMAGES
    module, variables = linen_residual()
    return module.bind(variables), IMAGES
