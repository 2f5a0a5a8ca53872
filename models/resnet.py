"""ResNet-18 and ResNet-50 in Flax NNX and in torchvision's layout.

Reference: K. He, X. Zhang, S. Ren and J. Sun, Deep Residual Learning for Image Recognition,
CVPR 2016. As in torchvision, a bottleneck has its stride in the 3×3 convolution.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from .layers import Sequential, batch_norm, conv, normalised

STEM_FEATURES = 64


class BasicBlock(nnx.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, features_in: int, features: int, *, stride: int, rngs: nnx.Rngs):
        self.conv1 = conv(features_in, features, 3, stride=stride, rngs=rngs)
        self.bn1 = batch_norm(features, rngs=rngs)
        self.conv2 = conv(features, features, 3, rngs=rngs)
        self.bn2 = batch_norm(features, rngs=rngs)
        self.downsample = shortcut(features_in, features, stride=stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height′, width′, features]``."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """A 3×3 convolution between two 1×1 ones, the first narrow and the last wide."""

    expansion = 4

    def __init__(self, features_in: int, features: int, *, stride: int, rngs: nnx.Rngs):
        wide = features * self.expansion
        self.conv1 = conv(features_in, features, 1, rngs=rngs)
        self.bn1 = batch_norm(features, rngs=rngs)
        self.conv2 = conv(features, features, 3, stride=stride, rngs=rngs)
        self.bn2 = batch_norm(features, rngs=rngs)
        self.conv3 = conv(features, wide, 1, rngs=rngs)
        self.bn3 = batch_norm(wide, rngs=rngs)
        self.downsample = shortcut(features_in, wide, stride=stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height′, width′, 4 · features]``."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nnx.Module):
    """A residual network of four stages.

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        depths: How many blocks each stage has.
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: resnet18(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        classes: int = 1000,
        *,
        rngs: nnx.Rngs,
    ):
        self.conv1 = conv(3, STEM_FEATURES, 7, stride=2, rngs=rngs)
        self.bn1 = batch_norm(STEM_FEATURES, rngs=rngs)
        stages, features_in = [], STEM_FEATURES
        for number, depth in enumerate(depths):
            features = STEM_FEATURES * 2**number
            blocks = []
            for position in range(depth):
                stride = 2 if number > 0 and position == 0 else 1
                blocks.append(block(features_in, features, stride=stride, rngs=rngs))
                features_in = features * block.expansion
            stages.append(Sequential(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nnx.Linear(features_in, classes, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, height, width, 3]``; trained at 224 by 224.

        Returns:
            Logits, ``[n, classes]``.
        """
        x = nnx.relu(self.bn1(self.conv1(normalised(pixels))))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(jnp.mean(x, axis=(1, 2)))


def shortcut(features_in: int, features: int, *, stride: int, rngs: nnx.Rngs) -> Sequential | None:
    """What brings a block's input to the shape of its output; None where it has it already."""
    if stride == 1 and features_in == features:
        return None
    projection = conv(features_in, features, 1, stride=stride, rngs=rngs)
    return Sequential([projection, batch_norm(features, rngs=rngs)])


def resnet18(classes: int = 1000, *, rngs: nnx.Rngs) -> ResNet:
    """ResNet-18 (11.7 million parameters)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), classes, rngs=rngs)


def resnet50(classes: int = 1000, *, rngs: nnx.Rngs) -> ResNet:
    """ResNet-50 (25.6 million parameters)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, rngs=rngs)
