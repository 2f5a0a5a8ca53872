"""AlexNet with its local response normalisation, in Flax NNX and in Caffe's layout.

The paper trained the network on two graphics cards that saw each other only in some layers. It is
published as one tower whose second, fourth and fifth convolution have two groups; the layers' names
are those of Caffe's ``bvlc_alexnet``.

Reference: A. Krizhevsky, I. Sutskever and G. E. Hinton, ImageNet Classification with Deep
Convolutional Neural Networks, NeurIPS 2012.
"""

import functools
from collections.abc import Callable

import jax
from flax import nnx

from .caffe_layout import centred, max_pool, red_first
from .layers import conv
from .local_response_norm import LocalResponseNorm
from .torch_layout import Reorder, channels_last

IMAGE_SIZE, GRID, HIDDEN = 227, 6, 4096
REORDER: dict[str, Reorder] = {
    "conv1.weight": red_first,
    "fc6.weight": functools.partial(channels_last, grid=GRID),
}

# The paper's §3.3: k = 2, n = 5, α = 1e-4 and β = 0.75, and the sum of squares, not their mean.
paper_norm = functools.partial(LocalResponseNorm.tensorflow, 2, bias=2.0, alpha=1e-4, beta=0.75)
# Caffe's file has the same α and β, but Caffe divides α by n, and k is 1.
bvlc_norm = functools.partial(LocalResponseNorm.caffe, 5, alpha=1e-4, beta=0.75)


class AlexNet(nnx.Module):
    """AlexNet: five convolutions, two of them normalised, and three dense layers (61 million).

    Args:
        classes: How many classes the last layer tells apart.
        norm: Makes the normalisation after the first and second convolution: the paper's, or
            `bvlc_norm` for weights that Caffe trained.
        rngs: Random streams for the first weights.

    Example:
        >>> model = nnx.eval_shape(lambda: AlexNet(10, rngs=nnx.Rngs(0)))
        >>> pixels = jax.ShapeDtypeStruct((2, 227, 227, 3), "float32")
        >>> nnx.eval_shape(lambda model, pixels: model(pixels), model, pixels).shape
        (2, 10)
    """

    def __init__(
        self,
        classes: int = 1000,
        *,
        norm: Callable[[], LocalResponseNorm] = paper_norm,
        rngs: nnx.Rngs,
    ):
        self.conv1 = conv(3, 96, 11, stride=4, padding=0, bias=True, rngs=rngs)
        self.norm1 = norm()
        self.conv2 = conv(96, 256, 5, groups=2, bias=True, rngs=rngs)
        self.norm2 = norm()
        self.conv3 = conv(256, 384, 3, bias=True, rngs=rngs)
        self.conv4 = conv(384, 384, 3, groups=2, bias=True, rngs=rngs)
        self.conv5 = conv(384, 256, 3, groups=2, bias=True, rngs=rngs)
        self.fc6 = nnx.Linear(256 * GRID * GRID, HIDDEN, rngs=rngs)
        self.drop6 = nnx.Dropout(0.5, deterministic=True)
        self.fc7 = nnx.Linear(HIDDEN, HIDDEN, rngs=rngs)
        self.drop7 = nnx.Dropout(0.5, deterministic=True)
        self.fc8 = nnx.Linear(HIDDEN, classes, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies photographs.

        Args:
            pixels: From 0 to 255, ``[n, 227, 227, 3]``.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures have another size.
        """
        if pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"pixels have shape {pixels.shape}; it should be [n, 227, 227, 3]")
        x = nnx.relu(self.conv1(centred(pixels)))
        with jax.named_scope("norm1"):
            x = self.norm1(x)
        x = nnx.relu(self.conv2(max_pool(x)))
        with jax.named_scope("norm2"):
            x = self.norm2(x)
        x = nnx.relu(self.conv3(max_pool(x)))
        x = nnx.relu(self.conv4(x))
        x = max_pool(nnx.relu(self.conv5(x)))
        x = self.drop6(nnx.relu(self.fc6(x.reshape(len(x), -1))))
        x = self.drop7(nnx.relu(self.fc7(x)))
        return self.fc8(x)
