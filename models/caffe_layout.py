"""What the networks in Caffe's layout share: names, pixels and pooling.

The files that Caffe's model zoo published with these networks name a layer ``conv1/7x7_s2``, and
so does the path of a module here; its arrays are ``conv1/7x7_s2.weight`` and ``….bias`` in a
safetensors file. Their first convolution takes blue, green, red. Here pixels are red, green, blue,
and the weights' colours are turned round when they are read.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

MEAN = (123.0, 117.0, 104.0)
MODULE_NAME = "/".join


@jax.named_scope("normalise")
def centred(pixels: jax.Array) -> jax.Array:
    """Takes ImageNet's mean colour away, which is all that these networks ask for.

    Args:
        pixels: From 0 to 255, red, green, blue, any real dtype ``[..., 3]``.

    Returns:
        Floats of the same shape.

    Example:
        >>> centred(jnp.array([124.0, 117.0, 103.0]))
        Array([ 1.,  0., -1.], dtype=float32)
    """
    return pixels - jnp.asarray(MEAN, jnp.result_type(pixels, 0.0))


def red_first(weight: np.ndarray) -> np.ndarray:
    """A first convolution's ``[out, 3, height, width]`` with its colours turned round."""
    return weight[:, ::-1]


def max_pool(x: jax.Array) -> jax.Array:
    """The largest value of 3×3 at every second position, the last window cut off where it ends.

    Caffe rounds the number of windows up, where XLA's "VALID" rounds down.

    Args:
        x: ``[n, height, width, features]``, at least 3 high and wide.

    Returns:
        ``[n, height // 2, width // 2, features]``.

    Example:
        >>> max_pool(jnp.zeros((1, 112, 55, 3))).shape
        (1, 56, 27, 3)
    """
    padding = [(0, 1 - length % 2) for length in x.shape[1:3]]
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=padding)
