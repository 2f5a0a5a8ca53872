"""Local response normalisation across channels, which Flax has not, in each framework's spelling.

Every framework divides x by (k + c·Σ x²)^β, the sum over a window of neighbouring channels. They
differ in what they call the parts and in whether the window's length is divided out of c:

============  =================  ================  ====  =====
PyTorch       ``size``           ``alpha`` / size  beta  ``k``
Caffe         ``local_size``     ``alpha`` / size  beta  ``k``
TensorFlow    ``depth_radius``   ``alpha``         beta  bias
============  =================  ================  ====  =====

TensorFlow's window has 2·depth_radius + 1 channels. The paper that made the layer known writes its
α as TensorFlow does: A. Krizhevsky, I. Sutskever and G. E. Hinton, ImageNet Classification with
Deep Convolutional Neural Networks, NeurIPS 2012, §3.3.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax


class LocalResponseNorm(nnx.Module):
    """y = x / (k + (alpha / size)·Σ x²)^beta, the sum over ``size`` neighbours along one axis.

    The parameters are PyTorch's; `torch` is another name for this constructor, and `tensorflow`
    and `caffe` take those frameworks' own. Beyond the ends of the axis are zeros. A window of an
    even size reaches one channel farther back than forward, as PyTorch's does. There are no
    trained parameters.

    Args:
        size: The window's length, at least 1.
        alpha: The weight of the mean square over the window, at least 0.
        beta: The exponent, at least 0.
        k: What is added to the sum, at least 0. Where it is 0, a window of zeros gives NaN.
        axis: The axis that the window moves along; channels are last in Flax.

    Raises:
        TypeError: ``size`` or ``axis`` is no integer.
        ValueError: An argument is out of its range.

    Example:
        >>> norm = LocalResponseNorm(size=3, alpha=3.0, beta=0.5, k=0.0)
        >>> print(*(f"{y:.4f}" for y in norm(jnp.array([3.0, 4.0, 0.0]))))
        0.6000 0.8000 0.0000
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        axis: int = -1,
    ):
        if operator.index(size) < 1:
            raise ValueError(f"size is {size}; a window has at least one channel")
        _check(alpha=alpha, beta=beta, k=k)
        self.size, self.axis = operator.index(size), operator.index(axis)
        self.alpha, self.beta, self.k = float(alpha), float(beta), float(k)

    @classmethod
    def torch(
        cls,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        axis: int = -1,
    ) -> "LocalResponseNorm":
        """The constructor under PyTorch's name: ``torch.nn.LocalResponseNorm``.

        Args:
            size: The window's length.
            alpha: Divided by ``size``.
            beta: The exponent.
            k: What is added.
            axis: The axis of the channels; PyTorch's is 1, Flax's -1.

        Returns:
            The layer.

        Example:
            >>> norm = LocalResponseNorm.torch(5, alpha=5.0, beta=1.0)
            >>> norm(jnp.array([1.0]))
            Array([0.5], dtype=float32)
        """
        return cls(size, alpha, beta, k, axis=axis)

    @classmethod
    def tensorflow(
        cls,
        depth_radius: int = 5,
        bias: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        *,
        axis: int = -1,
    ) -> "LocalResponseNorm":
        """As ``tf.nn.local_response_normalization`` has it: x / (bias + alpha·Σ x²)^beta.

        Args:
            depth_radius: How far the window reaches to either side, at least 0.
            bias: What is added.
            alpha: The weight of the sum of squares, not divided by the window's length.
            beta: The exponent.
            axis: The axis of the channels.

        Returns:
            The layer, with a window of 2·depth_radius + 1 channels.

        Raises:
            TypeError: ``depth_radius`` is no integer.
            ValueError: An argument is out of its range.

        Example:
            >>> norm = LocalResponseNorm.tensorflow(depth_radius=2, alpha=1.0, beta=1.0)
            >>> norm.size, norm.alpha
            (5, 5.0)
            >>> norm(jnp.array([1.0]))
            Array([0.5], dtype=float32)
        """
        if operator.index(depth_radius) < 0:
            raise ValueError(f"depth_radius is {depth_radius}; it should be at least 0")
        _check(bias=bias, alpha=alpha, beta=beta)
        size = 2 * operator.index(depth_radius) + 1
        return cls(size, alpha * size, beta, bias, axis=axis)

    @classmethod
    def caffe(
        cls,
        local_size: int = 5,
        alpha: float = 1.0,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        axis: int = -1,
    ) -> "LocalResponseNorm":
        """As Caffe's ``LRN`` layer has it across channels, with its defaults.

        Args:
            local_size: The window's length, which is odd.
            alpha: Divided by ``local_size``.
            beta: The exponent.
            k: What is added.
            axis: The axis of the channels; Caffe's is 1, Flax's -1.

        Returns:
            The layer.

        Raises:
            TypeError: ``local_size`` is no integer.
            ValueError: ``local_size`` is even, or an argument is out of its range.

        Example:
            >>> LocalResponseNorm.caffe(local_size=3, alpha=5e-5).k
            1.0
        """
        if operator.index(local_size) % 2 == 0:
            raise ValueError(f"local_size is {local_size}; Caffe's windows are odd")
        return cls(local_size, alpha, beta, k, axis=axis)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises.

        Args:
            x: Floats of any shape that has the axis.

        Returns:
            The same shape and dtype.

        Raises:
            TypeError: ``x`` holds no real floats.
            ValueError: ``x`` lacks the axis.
        """
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"LocalResponseNorm takes floats, not {x.dtype}")
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"axis {self.axis} is none of an array of shape {x.shape}")
        # At least float32 inside: a sum of squares leaves bfloat16's eight bits soon.
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        base = self.k + self.alpha / self.size * self._window_sum(wide * wide)
        # On CPU this power is five times as fast as `**`, forward and backward.
        return (wide * jnp.exp(-self.beta * jnp.log(base))).astype(x.dtype)

    def _window_sum(self, squares: jax.Array) -> jax.Array:
        axis = self.axis % squares.ndim
        window, padding = [1] * squares.ndim, [(0, 0)] * squares.ndim
        window[axis], padding[axis] = self.size, (self.size // 2, (self.size - 1) // 2)
        # A NumPy zero: only from a concrete one JAX sees a sum, which it can differentiate.
        zero = np.zeros((), squares.dtype)
        return lax.reduce_window(squares, zero, lax.add, window, [1] * squares.ndim, padding)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < float("inf"):  # also refuses NaN
            raise ValueError(f"{name} is {value}; it should be a finite number, at least 0")
