"""The Vision Transformer in Flax NNX and in torchvision's layout, of unmodified Flax modules.

Reference: A. Dosovitskiy et al., An Image is Worth 16×16 Words: Transformers for Image Recognition
at Scale, ICLR 2021. The optional stem of small convolutions is that of T. Xiao et al., Early
Convolutions Help Transformers See Better, NeurIPS 2021.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from .layers import IMAGENET_MEAN, IMAGENET_STD, Sequential, conv, normalised

EPSILON = 1e-6
_POSITION_INIT = nnx.initializers.normal(0.02)

gelu = functools.partial(nnx.gelu, approximate=False)


class EncoderBlock(nnx.Module):
    """Self-attention, then two dense layers, each behind a LayerNorm and beside a shortcut.

    Args:
        width: How many features a token has.
        heads: How many heads attend, each to width / heads features.
        mlp: How many features lie between the two dense layers.
        rngs: Random streams for the first weights.

    Example:
        >>> block = EncoderBlock(8, heads=2, mlp=16, rngs=nnx.Rngs(0))
        >>> block(jnp.ones((1, 5, 8))).shape
        (1, 5, 8)
    """

    def __init__(self, width: int, *, heads: int, mlp: int, rngs: nnx.Rngs):
        self.ln_1 = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        self.self_attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.ln_2 = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        dropout = nnx.Dropout(0.0, deterministic=True)  # it has a place among torchvision's names
        self.mlp = Sequential(
            [nnx.Linear(width, mlp, rngs=rngs), gelu, dropout, nnx.Linear(mlp, width, rngs=rngs)]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens ``[n, tokens, width]`` to the same shape."""
        x = x + self.self_attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Encoder(nnx.Module):
    """Learned positions, the blocks one after another, and a last LayerNorm.

    Args:
        tokens: How many tokens a picture has.
        width: How many features a token has.
        depth: How many blocks there are.
        heads: How many heads attend in each.
        mlp: How many features lie between a block's two dense layers.
        rngs: Random streams for the first weights.

    Example:
        >>> encoder = Encoder(5, 8, depth=1, heads=2, mlp=16, rngs=nnx.Rngs(0))
        >>> encoder(jnp.ones((1, 5, 8))).shape
        (1, 5, 8)
    """

    def __init__(
        self, tokens: int, width: int, *, depth: int, heads: int, mlp: int, rngs: nnx.Rngs
    ):
        self.pos_embedding = nnx.Param(_POSITION_INIT(rngs.params(), (1, tokens, width)))
        blocks = (EncoderBlock(width, heads=heads, mlp=mlp, rngs=rngs) for _ in range(depth))
        self.layers = nnx.Dict({f"encoder_layer_{i}": block for i, block in enumerate(blocks)})
        self.ln = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens ``[n, tokens, width]`` to the same shape."""
        with jax.named_scope("positions"):
            x = x + self.pos_embedding[...]
        for number in range(len(self.layers)):
            x = self.layers[f"encoder_layer_{number}"](x)
        return self.ln(x)


class VisionTransformer(nnx.Module):
    """Square patches of a picture as tokens, a transformer's encoder, and a dense layer.

    Args:
        classes: How many classes the last layer tells apart.
        image_size: Height and width of the pictures.
        patch: Height and width of a patch; it divides image_size.
        width: How many features a token has; heads divides it.
        depth: How many blocks the encoder has.
        heads: How many heads attend in each.
        mlp: How many features lie between a block's two dense layers.
        class_token: Whether the last layer sees a token of its own, as in ViT-B/16; else it sees
            the mean of all tokens.
        stem: The features of 3×3 convolutions in front of the patches, each with GELU and half as
            high and wide as the one before; a patch then covers patch pixels of the picture still.
        mean: Each colour's mean over the training set, in parts of 255; by default ImageNet's.
        std: Its standard deviation.
        rngs: Random streams for the first weights.

    Raises:
        ValueError: The sizes do not divide each other.

    Example:
        >>> model = VisionTransformer(
        ...     10, image_size=32, patch=8, width=16, depth=2, heads=2, mlp=32, rngs=nnx.Rngs(0)
        ... )
        >>> model(jnp.zeros((2, 32, 32, 3))).shape
        (2, 10)
        >>> model.encoder.pos_embedding.shape
        (1, 17, 16)
    """

    def __init__(
        self,
        classes: int = 1000,
        *,
        image_size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        mlp: int,
        class_token: bool = True,
        stem: Sequence[int] = (),
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        rngs: nnx.Rngs,
    ):
        _check_sizes(image_size, patch, 2 ** len(stem))
        self.image_size, self.mean, self.std = image_size, mean, std
        self.stem = _stem(stem, rngs=rngs) if stem else None
        window = patch // 2 ** len(stem)
        self.conv_proj = nnx.Conv(
            stem[-1] if stem else 3,
            width,
            (window, window),
            strides=window,
            padding="VALID",
            rngs=rngs,
        )
        self.class_token = nnx.Param(jnp.zeros((1, 1, width))) if class_token else None
        tokens = (image_size // patch) ** 2 + class_token
        self.encoder = Encoder(tokens, width, depth=depth, heads=heads, mlp=mlp, rngs=rngs)
        self.heads = nnx.Dict(head=nnx.Linear(width, classes, rngs=rngs))

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies pictures.

        Args:
            pixels: From 0 to 255, ``[n, image_size, image_size, 3]``.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures have another size, for which there are no positions.
        """
        size = self.image_size
        if pixels.shape[1:] != (size, size, 3):
            raise ValueError(
                f"pixels have shape {pixels.shape}; it should be [n, {size}, {size}, 3]"
            )
        x = normalised(pixels, self.mean, self.std)
        x = self.conv_proj(x if self.stem is None else self.stem(x))
        x = x.reshape(len(x), -1, x.shape[-1])
        if self.class_token is None:
            return self.heads["head"](jnp.mean(self.encoder(x), axis=1))
        token = jnp.broadcast_to(self.class_token[...], (len(x), 1, x.shape[-1]))
        return self.heads["head"](self.encoder(jnp.concatenate([token, x], axis=1))[:, 0])


def _stem(features: Sequence[int], *, rngs: nnx.Rngs) -> Sequential:
    layers = []
    for before, after in zip((3, *features), features, strict=False):
        layers += [conv(before, after, 3, stride=2, bias=True, rngs=rngs), gelu]
    return Sequential(layers)


def _check_sizes(image_size: int, patch: int, shrinks: int) -> None:
    if image_size % patch:
        raise ValueError(f"patches of {patch} pixels do not fill {image_size}")
    if patch % shrinks:
        raise ValueError(f"the stem makes pictures {shrinks} times smaller, patches are {patch}")


def vit_b_16(classes: int = 1000, *, rngs: nnx.Rngs) -> VisionTransformer:
    """ViT-B/16 (86.6 million parameters)."""
    return VisionTransformer(
        classes, image_size=224, patch=16, width=768, depth=12, heads=12, mlp=3072, rngs=rngs
    )
