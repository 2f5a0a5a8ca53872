"""Small networks with fixed random weights, as functions, Linen modules and NNX modules.

The dense ones come with their relevance by the ε-rule, in NumPy, from the formula.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
from flax import nnx
from jax import lax


def normal(*shape, seed=0):
    """Standard normal float64 values."""
    return np.random.default_rng((seed, *shape)).normal(size=shape)


W1, B1 = normal(4, 6, seed=1), 0.3 * normal(6, seed=2)
W2, B2 = normal(6, 3, seed=3), 0.3 * normal(3, seed=4)
KERNEL1, KERNEL2 = 0.5 * normal(3, 3, 2, 4, seed=5), 0.5 * normal(3, 3, 4, 3, seed=6)
HEAD = normal(12, 3, seed=7)


def mlp(x):
    """Two dense layers with biases and a relu: [..., 4] -> [..., 3]."""
    w1, b1, w2, b2 = (a.astype(x.dtype) for a in (W1, B1, W2, B2))
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def mlp_output(x):
    """The same in NumPy."""
    return np.maximum(x @ W1 + B1, 0.0) @ W2 + B2


def mlp_relevance(x, start, epsilon=1e-6):
    """The ε-rule through both layers for one example: x [4], start [3] -> [4]."""
    second = oracle.Affine(W2.T, B2, np.ones_like(W2.T))
    first = oracle.Affine(W1.T, B1, np.ones_like(W1.T))
    hidden = np.maximum(W1.T @ x + B1, 0.0)
    return oracle.epsilon(first, x, oracle.epsilon(second, hidden, start, epsilon), epsilon)


def largest(z):
    """Relevance that starts with the largest logit at every leading position."""
    return np.where(z == z.max(-1, keepdims=True), z, 0.0)


def mlp_relevances(xs, start=largest):
    """The ε-rule for a batch of examples, each starting with `start` of its outputs."""
    return np.stack([mlp_relevance(x, start(mlp_output(x))) for x in xs])


def conv(x, kernel, stride=1, padding="SAME"):
    """A 2-D convolution, channels last."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (stride, stride), padding, dimension_numbers=numbers
    )


def convnet(x):
    """Convolutions, a residual sum, max pooling and a head: [n, 8, 8, 2] -> [n, 3]."""
    x = jax.nn.relu(conv(x, KERNEL1))
    x = nn.max_pool(x, (2, 2), (2, 2))
    y = jax.nn.relu(conv(x, KERNEL2) + 0.1)
    x = jnp.concatenate([y + x[..., :3], x[..., 3:]], axis=-1)
    x = nn.avg_pool(x, (4, 2), (4, 2))[:, :, :, :3].reshape(x.shape[0], -1)
    return x @ HEAD[: x.shape[-1]].astype(x.dtype)


class LinenNet(nn.Module):
    """Convolution, BatchNorm, a rematerialisable dense block and a head."""

    remat: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), name="stem")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
        x = x.mean((1, 2))
        block = nn.remat(Block) if self.remat else Block
        x = block(4, name="block")(x)
        return nn.Dense(3, name="head")(x)

    def double(self, x):
        """Another method than __call__."""
        return 2.0 * self(x)


class Block(nn.Module):
    """A residual block of one dense layer."""

    features: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(x + nn.Dense(self.features, name="inner")(x))


class NnxNet(nnx.Module):
    """Dense layers, a BatchNorm and dropout."""

    def __init__(self, seed=0):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))

    def hidden(self, x):
        """Another method than __call__."""
        return nnx.relu(self.first(x))


class CountingNnxNet(NnxNet):
    """The same, counting its calls in its own state."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x):
        self.calls[...] = self.calls[...] + 1
        return super().__call__(x)


def linen_net(remat=False, seed=0):
    """A Linen network with random weights and statistics: (module, variables, x)."""
    module = LinenNet(remat)
    x = normal(2, 6, 6, 2, seed=11)
    variables = jax.eval_shape(LinenNet().init, jax.random.key(seed), x)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        value = 0.5 * rng.normal(size=leaf.shape)
        return 0.5 + np.abs(value) if "var" in jax.tree_util.keystr(path) else value

    return module, jax.tree_util.tree_map_with_path(draw, variables), x


def close(actual, expected, rtol=1e-10):
    """Compare pytrees of numbers; the absolute part only allows for sums that cancel."""
    jax.tree.map(lambda a, b: _close(np.asarray(a), np.asarray(b), rtol), actual, expected)


def _close(actual, expected, rtol):
    assert actual.shape == expected.shape
    largest_value = np.abs(expected).max(initial=0.0)
    assert np.isfinite(largest_value) and largest_value > 0, "the numbers must say something"
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * largest_value)
