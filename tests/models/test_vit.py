"""The Vision Transformer: against torchvision's logits, in its own layout, and what it refuses.

The golden logits are torchvision's, in double precision; benchmarks/peers/torchvision_golden.py
made them from the weights that tests/golden/torchvision_weights.py draws here again.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import torchvision_weights

from lrpjax import models
from lrpjax.models.torch_layout import fill, state_dict
from lrpjax.models.vit import VisionTransformer

SMALL = {"image_size": 16, "patch": 8, "width": 6, "depth": 2, "heads": 3, "mlp": 10}
IN_PROJ = "encoder.layers.encoder_layer_1.self_attention.in_proj_weight"


@nnx.jit
def logits_of(model, pixels):
    return model(pixels)


def outline(**changes):
    """A small transformer whose weights have shapes alone."""
    return nnx.eval_shape(lambda: VisionTransformer(4, **(SMALL | changes), rngs=nnx.Rngs(0)))


def small(seed=0, **changes):
    """The same with random numbers in NumPy, which compiles nothing."""
    graph, state = nnx.split(outline(**changes))
    rng = np.random.default_rng(seed)
    return nnx.merge(
        graph, jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), state)
    )


def test_the_logits_of_vit_b_16_equal_torchvisions_in_double_precision(x64):
    expected, shapes = torchvision_weights.stored("vit_b_16")
    arrays = torchvision_weights.state_dict("vit_b_16", shapes)
    graph, state = nnx.split(models.own_weights.from_arrays("vit_b_16", arrays).model)
    double = nnx.merge(graph, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state))
    logits = logits_of(double, torchvision_weights.pixels("vit_b_16"))
    # Flax's attention takes its softmax in single precision. An epsilon of 1e-5 in place of the
    # layer norms' 1e-6 would differ by 1e-5, the approximate GELU by 7e-4.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"class_token": False, "stem": (4, 5)}])
def test_a_state_dict_is_read_back_to_the_same_network(changes):
    model, again = small(**changes), small(1, **changes)
    arrays = state_dict(model)
    assert arrays[IN_PROJ].shape == (18, 6)
    assert all(array.flags.c_contiguous for array in arrays.values())
    fill(again, arrays, network="small")
    for one, other in zip(
        jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(again)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_queries_keys_and_values_lie_one_below_another_as_in_pytorch():
    model = small()
    stacked = state_dict(model)[IN_PROJ]
    attention = model.encoder.layers["encoder_layer_1"].self_attention
    for number, part in enumerate((attention.query, attention.key, attention.value)):
        for head in range(3):
            for feature in range(2):
                row = stacked[6 * number + 2 * head + feature]
                np.testing.assert_array_equal(row, part.kernel[:, head, feature])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (IN_PROJ, None, rf"not weights of small: missing \['{IN_PROJ}'\]"),
        (IN_PROJ, np.zeros((6, 18)), r"has shape \(6, 18\); it should be \(18, 6\)"),
        (IN_PROJ, np.zeros((18, 6), int), "holds int64, not floating-point numbers"),
        ("class_token", np.zeros((1, 6)), r"has shape \(1, 6\); it should be \(1, 1, 6\)"),
        (
            "encoder.pos_embedding",
            np.zeros((1, 17, 6)),
            r"has shape \(1, 17, 6\); it should be \(1, 5, 6\)",
        ),
    ],
)
def test_arrays_of_another_transformer_are_refused(name, array, message):
    arrays = state_dict(small()) | {name: array}
    if array is None:
        del arrays[name]
    with pytest.raises(models.CheckpointError, match=message):
        fill(outline(), arrays, network="small")


def test_the_stem_leaves_as_many_tokens_and_positions_as_patches():
    sizes = [
        outline(class_token=token, stem=stem).encoder.pos_embedding.shape[1]
        for token, stem in ((True, ()), (False, ()), (False, (4,)), (False, (4, 5, 6)))
    ]
    assert sizes == [5, 4, 4, 4]
    window = outline(stem=(4, 5)).conv_proj.kernel.shape
    assert window == (2, 2, 5, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 5}, "patches of 5 pixels do not fill 16"),
        ({"patch": 4, "stem": (4, 4, 4)}, "the stem makes pictures 8 times smaller, patches are 4"),
    ],
)
def test_sizes_that_do_not_divide_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        outline(**changes)


def test_pictures_without_positions_are_refused():
    model, pixels = models.structure("vit_b_16").model, jnp.zeros((1, 256, 256, 3))
    with pytest.raises(ValueError, match=r"\(1, 256, 256, 3\); it should be \[n, 224, 224, 3\]"):
        nnx.eval_shape(lambda model: model(pixels), model)


def test_random_weights_fit_the_number_of_inputs_whatever_the_heads():
    model = models.build("cifar10_vit", classes=10, rngs=nnx.Rngs(0))
    blocks = [model.encoder.layers[f"encoder_layer_{number}"] for number in range(5)]
    for part in ("query", "out"):
        kernels = np.stack([getattr(block.self_attention, part).kernel for block in blocks])
        np.testing.assert_allclose(kernels.std(), np.sqrt(2 / 96), rtol=0.02)
    np.testing.assert_allclose(np.std(model.encoder.pos_embedding), 0.02, rtol=0.05)
    assert not np.any(blocks[0].self_attention.query.bias)
