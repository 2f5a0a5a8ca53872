"""VGG16, plain and with BatchNorm, in Flax NNX and in torchvision's layout.

Reference: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image
Recognition, ICLR 2015 (configuration D).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from .layers import Sequential, batch_norm, conv, normalised, refuse_empty
from .torch_layout import channels_last

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN, GRID = 4096, 7


def _halve(x: jax.Array) -> jax.Array:
    return nnx.max_pool(x, (2, 2), strides=(2, 2))


REORDER = {"classifier.0.weight": functools.partial(channels_last, grid=GRID)}


class VGG16(nnx.Module):
    """VGG16: thirteen convolutions and three dense layers (138 million parameters).

    Args:
        classes: How many classes the last layer tells apart.
        norm: Whether a BatchNorm follows each convolution (torchvision's ``vgg16_bn``).
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: VGG16(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(self, classes: int = 1000, *, norm: bool = False, rngs: nnx.Rngs):
        layers: list[Any] = []
        features = 3
        for stage in STAGES:
            for wider in stage:
                layers.append(conv(features, wider, 3, bias=True, rngs=rngs))
                if norm:
                    layers.append(batch_norm(wider, rngs=rngs))
                layers.append(nnx.relu)
                features = wider
            layers.append(_halve)
        self.features = Sequential(layers)
        self.classifier = Sequential(
            [
                nnx.Linear(features * GRID * GRID, HIDDEN, rngs=rngs),
                nnx.relu,
                nnx.Dropout(0.5, deterministic=True),
                nnx.Linear(HIDDEN, HIDDEN, rngs=rngs),
                nnx.relu,
                nnx.Dropout(0.5, deterministic=True),
                nnx.Linear(HIDDEN, classes, rngs=rngs),
            ]
        )

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, height, width, 3]``; trained at 224 by 224. Maps of
                another size than 7×7 are averaged to it, as torchvision does.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures are smaller than 32 by 32.
        """
        x = self.features(normalised(pixels))
        refuse_empty(x, pixels)
        with jax.named_scope("avgpool"):
            x = adaptive_avg_pool(x, GRID)
        return self.classifier(x.reshape(x.shape[0], -1))


def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
    """Averages any map over a fixed grid of cells, which overlap where they do not fit.

    Cell i of a side of length n reaches from floor(i·n/size) to ceil((i+1)·n/size), as in PyTorch.

    Args:
        x: ``[n, height, width, features]``.
        size: The grid's height and width.

    Returns:
        ``[n, size, size, features]``; ``x`` itself where it has that shape already.

    Example:
        >>> adaptive_avg_pool(jnp.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), 2)[0, 0, :, 0]
        Array([1.5, 4. ], dtype=float32)
    """
    if x.shape[1:3] == (size, size):
        return x
    rows, columns = (_cells(length, size).astype(x.dtype) for length in x.shape[1:3])
    return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, x)


def _cells(length: int, size: int) -> jax.Array:
    """The share of each of ``length`` positions in each cell's average, [size, length]."""
    cell, position = jnp.arange(size)[:, None], jnp.arange(length)
    inside = (position >= cell * length // size) & (position < -(-(cell + 1) * length // size))
    return inside / inside.sum(axis=1, keepdims=True)
