"""Scales, shifts, BatchNorm and zero pads around a linear core are one unit with it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import oracle
import pytest
from flax import nnx
from jax import lax
from rule_cases import RULES, SIGNS, agree, check_layer, random_like, start
from rule_layers import function, linen, nnx_module

from lrpjax import Composite, lrp, rules


class LinenConvNorm(nn.Module):
    """A convolution and the BatchNorm of its outputs."""

    core: nn.Module
    use_scale: bool = True
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x):
        norm = nn.BatchNorm(
            use_running_average=True, use_scale=self.use_scale, epsilon=self.epsilon
        )
        return norm(self.core(x))


class LinenTransposedNorm(nn.Module):
    """A BatchNorm over channels that a transpose and a reshape have moved."""

    @nn.compact
    def __call__(self, x):
        z = nn.Conv(4, (3, 3), use_bias=False)(x).transpose(0, 3, 1, 2)
        z = z.reshape(z.shape[0], 4, -1)
        return nn.BatchNorm(use_running_average=True, axis=1)(z)


def nnx_norm(make_core, features, **options):
    """An NNX core and the BatchNorm of its outputs."""

    def make(rngs):
        norm = nnx.BatchNorm(features, use_running_average=True, rngs=rngs, **options)
        return nnx.Sequential(make_core(rngs), norm)

    return make


def conv_then_transposed_scale(x, w, s, b):
    dimension_numbers = ("NHWC", "HWIO", "NHWC")
    z = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=dimension_numbers)
    return jnp.transpose(z, (0, 3, 1, 2)) * s[:, None, None] + b[:, None, None]


def dense_then_reshaped_scale(x, w, s, b):
    return (x @ w).reshape(x.shape[0], 3, 2) * s + b


def dense_twice_scaled(x, w, b, s, t):
    return ((x @ w + b) * s - t) / 3.0 * s + t


LAYERS = {
    "linen dense": lambda: linen((2, 5), LinenConvNorm(nn.Dense(4))),
    "linen conv": lambda: linen((2, 4, 4, 2), LinenConvNorm(nn.Conv(3, (3, 3), strides=2))),
    "linen conv without bias or scale": lambda: linen(
        (2, 4, 4, 2), LinenConvNorm(nn.Conv(3, (3, 3), use_bias=False), use_scale=False)
    ),
    "linen depthwise": lambda: linen(
        (2, 4, 4, 3), LinenConvNorm(nn.Conv(3, (3, 3), feature_group_count=3, use_bias=False))
    ),
    "linen transposed conv": lambda: linen(
        (2, 3, 3, 2), LinenConvNorm(nn.ConvTranspose(3, (3, 3), strides=(2, 2)))
    ),
    "linen norm after transpose and reshape": lambda: linen((2, 3, 4, 2), LinenTransposedNorm()),
    "nnx linear": lambda: nnx_module((2, 5), nnx_norm(lambda rngs: nnx.Linear(5, 4, rngs=rngs), 4)),
    "nnx conv": lambda: nnx_module(
        (2, 4, 4, 2),
        nnx_norm(lambda rngs: nnx.Conv(2, 3, (3, 3), padding="VALID", rngs=rngs), 3, epsilon=1e-3),
    ),
    "nnx conv without biases": lambda: nnx_module(
        (2, 4, 4, 2),
        nnx_norm(lambda rngs: nnx.Conv(2, 3, (3, 3), use_bias=False, rngs=rngs), 3, use_bias=False),
    ),
    "nnx linear general": lambda: nnx_module(
        (2, 3, 4), nnx_norm(lambda rngs: nnx.LinearGeneral(4, (2, 3), rngs=rngs), 3)
    ),
    "conv, transpose, scale, shift": lambda: function(
        (2, 4, 3, 2), conv_then_transposed_scale, (3, 3, 2, 3), (3,), (3,)
    ),
    "dense, reshape, scale, shift": lambda: function(
        (2, 5), dense_then_reshaped_scale, (5, 6), (3, 2), (3, 2)
    ),
    "dense, scale and shift twice": lambda: function(
        (2, 5), dense_twice_scaled, (5, 4), (4,), (4,), (4,)
    ),
    "dense, bias for every position": lambda: function(
        (2, 3, 5), lambda x, w, b: x @ w + b, (5, 4), (3, 4)
    ),
    "dense, temperature": lambda: function((2, 5), lambda x, w: x @ w / 2.5, (5, 4)),
    "dense, negated": lambda: function((2, 5), lambda x, w, b: -(x @ w + b), (5, 4), (4,)),
    "dense, scalar bias": lambda: function((2, 5), lambda x, w: x @ w + 3.0, (5, 4)),
}


def covering():
    """Every rule on a Linen or an NNX convolution with its norm; one in rotation elsewhere."""
    names = list(RULES)
    everywhere = ("linen conv", "nnx conv")
    cases = [(everywhere[index % 2], rule, SIGNS[index % 3]) for index, rule in enumerate(names)]
    for index, layer in enumerate(name for name in LAYERS if name not in everywhere):
        cases.append((layer, names[(3 * index + 2) % len(names)], SIGNS[index % 3]))
    smoke = {("linen conv", "gamma"), ("nnx conv", "epsilon")}
    return [
        pytest.param(*case, marks=[pytest.mark.smoke] if case[:2] in smoke else [])
        for case in cases
    ]


@pytest.mark.parametrize(("layer", "rule", "sign"), covering())
def test_the_folded_unit_follows_the_rule_as_one_matrix(layer, rule, sign):
    check_layer(LAYERS[layer](), *RULES[rule], sign)


def test_a_scale_along_the_batch_is_no_part_of_the_matrix():
    """Only what varies along output features belongs to the weights: the rest is a Scale."""
    weights, scale = random_like((5, 4), 3), 1 + random_like((2, 1), 4) ** 2
    x, relevance = random_like((2, 5), 1), random_like((2, 4), 2)
    layer = oracle.affine(lambda x: x @ weights, (2, 5))
    expected = oracle.epsilon(layer, x.ravel(), relevance.ravel(), 0.1).reshape(2, 5)
    explained = lrp(lambda x: x @ weights * scale, rules.Epsilon(0.1))
    agree(explained(x, target=start(relevance)), expected)


def test_a_norm_does_not_fold_into_a_core_that_others_read():
    """The core's own values leave the model too, so the norm is a shift of its own."""
    weights, scale, bias = random_like((5, 4), 3), random_like(4, 4), random_like(4, 5)
    x, relevance = random_like((2, 5), 1), random_like((2, 8), 2)
    layer = oracle.affine(lambda x: x @ weights, (2, 5))
    z = (layer.W @ x.ravel()).reshape(2, 4)
    arriving = relevance[:, 4:] + oracle.shift(scale, bias, z, relevance[:, :4], 0.1)
    expected = oracle.gamma(layer, x.ravel(), arriving.ravel()).reshape(2, 5)

    def both(x):
        z = x @ weights
        return jnp.concatenate([z * scale + bias, z], axis=1)

    explained = lrp(both, Composite(dense=rules.Gamma(0.25), shift=rules.Epsilon(0.1)))
    agree(explained(x, target=start(relevance)), expected)


