"""EfficientNet-Lite0 in Flax NNX: an ordinary image classifier.

The Lite networks are EfficientNets for phones: no squeeze-and-excite, ReLU6 in place of swish, and
a stem and a head that keep their width. The input is a photograph's raw pixels; the network
brings them to its own range.

Reference: M. Tan and Q. V. Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks, ICML 2019; the Lite variants are those of TensorFlow's TPU model garden.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
STEM_FEATURES, HEAD_FEATURES = 32, 1280


class Stage(NamedTuple):
    """A run of equal blocks; only the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    features: int


LITE0 = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, features=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, features=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, features=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, features=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, features=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, features=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, features=320),
)


class ConvNorm(nnx.Module):
    """A convolution without bias, then BatchNorm with its stored statistics."""

    def __init__(
        self,
        features_in: int,
        features_out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        rngs: nnx.Rngs,
    ):
        # XLA's "SAME" is TensorFlow's: with a stride, the odd row and column go to the end.
        self.conv = nnx.Conv(
            features_in,
            features_out,
            (kernel, kernel),
            strides=stride,
            padding="SAME",
            feature_group_count=groups,
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(
            features_out, use_running_average=True, epsilon=BATCH_NORM_EPSILON, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height′, width′, features_out]``."""
        return self.norm(self.conv(x))


class MBConv(nnx.Module):
    """The inverted residual block: expand, filter each channel by itself, project back."""

    def __init__(
        self,
        features_in: int,
        features_out: int,
        *,
        kernel: int,
        stride: int,
        expansion: int,
        rngs: nnx.Rngs,
    ):
        wide = features_in * expansion
        self.residual = stride == 1 and features_in == features_out
        self.expand = ConvNorm(features_in, wide, rngs=rngs) if expansion > 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride=stride, groups=wide, rngs=rngs)
        self.project = ConvNorm(wide, features_out, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height′, width′, features_out]``."""
        y = x if self.expand is None else jax.nn.relu6(self.expand(x))
        y = jax.nn.relu6(self.depthwise(y))
        y = self.project(y)
        return x + y if self.residual else y


class EfficientNetLite0(nnx.Module):
    """EfficientNet-Lite0: raw pixels in, one logit per class out.

    Args:
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Example:
        >>> from flax import nnx
        >>> import jax
        >>> model = nnx.eval_shape(lambda: EfficientNetLite0(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.stem = ConvNorm(3, STEM_FEATURES, 3, stride=2, rngs=rngs)
        blocks, features = [], STEM_FEATURES
        for stage in LITE0:
            for position in range(stage.blocks):
                blocks.append(
                    MBConv(
                        features,
                        stage.features,
                        kernel=stage.kernel,
                        stride=stage.stride if position == 0 else 1,
                        expansion=stage.expansion,
                        rngs=rngs,
                    )
                )
                features = stage.features
        self.blocks = nnx.List(blocks)
        self.head = ConvNorm(features, HEAD_FEATURES, rngs=rngs)
        self.classifier = nnx.Linear(HEAD_FEATURES, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            x: Raw pixels from 0 to 255, float ``[n, height, width, 3]``; trained at 224 by 224.

        Returns:
            Logits, ``[n, classes]``.
        """
        x = (x - PIXEL_MEAN) / PIXEL_SCALE
        x = jax.nn.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = jax.nn.relu6(self.head(x))
        x = jnp.mean(x, axis=(1, 2))
        return self.classifier(x)


# What each module and each of its arrays is called in the PyTorch checkpoint.
TORCH_MODULES: dict[tuple[str, ...], str] = {
    ("stem", "conv"): "_conv_stem",
    ("stem", "norm"): "_bn0",
    ("expand", "conv"): "_expand_conv",
    ("expand", "norm"): "_bn0",
    ("depthwise", "conv"): "_depthwise_conv",
    ("depthwise", "norm"): "_bn1",
    ("project", "conv"): "_project_conv",
    ("project", "norm"): "_bn2",
    ("head", "conv"): "_conv_head",
    ("head", "norm"): "_bn1",
    ("classifier",): "_fc",
}
TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def from_torch(arrays: Mapping[str, np.ndarray]) -> EfficientNetLite0:
    """Builds the network from the arrays of its PyTorch checkpoint.

    Args:
        arrays: The checkpoint's tensors by name (``_conv_stem.weight``, ``_blocks.0._bn1.bias``,
            …), convolutions as ``[out, in, height, width]``, the dense layer ``[out, in]``.

    Returns:
        The network with these weights.

    Raises:
        ValueError: A name is missing or left over, or a shape differs.
    """
    classes = arrays["_fc.bias"].shape[0] if "_fc.bias" in arrays else 1000
    # Shapes only: making random weights just to overwrite them would take seconds.
    model = nnx.eval_shape(lambda: EfficientNetLite0(classes, rngs=nnx.Rngs(0)))
    flat = nnx.to_flat_state(nnx.state(model))
    leaves = {path: (_torch_name(path), leaf.shape) for path, leaf in flat}
    _check_names({name for name, _ in leaves.values()}, arrays)
    values = {path: _converted(arrays[name], name, shape) for path, (name, shape) in leaves.items()}
    nnx.update(model, nnx.from_flat_state(values))
    return model


def _torch_name(path: Iterable[Hashable]) -> str:
    """``("blocks", 3, "expand", "conv", "kernel")`` is ``_blocks.3._expand_conv.weight``."""
    *module, leaf = map(str, path)
    prefix = ""
    if module[0] == "blocks":
        prefix, module = f"_blocks.{module[1]}.", module[2:]
    return f"{prefix}{TORCH_MODULES[tuple(module)]}.{TORCH_LEAVES[leaf]}"


def _check_names(wanted: set[str], arrays: Mapping[str, np.ndarray]) -> None:
    # PyTorch counts the batches its BatchNorm has seen; nothing uses the count at inference.
    found = {name for name in arrays if not name.endswith(".num_batches_tracked")}
    if wanted != found:
        raise ValueError(
            "not a checkpoint of EfficientNet-Lite0: "
            f"missing {sorted(wanted - found)[:3]}, left over {sorted(found - wanted)[:3]}"
        )


def _converted(array: np.ndarray, name: str, shape: tuple[int, ...]) -> jax.Array:
    """The array in Flax's order of axes: outputs last, images channels-last."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif array.ndim == 2:
        array = array.T
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} in Flax's order; it should be {shape}")
    return jnp.asarray(array, jnp.float32)
