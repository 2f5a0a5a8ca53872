"""Short baselines to stand beside LRP, called as its ``relevance_fn`` is.

Each takes a model as :func:`lrpjax.lrp` does (a function, an ``nnx.Module``, a Linen module bound
or unbound) and returns ``attribution_fn(*args, target=None, **kwargs)``. A target names the score
that is explained, summed over all positions of the outputs:

| target | score |
| --- | --- |
| None, an index, ``targets.logit``, ``targets.one_hot`` | the logit z_t |
| ``targets.softmax_gradient`` | the probability ŷ_t |
| ``targets.contrastive`` | z_t less the mean of the other logits |
| ``targets.log_odds`` | log(P_t/(1 − P_t)) |
| ``targets.all_outputs``, a function of the outputs | the sum of all starting relevance |

``target=None`` is the largest logit of the input itself, also where a method looks at other inputs
(with noise, towards a baseline, occluded). An index out of range gives NaN, as in LRP.

Where all outputs and explained inputs have a leading axis of the same length, it is the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.evaluation.attribution_methods import (
    Gradient,
    GradientTimesInput,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
)
from lrpjax.evaluation.explained import attribution_function

AttributionFn = Callable[..., Any]


def gradient(
    fun: Any, *, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> AttributionFn:
    """The gradient of the score, signed and per element.

    Args:
        fun, argnums, has_aux: as in :func:`lrpjax.lrp`.

    Returns:
        ``attribution_fn(*args, target=None, **kwargs)``, giving the gradient in the structure,
        shapes and dtypes of the explained arguments.

    Raises:
        PlanError: when called, for a target or argument that doesn't fit, or integer inputs.

    References:
        Simonyan et al. 2014, Deep inside convolutional networks: visualising image classification
        models and saliency maps, §3 (who show its absolute value).

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.array([[2.0, -1.0], [1.0, 3.0]])
        >>> gradient(lambda x: w @ x**2)(jnp.array([1.0, 2.0])).tolist()
        [2.0, 12.0]
    """
    return attribution_function(fun, Gradient(), argnums, has_aux)


def gradient_times_input(
    fun: Any, *, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> AttributionFn:
    """Gradient × input: x ⊙ ∇f(x).

    Args and errors are those of :func:`gradient`.

    References:
        Shrikumar et al. 2016, Not just a black box: learning important features through
        propagating activation differences (arXiv:1605.01713).

    Example:
        >>> import jax.numpy as jnp
        >>> gradient_times_input(lambda x: x**2)(jnp.array([1.0, 3.0]), target=1).tolist()
        [0.0, 18.0]
    """
    return attribution_function(fun, GradientTimesInput(), argnums, has_aux)


def smoothgrad(
    fun: Any,
    *,
    samples: int = 50,
    noise_level: float = 0.15,
    seed: Any = 0,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
) -> AttributionFn:
    """SmoothGrad: the mean gradient over inputs with Gaussian noise.

    One sample is computed after another, so memory is that of the gradient.

    Args:
        fun, argnums, has_aux: as in :func:`gradient`.
        samples: how many noisy inputs.
        noise_level: the noise's standard deviation over the range max(x) − min(x) of each example
            (of the whole input where there is no batch).
        seed: an int, or a key of ``jax.random``; the same for every call.

    Returns:
        As :func:`gradient`.

    Raises:
        ValueError: for ``samples`` below 1 or a negative ``noise_level``.
        PlanError: as :func:`gradient`.

    References:
        Smilkov et al. 2017, SmoothGrad: removing noise by adding noise (arXiv:1706.03825).

    Example:
        >>> import jax.numpy as jnp
        >>> smoothgrad(lambda x: 3.0 * x)(jnp.array([1.0, 2.0]), target=0).tolist()
        [3.0, 0.0]
    """
    level = float(noise_level)
    if not (math.isfinite(level) and level >= 0):
        raise ValueError(f"noise_level is a finite number, at least 0; got {noise_level!r}")
    key = jax.random.key(seed) if isinstance(seed, (int, np.integer)) else seed
    method = SmoothGrad(level, key, _count(samples, "samples"))
    return attribution_function(fun, method, argnums, has_aux)


def integrated_gradients(
    fun: Any,
    *,
    steps: int = 50,
    baseline: Any = 0.0,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
) -> AttributionFn:
    """Integrated gradients: (x − x′) ⊙ ∫₀¹ ∇f(x′ + a(x − x′)) da.

    The integral is a Gauss–Legendre sum, exact for gradients that are polynomials of degree
    2·steps − 1 along the path. The attributions add up to f(x) − f(x′), to its error. One step is
    computed after another, so memory is that of the gradient.

    Args:
        fun, argnums, has_aux: as in :func:`gradient`.
        steps: how many gradients.
        baseline: x′: a number or array that broadcasts to each explained array, or a pytree of
            such in the structure of the explained arguments.

    Returns:
        As :func:`gradient`.

    Raises:
        ValueError: for ``steps`` below 1.
        PlanError: as :func:`gradient`, and for a baseline that doesn't fit the inputs.

    References:
        Sundararajan et al. 2017, Axiomatic attribution for deep networks, equation 1.

    Example:
        >>> import jax.numpy as jnp
        >>> attribution = integrated_gradients(lambda x: jnp.prod(x, keepdims=True), steps=2)
        >>> [round(float(a), 4) for a in attribution(jnp.array([2.0, 3.0]))]
        [3.0, 3.0]
    """
    baseline = jax.tree.map(jnp.asarray, baseline)
    method = IntegratedGradients(baseline, _count(steps, "steps"))
    return attribution_function(fun, method, argnums, has_aux)


def occlusion(
    fun: Any,
    *,
    window: Sequence[int],
    stride: Sequence[int] | None = None,
    value: Any = 0.0,
    axes: Sequence[int] = (-3, -2),
    windows_at_a_time: int = 1,
    argnums: int | None = None,
    has_aux: bool = False,
) -> AttributionFn:
    """Occlusion: how much the score drops when a window of the input is replaced.

    Windows start at 0, s, 2s, … along each axis until the end is covered; the last one is cut at
    the border. An element gets the *average* drop of the windows that cover it, and every element
    of a window its whole drop, so the map doesn't add up to the score.

    Args:
        fun, has_aux: as in :func:`lrpjax.lrp`.
        window: its size along each of ``axes``.
        stride: the step from window to window along each of them, at most the window's size; the
            window's size unless given.
        value: what replaces the input: a number, or an array that broadcasts to it.
        axes: the axes of the explained array that the window slides along; rows and columns of
            [..., H, W, C] unless given. It covers the other axes whole, but for the batch.
        windows_at_a_time: how many go through the model at once; memory grows with it.
        argnums: the one explained argument, an array of floats or integer ids.

    Returns:
        As :func:`gradient`; for integer inputs in floating point.

    Raises:
        ValueError: for sizes below 1, a stride above the window's size, or repeated axes.
        PlanError: when called, for an input that isn't one array, has no such axes, or that
            ``value`` doesn't fit.

    References:
        Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, §4.2.

    Example:
        >>> import jax.numpy as jnp
        >>> drop = occlusion(lambda x: x.sum(), window=(2,), stride=(1,), axes=(0,))
        >>> drop(jnp.array([1.0, 2.0, 4.0])).tolist()
        [3.0, 4.5, 6.0]
    """
    window, axes = tuple(window), tuple(axes)
    stride = window if stride is None else tuple(stride)
    if not len(window) == len(stride) == len(axes) == len(set(axes)) or not axes:
        raise ValueError(
            f"window, stride and axes name one number per axis; got {window}, {stride}, {axes}"
        )
    for size, step in zip(window, stride, strict=True):
        if _count(size, "window") < _count(step, "stride"):
            raise ValueError(f"a stride of {step} leaves gaps between windows of {size}")
    at_a_time = _count(windows_at_a_time, "windows_at_a_time")
    method = Occlusion(jnp.asarray(value), window, stride, axes, at_a_time)
    return attribution_function(fun, method, argnums, has_aux)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is a whole number, at least 1; got {value!r}")
    return int(value)
