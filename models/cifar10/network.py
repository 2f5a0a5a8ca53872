"""A compact network for CIFAR-10 with local response normalisation after its first two layers.

It has the size of the small networks with which local response normalisation was at home: Binder
et al. (Layer-wise Relevance Propagation for Neural Networks with Local Renormalization Layers,
ICANN 2016) measured its Taylor rule on such a one.
"""

from collections.abc import Callable

import jax
from flax import nnx

from ..layers import conv, normalised
from ..local_response_norm import LocalResponseNorm

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_SIZE = 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training set's colours
FEATURES = (32, 64, 160)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest value of 3×3 at every second position, ``[n, h, w, c]`` to about half h and w."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2))


class Cifar10LRN(nnx.Module):
    """Three convolutions with biases, three max pools and one dense layer; two LRNs (160,000).

    The order is conv, relu, pool, LRN; conv, relu, LRN, pool; conv, relu, pool; dense. PyTorch's
    default alpha of 1e-4 would leave activations of about 1 as they are; 1 normalises them.

    Args:
        classes: How many classes the last layer tells apart.
        alpha: How strongly both LRNs normalise (their size 5, beta 0.75 and k 1 are fixed); 0 is
            a network without LRN.
        pool: The pooling between the layers.
        rngs: Random streams for the first weights.

    Example:
        >>> import jax.numpy as jnp
        >>> model = Cifar10LRN(rngs=nnx.Rngs(0))
        >>> model(jnp.zeros((2, 32, 32, 3))).shape
        (2, 10)
        >>> model.norm1.alpha
        1.0
    """

    def __init__(
        self,
        classes: int = len(CLASSES),
        *,
        alpha: float = 1.0,
        pool: Callable[[jax.Array], jax.Array] = max_pool,
        rngs: nnx.Rngs,
    ):
        first, second, third = FEATURES
        self.pool = pool
        self.conv1 = conv(3, first, 5, bias=True, rngs=rngs)
        self.norm1 = LocalResponseNorm(size=5, alpha=alpha, beta=0.75, k=1.0)
        self.conv2 = conv(first, second, 5, bias=True, rngs=rngs)
        self.norm2 = LocalResponseNorm(size=5, alpha=alpha, beta=0.75, k=1.0)
        self.conv3 = conv(second, third, 3, bias=True, rngs=rngs)
        self.fc = nnx.Linear(3 * 3 * third, classes, rngs=rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Classifies pictures.

        Args:
            pixels: From 0 to 255, ``[n, 32, 32, 3]``.

        Returns:
            Logits, ``[n, classes]``.

        Raises:
            ValueError: The pictures have another size.
        """
        if pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"pixels have shape {pixels.shape}; it should be [n, 32, 32, 3]")
        x = normalised(pixels, MEAN, STD)
        x = self.pool(nnx.relu(self.conv1(x)))
        with jax.named_scope("norm1"):
            x = self.norm1(x)
        x = nnx.relu(self.conv2(x))
        with jax.named_scope("norm2"):
            x = self.norm2(x)
        x = self.pool(x)
        x = self.pool(nnx.relu(self.conv3(x)))
        return self.fc(x.reshape(len(x), -1))
