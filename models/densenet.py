"""DenseNet-121 in Flax NNX and in torchvision's layout.

Reference: G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, Densely Connected
Convolutional Networks, CVPR 2017 (DenseNet-BC).
"""

import jax
import jax.numpy as jnp
from flax import nnx

from .layers import batch_norm, conv, normalised, refuse_empty

GROWTH, BOTTLENECK, FEATURES = 32, 4, 1024


class DenseLayer(nnx.Module):
    """A few new features, computed from all that there are."""

    def __init__(self, features_in: int, *, rngs: nnx.Rngs):
        narrow = BOTTLENECK * GROWTH
        self.norm1 = batch_norm(features_in, rngs=rngs)
        self.conv1 = conv(features_in, narrow, 1, rngs=rngs)
        self.norm2 = batch_norm(narrow, rngs=rngs)
        self.conv2 = conv(narrow, GROWTH, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height, width, 32]``."""
        x = self.conv1(nnx.relu(self.norm1(x)))
        return self.conv2(nnx.relu(self.norm2(x)))


class DenseBlock(nnx.Module):
    """Layers that each add their features to those they saw."""

    def __init__(self, features_in: int, depth: int, *, rngs: nnx.Rngs):
        self.depth = depth
        for number in range(depth):
            layer = DenseLayer(features_in + number * GROWTH, rngs=rngs)
            setattr(self, f"denselayer{number + 1}", layer)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to as many and ``32 · depth`` features."""
        for number in range(self.depth):
            layer = getattr(self, f"denselayer{number + 1}")
            x = jnp.concatenate([x, layer(x)], axis=-1)
        return x


class Transition(nnx.Module):
    """Between two blocks: fewer features, at half the resolution."""

    def __init__(self, features_in: int, features_out: int, *, rngs: nnx.Rngs):
        self.norm = batch_norm(features_in, rngs=rngs)
        self.conv = conv(features_in, features_out, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features_in]`` to ``[n, height/2, width/2, features_out]``."""
        x = self.conv(nnx.relu(self.norm(x)))
        return nnx.avg_pool(x, (2, 2), strides=(2, 2))


class Features(nnx.Module):
    """All of the network but its last layer."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.conv0 = conv(3, 64, 7, stride=2, rngs=rngs)
        self.norm0 = batch_norm(64, rngs=rngs)
        self.denseblock1 = DenseBlock(64, 6, rngs=rngs)
        self.transition1 = Transition(256, 128, rngs=rngs)
        self.denseblock2 = DenseBlock(128, 12, rngs=rngs)
        self.transition2 = Transition(512, 256, rngs=rngs)
        self.denseblock3 = DenseBlock(256, 24, rngs=rngs)
        self.transition3 = Transition(1024, 512, rngs=rngs)
        self.denseblock4 = DenseBlock(512, 16, rngs=rngs)
        self.norm5 = batch_norm(FEATURES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, 3]`` to ``[n, height / 32, width / 32, 1024]``."""
        x = nnx.relu(self.norm0(self.conv0(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        x = self.transition1(self.denseblock1(x))
        x = self.transition2(self.denseblock2(x))
        x = self.transition3(self.denseblock3(x))
        return self.norm5(self.denseblock4(x))


class DenseNet121(nnx.Module):
    """DenseNet-121 (8.0 million parameters).

    Args:
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: DenseNet121(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.features = Features(rngs=rngs)
        self.classifier = nnx.Linear(FEATURES, classes, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, height, width, 3]``; trained at 224 by 224.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures are smaller than 29 by 29.
        """
        x = nnx.relu(self.features(normalised(pixels)))
        refuse_empty(x, pixels)
        return self.classifier(jnp.mean(x, axis=(1, 2)))
