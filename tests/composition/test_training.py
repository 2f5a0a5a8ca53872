"""Training a network to look where it should: a loss on relevance, with optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from lrpjax import lrp, rules

CONTENT, TAG = slice(0, 6), slice(6, 8)
STEPS = 100


def samples(seed, count=256, tagged=True):
    """Vectors of six noisy features of the class and a clean tag, which may say nothing."""
    rng = np.random.default_rng((150, seed))
    labels = rng.integers(0, 2, count)
    sign = 2.0 * labels[:, None] - 1.0
    content = sign + 1.5 * rng.normal(size=(count, 6))
    told = sign if tagged else rng.choice([-1.0, 1.0], (count, 1))
    tag = told * [3.0, -2.0]
    return np.concatenate([content, tag], 1).astype(np.float32), labels


class Linen(nn.Module):
    """Two dense layers."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.relu(nn.Dense(16)(x)))


class Nnx(nnx.Module):
    """The same."""

    def __init__(self):
        self.first, self.second = (
            nnx.Linear(*size, rngs=nnx.Rngs(seed)) for seed, size in enumerate([(8, 16), (16, 2)])
        )

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@jax.jit
def shares(relevance):
    """What part of |R| lies inside the content and inside the tag, over a batch."""
    size = jnp.abs(relevance)
    return size[:, CONTENT].sum() / size.sum(), size[:, TAG].sum() / size.sum()


RULE = rules.Epsilon(0.1)


def train_linen(weight):
    """(logits, relevance) of a trained network, and the tag's share of relevance at every step."""
    module, (x, labels) = Linen(), samples(0)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    optimiser = optax.adam(0.02)

    def loss(variables):
        tag = shares(lrp(module, RULE)(variables, x, target=labels))[1]
        return cross_entropy(module.apply(variables, x), labels) + weight * tag, tag

    def step(carry, _):
        variables, state = carry
        gradient, tag = jax.grad(loss, has_aux=True)(variables)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(variables, updates), state), tag

    @jax.jit
    def train(variables):
        (variables, _), tags = jax.lax.scan(
            step, (variables, optimiser.init(variables)), length=STEPS
        )
        return variables, tags

    variables, tags = train(variables)
    explain = lambda x, labels: lrp(module, RULE)(variables, x, target=labels)
    return lambda x: jax.jit(module.apply)(variables, x), explain, np.asarray(tags)


def train_nnx(weight):
    """The same in NNX: the relevance function is built once, before the weights change."""
    model, (x, labels) = Nnx(), samples(0)
    explain = lrp(model, RULE)
    optimiser = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)

    def loss(model):
        tag = shares(lrp(model, RULE)(x, target=labels))[1]
        return cross_entropy(model(x), labels) + weight * tag, tag

    @nnx.jit
    def step(model, optimiser):
        gradient, tag = nnx.grad(loss, has_aux=True)(model)
        optimiser.update(model, gradient)
        return tag

    tags = np.stack([step(model, optimiser) for _ in range(STEPS)])
    return model, lambda x, labels: explain(x, target=labels), tags


@pytest.mark.parametrize("train", [train_linen, train_nnx])
def test_a_loss_on_relevance_makes_a_network_look_where_it_should(train):
    """Against the same network, data and steps without that loss; on samples never seen."""
    held_out, untagged = samples(1), samples(2, tagged=False)
    content, accuracy = {}, {}
    for weight in (0.0, 3.0):
        model, explain, tags = train(weight)
        inside, _ = shares(explain(*held_out))
        content[weight] = float(inside)
        x, labels = untagged
        accuracy[weight] = float(np.mean(np.argmax(model(x), -1) == labels))
    assert tags[-1] < 0.2 * tags[0], "the loss on relevance falls"
    assert content[3.0] > 0.9 > 0.8 > content[0.0], "relevance inside the right region rises"
    assert accuracy[3.0] > accuracy[0.0] + 0.1, "and it helps where the tag says nothing"
