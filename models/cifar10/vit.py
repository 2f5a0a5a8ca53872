"""A small Vision Transformer for CIFAR-10."""

from flax import nnx

from ..vit import VisionTransformer
from .network import CLASSES, IMAGE_SIZE, MEAN, STD


def cifar10_vit(classes: int = len(CLASSES), *, rngs: nnx.Rngs) -> VisionTransformer:
    """Patches of 4×4 pixels, five blocks of four heads, and the mean of all tokens (407,000).

    A transformer learns from scratch in few epochs if small convolutions see the picture first;
    two of 3×3, each halving it, stand in front of the patches here.

    Args:
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Returns:
        The network: pixels from 0 to 255, ``[n, 32, 32, 3]``, to logits ``[n, classes]``.

    Example:
        >>> import jax.numpy as jnp
        >>> model = cifar10_vit(rngs=nnx.Rngs(0))
        >>> model(jnp.zeros((2, 32, 32, 3))).shape
        (2, 10)
        >>> model.encoder.pos_embedding.shape
        (1, 64, 96)
    """
    return VisionTransformer(
        classes,
        image_size=IMAGE_SIZE,
        patch=4,
        width=96,
        depth=5,
        heads=4,
        mlp=192,
        class_token=False,
        stem=(32, 64),
        mean=MEAN,
        std=STD,
        rngs=rngs,
    )
