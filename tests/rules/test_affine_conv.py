"""Every affine rule on convolutions equals the formula on the dense matrix."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx
from jax import lax
from rule_cases import RULES, SIGNS, check_layer, random_like
from rule_layers import function, linen, nnx_module

from lrpjax import rules

CHANNELS_FIRST = ("NCHW", "OIHW", "NCHW")
CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


def conv1d(**options):
    return lambda: linen((2, 7, 3), nn.Conv(4, (3,), **options))


def conv2d(**options):
    return lambda: linen((2, 5, 6, 2), nn.Conv(4, (3, 2), **options))


def nnx_conv(features_in, features_out, **options):
    def make(rngs):
        return nnx.Conv(features_in, features_out, (3, 3), rngs=rngs, **options)

    return lambda: nnx_module((2, 5, 4, features_in), make)


def lax_conv(x, w, b):
    """Channels first, different padding and stride on every side, both dilations."""
    return b[:, None, None] + lax.conv_general_dilated(
        x, w, (2, 1), ((1, 0), (2, 1)), (1, 2), (2, 1), dimension_numbers=CHANNELS_FIRST
    )


def padded_conv(x, w, b):
    """Zeros that a jnp.pad puts in front are no inputs of the convolution."""
    x = jnp.pad(x, ((0, 0), (1, 2), (2, 1), (0, 0)))
    return lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=CHANNELS_LAST) + b


def conv_of_one_photograph(x, w):
    """No batch axis in the model: it is added and taken away around the convolution."""
    return lax.conv_general_dilated(
        x[None], w, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST
    ).squeeze(0)


def transposed(x, w):
    return lax.conv_transpose(x, w, (2, 2), "VALID", dimension_numbers=CHANNELS_LAST)


def reflected(x):
    return jnp.pad(x, ((0, 0), (2, 2), (0, 0)), mode="reflect")


def valid_conv1d(x, w):
    return lax.conv_general_dilated(x, w, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))


LAYERS = {
    "1d same": conv1d(),
    "1d valid strided without bias": conv1d(padding="VALID", strides=2, use_bias=False),
    "1d causal": conv1d(padding="CAUSAL"),
    "1d circular": conv1d(padding="CIRCULAR"),
    "1d causal dilated": conv1d(padding="CAUSAL", kernel_dilation=2, use_bias=False),
    "1d groups": lambda: linen((2, 7, 4), nn.Conv(6, (3,), feature_group_count=2)),
    "1d reflected": lambda: function((2, 7, 3), valid_conv1d, (5, 3, 2), front=reflected),
    "2d same": conv2d(),
    "2d same strided": conv2d(strides=2, use_bias=False),
    "2d valid": conv2d(padding="VALID", strides=(2, 1)),
    "2d explicit": conv2d(padding=((2, 0), (1, 1))),
    "2d explicit strided": conv2d(padding=1, strides=(1, 2), use_bias=False),
    "2d circular": conv2d(padding="CIRCULAR", strides=(1, 2)),
    "2d kernel dilation": conv2d(kernel_dilation=(2, 1), padding="SAME"),
    "2d input dilation": conv2d(input_dilation=(1, 2), padding=((1, 1), (0, 1)), use_bias=False),
    "2d groups": lambda: linen((2, 4, 4, 4), nn.Conv(6, (3, 3), feature_group_count=2)),
    "2d depthwise": lambda: linen(
        (2, 5, 4, 3), nn.Conv(3, (3, 3), feature_group_count=3, strides=2)
    ),
    "2d depthwise multiplied": nnx_conv(3, 6, feature_group_count=3, use_bias=False),
    "2d pointwise": lambda: linen((2, 3, 3, 4), nn.Conv(3, (1, 1))),
    "2d nnx": nnx_conv(2, 3),
    "2d nnx strided dilated": nnx_conv(2, 3, strides=2, kernel_dilation=2, use_bias=False),
    "2d channels first": lambda: function((2, 3, 5, 4), lax_conv, (2, 3, 2, 2), (2,)),
    "2d after a pad": lambda: function((2, 4, 4, 2), padded_conv, (3, 3, 2, 3), (3,)),
    "2d one photograph": lambda: function((4, 4, 2), conv_of_one_photograph, (3, 3, 2, 3)),
    "3d same": lambda: linen((2, 3, 4, 3, 2), nn.Conv(3, (2, 3, 2))),
    "3d strided": lambda: linen(
        (1, 4, 5, 4, 2), nn.Conv(2, (3, 2, 3), strides=(2, 1, 2), padding="VALID", use_bias=False)
    ),
    "transposed linen": lambda: linen((2, 3, 4, 2), nn.ConvTranspose(3, (3, 3), strides=(2, 2))),
    "transposed linen valid": lambda: linen(
        (2, 4, 3), nn.ConvTranspose(2, (3,), strides=(2,), padding="VALID", use_bias=False)
    ),
    "transposed nnx": lambda: nnx_module(
        (2, 3, 3, 2), lambda rngs: nnx.ConvTranspose(2, 3, (3, 2), strides=(2, 1), rngs=rngs)
    ),
    "transposed kernel nnx": lambda: nnx_module(
        (2, 3, 3, 2),
        lambda rngs: nnx.ConvTranspose(
            2, 3, (3, 3), strides=2, transpose_kernel=True, use_bias=False, rngs=rngs
        ),
    ),
    "transposed lax": lambda: function((2, 3, 3, 2), transposed, (2, 3, 2, 3)),
}

FIRST, SECOND = "2d same", "2d groups"

# The rules that see where an input has no neighbour meet every way of making a border.
BORDERS = (
    ("1d same", "flat"),
    ("1d causal", "zbox"),
    ("1d circular", "flat"),
    ("2d valid", "flat"),
    ("2d same strided", "alpha2_beta1"),
    ("2d explicit", "zbox"),
    ("2d explicit strided", "flat"),
    ("2d kernel dilation", "flat"),
    ("2d input dilation", "flat"),
    ("2d depthwise", "flat"),
    ("2d depthwise", "gamma"),
    ("2d channels first", "alpha2_beta1"),
    ("2d channels first", "flat"),
    ("2d after a pad", "flat"),
    ("2d after a pad", "wsquare"),
    ("2d after a pad", "zbox"),
    ("3d strided", "flat"),
    ("transposed linen", "flat"),
    ("transposed linen", "zplus"),
    ("transposed lax", "zbox"),
)


def covering():
    """Every rule on one layer, half of them on another; border cases; one in rotation elsewhere."""
    names = list(RULES)
    cases = [(FIRST, rule, "signed") for rule in names]
    cases += [(SECOND, rule, "relu") for rule in names[::2]]
    cases += [(layer, rule, "signed") for layer, rule in BORDERS]
    covered = {layer for layer, _, _ in cases}
    for index, layer in enumerate(name for name in LAYERS if name not in covered):
        cases.append((layer, names[(3 * index) % len(names)], SIGNS[index % 3]))
    smoke = {(FIRST, rule) for rule in ("gamma", "zplus", "flat", "wsquare")}
    return [
        pytest.param(*case, marks=[pytest.mark.smoke] if case[:2] in smoke else [])
        for case in cases
    ]


@pytest.mark.parametrize(("layer", "rule", "sign"), covering())
def test_rule_equals_its_formula_on_the_dense_matrix(layer, rule, sign):
    check_layer(LAYERS[layer](), *RULES[rule], sign)


@pytest.mark.parametrize("shape", [(2,), (5, 6, 1), (2, 5, 6, 2)])
def test_box_bounds_may_be_arrays_that_broadcast_to_the_input(shape):
    low, high = -1 - random_like(shape, 3) ** 2, 1 + random_like(shape, 4) ** 2

    def formula(affine, x, r):
        wide = [np.broadcast_to(bound, (2, 5, 6, 2)).ravel() for bound in (low, high)]
        return oracle.zbox(affine, x, r, *wide)

    check_layer(LAYERS["2d same"](), rules.ZBox(low, high), formula)