def test_a_nested_jit_does_not_keep_a_norm_from_folding():
    layer = LAYERS["dense, scale and shift twice"]()
    x, relevance = random_like((2, 5), 1), random_like((2, 4), 2)
    w, b, s, t = layer.parameters
    core = jax.jit(lambda x: x @ w + b)
    norm = jax.jit(lambda z: (z * s - t) / 3.0 * s + t)
    explained = lrp(lambda x: norm(core(x)), rules.WSquare())
    expected = oracle.wsquare(layer.affine(), x.ravel(), relevance.ravel()).reshape(2, 5)
    agree(explained(x, target=start(relevance)), expected)


def test_a_norm_outside_a_rematerialised_core_is_a_shift_of_its_own():
    weights, bias, scale = random_like((5, 4), 3), random_like(4, 4), random_like(4, 5)
    x, relevance = random_like((2, 5), 1), random_like((2, 4), 2)
    core = jax.checkpoint(lambda x: x @ weights + bias)
    layer = oracle.affine(lambda x: x @ weights + bias, (2, 5))
    z = (layer.W @ x.ravel() + layer.b).reshape(2, 4)
    arriving = oracle.shift(scale, bias, z, relevance, 0.3)
    expected = oracle.wsquare(layer, x.ravel(), arriving.ravel()).reshape(2, 5)
    explained = lrp(
        lambda x: core(x) * scale + bias,
        Composite(dense=rules.WSquare(), shift=rules.Epsilon(0.3)),
    )
    agree(explained(x, target=start(relevance)), expected)
