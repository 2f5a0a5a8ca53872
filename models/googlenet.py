"""GoogLeNet with its local response normalisation, in Flax NNX and in Caffe's layout.

The layers' names are those of Caffe's ``bvlc_googlenet``. (Torchvision's network of this name has
BatchNorm in place of the normalisation, and other kernels.) The two auxiliary classifiers, which
the paper discards at inference, are left out.

Reference: C. Szegedy et al., Going Deeper with Convolutions, CVPR 2015.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from .caffe_layout import centred, max_pool, red_first
from .layers import conv, refuse_empty
from .local_response_norm import LocalResponseNorm

REORDER = {"conv1/7x7_s2.weight": red_first}


class Widths(NamedTuple):
    """How many features each convolution of an inception block gives (the paper's table 1)."""

    direct: int
    reduce_3x3: int
    wide_3x3: int
    reduce_5x5: int
    wide_5x5: int
    projected: int


# A pool stands in front of each of the three stages, whose blocks are called 3a, 3b, 4a, …
STAGES = {
    "3": (Widths(64, 96, 128, 16, 32, 32), Widths(128, 128, 192, 32, 96, 64)),
    "4": (
        Widths(192, 96, 208, 16, 48, 64),
        Widths(160, 112, 224, 24, 64, 64),
        Widths(128, 128, 256, 24, 64, 64),
        Widths(112, 144, 288, 32, 64, 64),
        Widths(256, 160, 320, 32, 128, 128),
    ),
    "5": (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128)),
}

_norm = functools.partial(LocalResponseNorm.caffe, 5, alpha=1e-4, beta=0.75)


class Inception(nnx.Module):
    """Four ways through a block side by side: 1×1, 3×3 and 5×5 behind a 1×1, and a max pool.

    Args:
        features: How many features come in.
        widths: How many each convolution gives.
        rngs: Random streams for the first weights.

    Example:
        >>> block = nnx.eval_shape(lambda: Inception(192, STAGES["3"][0], rngs=nnx.Rngs(0)))
        >>> x = jax.ShapeDtypeStruct((1, 4, 4, 192), "float32")
        >>> nnx.eval_shape(lambda block, x: block(x), block, x).shape
        (1, 4, 4, 256)
    """

    def __init__(self, features: int, widths: Widths, *, rngs: nnx.Rngs):
        make = functools.partial(conv, bias=True, rngs=rngs)
        # Caffe's names begin with digits, so they are no words of Python.
        layers = {
            "1x1": make(features, widths.direct, 1),
            "3x3_reduce": make(features, widths.reduce_3x3, 1),
            "3x3": make(widths.reduce_3x3, widths.wide_3x3, 3),
            "5x5_reduce": make(features, widths.reduce_5x5, 1),
            "5x5": make(widths.reduce_5x5, widths.wide_5x5, 5),
            "pool_proj": make(features, widths.projected, 1),
        }
        for name, layer in layers.items():
            setattr(self, name, layer)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[n, height, width, features]`` to the four ways' features, one after another."""

        def through(x: jax.Array, *names: str) -> jax.Array:
            for name in names:
                x = nnx.relu(getattr(self, name)(x))
            return x

        pooled = nnx.max_pool(x, (3, 3), strides=(1, 1), padding="SAME")
        ways = (
            through(x, "1x1"),
            through(x, "3x3_reduce", "3x3"),
            through(x, "5x5_reduce", "5x5"),
            through(pooled, "pool_proj"),
        )
        return jnp.concatenate(ways, axis=-1)


class GoogLeNet(nnx.Module):
    """GoogLeNet: three convolutions, nine inception blocks and a dense layer (7.0 million).

    Args:
        classes: How many classes the last layer tells apart.
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: GoogLeNet(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        make = functools.partial(conv, bias=True, rngs=rngs)
        self.conv1 = nnx.Dict({"7x7_s2": make(3, 64, 7, stride=2)})
        self.norm1 = _norm()
        self.conv2 = nnx.Dict({"3x3_reduce": make(64, 64, 1), "3x3": make(64, 192, 3)})
        self.norm2 = _norm()
        features = 192
        for stage, blocks in STAGES.items():
            for letter, widths in zip("abcde", blocks, strict=False):
                setattr(self, f"inception_{stage}{letter}", Inception(features, widths, rngs=rngs))
                features = widths.direct + widths.wide_3x3 + widths.wide_5x5 + widths.projected
        self.dropout = nnx.Dropout(0.4, deterministic=True)
        self.loss3 = nnx.Dict(classifier=nnx.Linear(features, classes, rngs=rngs))

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, height, width, 3]``; trained at 224 by 224. The last map,
                7×7 there, is averaged whatever its size.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures are smaller than 31 by 31.
        """
        x = max_pool(nnx.relu(self.conv1["7x7_s2"](centred(pixels))))
        with jax.named_scope("pool1/norm1"):
            x = self.norm1(x)
        x = nnx.relu(self.conv2["3x3_reduce"](x))
        x = nnx.relu(self.conv2["3x3"](x))
        with jax.named_scope("conv2/norm2"):
            x = self.norm2(x)
        for stage, blocks in STAGES.items():
            x = max_pool(x)
            for letter in "abcde"[: len(blocks)]:
                x = getattr(self, f"inception_{stage}{letter}")(x)
        refuse_empty(x, pixels)
        x = self.dropout(jnp.mean(x, axis=(1, 2)))
        return self.loss3.classifier(x)
