"""EfficientNet-Lite0 in Flax NNX: an ordinary image classifier.

The Lite networks are EfficientNets for phones: no squeeze-and-excite, ReLU6 in place of swish, and
a stem and a head that keep their width. The input is a photograph's raw pixels; the network
brings them to its own range.

Reference: M. Tan and Q. V. Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks, ICML 2019; the Lite variants are those of TensorFlow's TPU model garden.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .torch_layout import fill

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


# What each module is called in the PyTorch checkpoint.
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
    fill(model, arrays, network="efficientnet_lite0", module_name=module_name)
    return model


def module_name(path: list[str]) -> str:
    """A module's name in the PyTorch checkpoint.

    Example:
        >>> module_name(["blocks", "3", "expand", "conv"])
        '_blocks.3._expand_conv'
    """
    prefix = ""
    if path[0] == "blocks":
        prefix, path = f"_blocks.{path[1]}.", path[2:]
    return prefix + TORCH_MODULES[tuple(path)]
