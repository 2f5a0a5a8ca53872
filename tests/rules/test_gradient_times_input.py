"""Without biases and without ε, the ε-rule on a ReLU net is gradient × input."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rule_cases import random_like
from rule_layers import linen, nnx_module, randomise

from lrpjax import Composite, lrp, rules


class LinenConvNet(nn.Module):
    """Convolutions with max and average pooling."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), use_bias=False)(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(5, (3, 3), strides=2, use_bias=False)(x))
        x = nn.avg_pool(x, (2, 2))
        return nn.Dense(3, use_bias=False)(x.reshape(x.shape[0], -1))


class ResidualNet(nnx.Module):
    """A residual block: its sum has to follow the ε-rule too."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(6, 6, use_bias=False, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        x = nnx.relu(self.layers[0](x))
        return self.layers[2](nnx.relu(x + self.layers[1](x)))


def mlp(rngs):
    """Three dense layers."""
    options = {"use_bias": False, "rngs": rngs}
    first, second, last = (nnx.Linear(*size, **options) for size in ((5, 8), (8, 6), (6, 4)))
    return nnx.Sequential(first, nnx.relu, second, nnx.relu, last)


NETS = {
    "mlp": lambda: nnx_module((3, 5), mlp),
    "convnet": lambda: linen((2, 8, 8, 2), LinenConvNet()),
    "residual": lambda: nnx_module((3, 6), ResidualNet),
}


def gradient_times_input(net, x):
    return x * np.asarray(jax.grad(lambda x: net.apply(net.parameters, x)[:, 1].sum())(x))


def with_rule(rule):
    return Composite(conv=rule, dense=rule, pool=rule, add=rule)


@pytest.mark.smoke
@pytest.mark.parametrize("name", NETS)
def test_the_zero_rule_is_gradient_times_input(name):
    net = NETS[name]()
    x = random_like(net.shape, 1)
    expected = gradient_times_input(net, x)
    actual = net.explain(with_rule(rules.Zero()))(x, target=1)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["convnet", "residual"])
def test_the_epsilon_rule_comes_closer_with_every_smaller_epsilon(name):
    net = NETS[name]()
    x = random_like(net.shape, 1)
    expected = gradient_times_input(net, x)
    errors = []
    for epsilon in (1e-2, 1e-5, 1e-8):
        actual = net.explain(with_rule(rules.Epsilon(epsilon)))(x, target=1)
        errors.append(np.abs(actual - expected).max() / np.abs(expected).max())
    assert errors[1] < errors[0] / 100 and errors[2] < errors[1] / 100


def test_every_logit_is_conserved():
    net = NETS["mlp"]()
    x = random_like(net.shape, 1)
    actual = net.explain(rules.Zero())(x, target=np.array([0, 3, -1]))
    np.testing.assert_allclose(actual.sum(1), net.output(x)[[0, 1, 2], [0, 3, 3]], rtol=1e-10)


def test_single_precision_agrees_to_single_precision():
    module = LinenConvNet()
    x = random_like((2, 8, 8, 2), 1).astype(np.float32)
    variables = randomise(jax.eval_shape(module.init, jax.random.key(0), x))
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), variables)
    gradient = jax.grad(lambda x: module.apply(variables, x)[:, 1].sum())(x)
    actual = lrp(module, with_rule(rules.Zero()))(variables, x, target=1)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, x * gradient, rtol=1e-3, atol=2e-5 * np.abs(actual).max())
