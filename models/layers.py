"""What the networks in torchvision's layout share: the order of their layers, and their pixels.

A parameter's path here is its name in torchvision with dots for slashes, so that a plan reads like
the ``state_dict`` and weights are loaded by name: ``layer1/0/conv1`` is ``layer1.0.conv1``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Sequential(nnx.List[Any]):
    """Layers and functions one after another, each named by its place, as PyTorch names them.

    Example:
        >>> layers = Sequential([nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu])
        >>> layers(jnp.ones((2, 3))).shape
        (2, 4)
        >>> sorted(path for path, _ in nnx.to_flat_state(nnx.state(layers)))
        [(0, 'bias'), (0, 'kernel')]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies every layer to what the one before it returned."""
        for layer in self:
            x = layer(x)
        return x


@jax.named_scope("normalise")
def normalised(
    pixels: jax.Array,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> jax.Array:
    """Brings raw pixels to the range that a network is trained on, by default torchvision's.

    Args:
        pixels: From 0 to 255, any real dtype ``[..., 3]``.
        mean: Each colour's mean over the training set, in parts of 255; by default ImageNet's.
        std: Its standard deviation.

    Returns:
        (pixels / 255 - mean) / std, float ``[..., 3]``.

    Example:
        >>> normalised(jnp.array([0.485, 0.456, 0.406]) * 255).round(5)
        Array([0., 0., 0.], dtype=float32)
    """
    x = pixels / 255.0
    return (x - jnp.asarray(mean, x.dtype)) / jnp.asarray(std, x.dtype)


def refuse_empty(x: jax.Array, pixels: jax.Array) -> None:
    """Refuses pictures of which pooling has left nothing: their logits would be NaN.

    Args:
        x: A map, ``[n, height′, width′, features]``.
        pixels: The pictures it was made from, ``[n, height, width, 3]``.

    Raises:
        ValueError: The map has no positions.
    """
    if 0 in x.shape[1:3]:
        height, width = pixels.shape[1:3]
        raise ValueError(f"pictures of {height}×{width} pixels are too small for this network")


def conv(
    features_in: int,
    features_out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    padding: int | None = None,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution padded by half a kernel on every side, as PyTorch's networks have it.

    With a stride that is not XLA's "SAME", which pads as little as it can, at the end first.
    """
    return nnx.Conv(
        features_in,
        features_out,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2 if padding is None else padding,
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=nnx.initializers.he_normal(),
        rngs=rngs,
    )


def batch_norm(features: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """A BatchNorm that uses its stored statistics."""
    return nnx.BatchNorm(features, use_running_average=True, epsilon=1e-5, rngs=rngs)
