"""What folds into a layer, and what doesn't."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.networks import conv, normal
from support.planning import folded, kinds, units

from lrpjax import plan

X = normal(2, 4, seed=100).astype(np.float32)
IMAGE = normal(2, 6, 6, 2, seed=101).astype(np.float32)
W = normal(4, 4, seed=102).astype(np.float32)
B, S = normal(4, seed=103).astype(np.float32), normal(4, seed=104).astype(np.float32)
KERNEL = normal(3, 3, 2, 4, seed=105).astype(np.float32)

FOLDS = {
    "bias": lambda x: x @ W + B,
    "bias first": lambda x: B + x @ W,
    "bias of every position": lambda x: x @ W + np.ones((2, 4), np.float32),
    "minus": lambda x: x @ W - B,
    "negated": lambda x: B - x @ W,
    "scalar bias": lambda x: x @ W + 2.0,
    "one over root d": lambda x: x @ W / np.sqrt(4.0),
    "temperature": lambda x: (x @ W + B) * 0.7,
    "scale": lambda x: x @ W * S,
    "scale, bias, scale": lambda x: (x @ W * S + B) * S,
    "after a reshape": lambda x: (x @ W).reshape(2, 2, 2) * S.reshape(2, 2),
    "after a transpose": lambda x: (x @ W).T * S[:, None] + B[:, None],
    "after a cast": lambda x: (x @ W).astype(jnp.float16) + B.astype(np.float16),
    "after expand_dims": lambda x: (x @ W)[:, None, :] + B,
    "in another jit": lambda x: jax.jit(lambda z: z + B)(jax.jit(lambda x: x @ W)(x)),
    "a computed constant": lambda x: x @ W * jnp.exp(S) + jnp.tanh(B),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", FOLDS)
def test_folds_into_the_dense_layer(name):
    found = plan(FOLDS[name], None, X).units
    core = [unit for unit in found if unit.kind == "dense"]
    assert len(core) == 1 and {unit.kind for unit in found} <= {"dense", "route"}
    assert core[0].folded, "what was folded is told"


def test_a_bias_and_relu_after_folding():
    assert kinds(lambda x: jax.nn.relu(x @ W * S + B), X) == ["dense", "elementwise"]


SEPARATE = {
    "another consumer of the product": (
        lambda x: (lambda z: jnp.concatenate([z + B, z]))(x @ W),
        ["dense", "shift"],
    ),
    "the product is an output": (
        lambda x: (lambda z: (z * S, z))(x @ W),
        ["dense", "scale"],
    ),
    "a scale that varies along the batch": (
        lambda x: x @ W * np.array([[1.0], [2.0]], np.float32),
        ["dense", "scale"],
    ),
    "a slice in between": (
        lambda x: (x @ W)[:, 1:] + B[1:],
        ["dense", "shift"],
    ),
    "a broadcast in between": (
        lambda x: jnp.broadcast_to((x @ W)[:, None], (2, 3, 4)) + np.ones((3, 4), np.float32),
        ["dense", "shift"],
    ),
    "a shift in front": (lambda x: jax.nn.relu(x + B) @ W, ["shift", "elementwise", "dense"]),
    "a scale in front": (lambda x: (x * S) @ W, ["scale", "dense"]),
    "a positional embedding": (
        lambda x: jax.nn.relu(x) + np.ones((2, 4), np.float32),
        ["elementwise", "shift"],
    ),
}


@pytest.mark.parametrize("name", SEPARATE)
def test_does_not_fold(name):
    f, expected = SEPARATE[name]
    assert kinds(f, X) == expected


def test_a_scale_of_a_convolution_must_vary_along_its_features():
    wide = normal(6, 1, 4).astype(np.float32)
    assert kinds(lambda x: conv(x, KERNEL) * S, IMAGE) == ["conv"]
    assert kinds(lambda x: conv(x, KERNEL) * wide, IMAGE) == ["conv", "scale"]
    assert kinds(lambda x: conv(x, KERNEL) + wide, IMAGE) == ["conv"], "a bias may vary anywhere"


# ---------------------------------------------------------------- BatchNorm


def linen(*modules, x=IMAGE):
    """A sequence of Linen modules as a function of (variables, x), and example arguments."""
    net = nn.Sequential(modules)
    variables = jax.eval_shape(net.init, jax.random.key(0), x)
    return net, variables, x


NORM = {"use_running_average": True}


def test_linen_batch_norm_folds_into_a_convolution():
    net, variables, x = linen(nn.Conv(4, (3, 3)), nn.BatchNorm(**NORM), nn.relu)
    found = units(net, variables, x)
    assert [u.kind for u in found] == ["conv", "elementwise"]
    for leaf in ("mean", "var", "scale", "bias"):
        assert leaf in folded(found[0])


@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"use_scale": False}])
def test_linen_batch_norm_folds_into_a_dense_layer(options):
    net, variables, x = linen(nn.Dense(4), nn.BatchNorm(**NORM, **options), x=X)
    assert kinds(net, variables, x) == ["dense"]


def test_nnx_batch_norm_folds():
    rngs = nnx.Rngs(0)
    conv_layer = nnx.Conv(2, 4, (3, 3), rngs=rngs)
    norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
    found = units(nnx.Sequential(conv_layer, norm, nnx.relu), IMAGE)
    assert [u.kind for u in found] == ["conv", "elementwise"]
    for leaf in ("mean", "var", "scale", "bias"):
        assert leaf in folded(found[0])


def test_batch_norm_before_a_convolution_is_a_shift():
    net, variables, x = linen(nn.BatchNorm(**NORM), nn.relu, nn.Conv(4, (3, 3)))
    assert kinds(net, variables, x) == ["shift", "elementwise", "conv"]
    net, variables, x = linen(nn.relu, nn.BatchNorm(**NORM), nn.Conv(4, (3, 3)))
    assert kinds(net, variables, x) == ["elementwise", "shift", "conv"]


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_batch_norm_after_a_residual_sum_is_one_shift(style):
    """Its mean, scale and bias are one unit; the sum keeps its two operands."""
    if style == "linen":
        norm = nn.BatchNorm(**NORM)
        variables = jax.eval_shape(norm.init, jax.random.key(0), X)
        f = lambda x, v: norm.apply(v, x + jax.nn.relu(x @ W))
        found = units(f, X, variables)
    else:
        module = nnx.BatchNorm(4, use_running_average=True, rngs=nnx.Rngs(0))
        found = units(lambda x: module(x + jax.nn.relu(x @ W)), X)
    assert [u.kind for u in found] == ["dense", "elementwise", "add", "shift"]
    assert len(found[2].inputs) == 2


def test_a_layer_scale_folds_into_the_branch_it_scales():
    f = lambda x: x + S * (jax.nn.gelu(x @ W + B) @ W + B)
    found = units(f, X)
    assert [u.kind for u in found] == ["dense", "elementwise", "dense", "add"]
    assert len(found[2].folded) == 2


def test_dropout_at_inference_leaves_nothing():
    net, variables, x = linen(nn.Dense(4), nn.Dropout(0.5, deterministic=True), nn.relu, x=X)
    assert kinds(net, variables, x) == ["dense", "elementwise"]


# ---------------------------------------------------------------- pads in front


def test_zero_pads_in_front_of_a_convolution_fold():
    f = lambda x: conv(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), KERNEL, 1, "VALID")
    found = plan(f, None, IMAGE).units
    assert [u.kind for u in found] == ["conv"]
    assert "padding" in folded(found[0])
    assert found[0].inputs[0].shape == IMAGE.shape


@pytest.mark.parametrize(
    "pad",
    [
        lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0),
        lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"),
    ],
)
def test_other_pads_do_not(pad):
    found = plan(lambda x: conv(pad(x), KERNEL, 1, "VALID"), None, IMAGE).units
    assert "route" in {u.kind for u in found}


def test_a_pad_that_others_read_does_not():
    def f(x):
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return conv(padded, KERNEL, 1, "VALID"), padded

    assert sorted(u.kind for u in plan(f, None, IMAGE).units) == ["conv", "route"]


def test_pooling_counts_fold_and_their_divisions_too():
    f = lambda x: nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
    assert kinds(f, IMAGE) == ["pool"]
