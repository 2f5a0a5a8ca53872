"""MobileNetV2 in Flax NNX and in torchvision's layout.

Reference: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov and L.-C. Chen, MobileNetV2: Inverted
Residuals and Linear Bottlenecks, CVPR 2018.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from .layers import Sequential, batch_norm, conv, normalised

STEM_FEATURES, HEAD_FEATURES = 32, 1280


class Stage(NamedTuple):
    """A run of equal blocks; only the first of them has the stride."""

    expansion: int
    features: int
    blocks: int
    stride: int


STAGES = (
    Stage(expansion=1, features=16, blocks=1, stride=1),
    Stage(expansion=6, features=24, blocks=2, stride=2),
    Stage(expansion=6, features=32, blocks=3, stride=2),
    Stage(expansion=6, features=64, blocks=4, stride=2),
    Stage(expansion=6, features=96, blocks=3, stride=1),
    Stage(expansion=6, features=160, blocks=3, stride=2),
    Stage(expansion=6, features=320, blocks=1, stride=1),
)


def conv_norm_relu6(
    features_in: int,
    features_out: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    rngs: nnx.Rngs,
) -> Sequential:
    """A convolution, a BatchNorm and a ReLU6."""
    filters = conv(features_in, features_out, kernel, stride=stride, groups=groups, rngs=rngs)
    return Sequential([filters, batch_norm(features_out, rngs=rngs), nnx.relu6])


class InvertedResidual(nnx.Module):
    """Expand, filter each channel by itself, project back without a nonlinearity."""

    def __init__(
        self, features_in: int, features_out: int, *, stride: int, expansion: int, rngs: nnx.Rngs
    ):
        wide = features_in * expansion
        expand = [] if expansion == 1 else [conv_norm_relu6(features_in, wide, rngs=rngs)]
        self.residual = stride == 1 and features_in == features_out
        self.conv = Sequential(
            [
                *expand,
                conv_norm_relu6(wide, wide, 3, stride=stride, groups=wide, rngs=rngs),
                conv(wide, features_out, 1, rngs=rngs),
                batch_norm(features_out, rngs=rngs),
            ]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height′, width′, features_out]``."""
        y = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nnx.Module):
    """MobileNetV2 at its full width (3.5 million parameters).

    Args:
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: MobileNetV2(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        layers: list[nnx.Module] = [conv_norm_relu6(3, STEM_FEATURES, 3, stride=2, rngs=rngs)]
        features = STEM_FEATURES
        for stage in STAGES:
            for position in range(stage.blocks):
                layers.append(
                    InvertedResidual(
                        features,
                        stage.features,
                        stride=stage.stride if position == 0 else 1,
                        expansion=stage.expansion,
                        rngs=rngs,
                    )
                )
                features = stage.features
        layers.append(conv_norm_relu6(features, HEAD_FEATURES, rngs=rngs))
        self.features = Sequential(layers)
        self.classifier = Sequential(
            [
                nnx.Dropout(0.2, deterministic=True),
                nnx.Linear(HEAD_FEATURES, classes, rngs=rngs),
            ]
        )

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, height, width, 3]``; trained at 224 by 224.

        Returns:
            Logits, ``[n, classes]``.
        """
        x = self.features(normalised(pixels))
        return self.classifier(jnp.mean(x, axis=(1, 2)))
