"""What a perturbed region is replaced with.

An operator makes, for each image, a whole image of replacements; a perturbation then shows it
wherever a region has been removed. So a pixel's replacement depends on the image and the
repetition alone, never on when the pixel is removed or by which method: the curves of two methods
differ only by their orders.

The operator changes the scale of a curve (Samek et al. 2017 find areas between 114 and 244 for one
method on one data set), so every table and figure of this package names it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

Colour = float | tuple[float, ...]


@runtime_checkable
class Operator(Protocol):
    """Anything that makes replacements: one of this module's classes, or a class of your own.

    Example:
        >>> isinstance(UniformNoise(), Operator), isinstance(3, Operator)
        (True, False)
    """

    @property
    def random(self) -> bool:
        """Whether the keys matter, so that repetitions differ."""

    def __call__(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Replacements of the images' shape [n, h, w, c] and dtype, from one key per image."""


@dataclasses.dataclass(frozen=True)
class UniformNoise:
    """Every colour of every pixel drawn anew between ``low`` and ``high``.

    Attributes:
        low, high: The bounds, numbers for all colours or one number for each.

    References:
        Samek et al. 2017 (arXiv:1509.06321).

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> noise = UniformNoise(0, 255)(keys, jnp.zeros((2, 4, 4, 3)))
        >>> noise.shape, bool((noise >= 0).all() and (noise < 255).all())
        ((2, 4, 4, 3), True)
    """

    low: Colour = 0.0
    high: Colour = 255.0
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)

    def __call__(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Uniform draws, as :class:`Operator`."""
        low, high = (_colour(bound, images) for bound in (self.low, self.high))
        draw = jax.vmap(lambda key, image: jax.random.uniform(key, image.shape, image.dtype))
        return low + (high - low) * draw(keys, images)


@dataclasses.dataclass(frozen=True)
class Constant:
    """One colour, black unless another is given.

    Attributes:
        value: A number for all colours, or one for each.

    Example:
        >>> Constant((1, 2, 3))(None, jnp.zeros((1, 2, 2, 3)))[0, 1, 1].tolist()
        [1.0, 2.0, 3.0]
    """

    value: Colour = 0.0
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _numbers(self, "value", self.value))

    def __call__(self, keys: Any, images: jax.Array) -> jax.Array:
        """The colour everywhere, as :class:`Operator`; keys don't matter."""
        return jnp.broadcast_to(_colour(self.value, images), images.shape)


@dataclasses.dataclass(frozen=True)
class Blur:
    """The image itself, blurred by a Gaussian: what is removed is the detail.

    Beyond the border there is nothing: a pixel near it is the weighted mean of those there are.

    Attributes:
        sigma: The Gaussian's standard deviation in pixels.

    Example:
        >>> edge = jnp.zeros((1, 1, 4, 1)).at[:, :, 2:].set(100)
        >>> Blur(1.0)(None, edge).round().ravel().tolist()
        [8.0, 32.0, 68.0, 92.0]
    """

    sigma: float = 3.0
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < float(self.sigma) < math.inf:
            raise ValueError(f"Blur: sigma is a number above 0, not {self.sigma!r}")
        object.__setattr__(self, "sigma", float(self.sigma))

    def __call__(self, keys: Any, images: jax.Array) -> jax.Array:
        """The images blurred, as :class:`Operator`; keys don't matter."""
        rows, columns = (self._weights(size, images.dtype) for size in images.shape[1:3])
        return jnp.einsum("ij,njkc,lk->nilc", rows, images, columns)

    def _weights(self, size: int, dtype: Any) -> jax.Array:
        distance = jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
        weights = jnp.exp(-0.5 * (distance / self.sigma) ** 2)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Dirichlet:
    """Every pixel's colours drawn together from a Dirichlet distribution.

    The reading here: a pixel's C colours, as fractions of the range from ``low`` to ``high``, are
    one draw from the Dirichlet distribution with parameters ``concentration``, so they sum to 1 and
    their mean brightness is 1/C of the range. Samek et al. name the distribution among their
    operators; how they scale and fit it is not settled by the name, so figures of this operator
    compare with each other, not with theirs.

    Attributes:
        concentration: The parameters, one number for all colours or one for each; all above 0.
            1 makes every mixture of colours equally likely, larger numbers make grey likelier.
        low, high: The bounds, numbers for all colours or one number for each.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 1)
        >>> noise = Dirichlet(high=1.0)(keys, jnp.zeros((1, 4, 4, 3)))
        >>> bool(jnp.allclose(noise.sum(-1), 1, atol=1e-5))
        True
    """

    concentration: Colour = 1.0
    low: Colour = 0.0
    high: Colour = 255.0
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)
        numbers = _numbers(self, "concentration", self.concentration)
        if not all(number > 0 for number in _several(numbers)):
            raise ValueError(f"Dirichlet: concentration is above 0, not {self.concentration!r}")
        object.__setattr__(self, "concentration", numbers)

    def __call__(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Dirichlet draws, as :class:`Operator`; a ValueError for images of one colour."""
        colours = images.shape[-1]
        if colours < 2:
            raise ValueError("Dirichlet draws the mixture of colours; these images have one colour")
        alpha = jnp.broadcast_to(_colour(self.concentration, images), (colours,))
        draw = jax.vmap(lambda key: jax.random.dirichlet(key, alpha, images.shape[1:3]))
        low, high = (_colour(bound, images) for bound in (self.low, self.high))
        return low + (high - low) * draw(keys).astype(images.dtype)


@dataclasses.dataclass(frozen=True)
class Mean:
    """The image's own mean colour.

    (The mean of the whole image, as is usual for pixels: the mean of a region of one pixel would
    change nothing.)

    Example:
        >>> Mean()(None, jnp.arange(4.0).reshape(1, 2, 2, 1)).ravel().tolist()
        [1.5, 1.5, 1.5, 1.5]
    """

    random: ClassVar[bool] = False

    def __call__(self, keys: Any, images: jax.Array) -> jax.Array:
        """The mean colour everywhere, as :class:`Operator`; keys don't matter."""
        return jnp.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)


OPERATORS: MappingProxyType[str, Callable[..., Operator]] = MappingProxyType(
    {
        "uniform": UniformNoise,
        "constant": Constant,
        "blur": Blur,
        "dirichlet": Dirichlet,
        "mean": Mean,
    }
)


def as_operator(given: str | Operator) -> Operator:
    """The operator of that name with its usual numbers, or the given operator itself.

    Args:
        given: A name of ``OPERATORS``, or an operator.

    Returns:
        The operator.

    Raises:
        ValueError: No operator has this name.
        TypeError: It is neither a name nor an operator.

    Example:
        >>> as_operator("blur")
        Blur(sigma=3.0)
    """
    if isinstance(given, str):
        return OPERATORS[known(given, OPERATORS, "operator")]()
    if isinstance(given, type) or not isinstance(given, Operator):
        raise TypeError(
            f"an operator is a name ({', '.join(OPERATORS)}) or an object such as Blur(3.0); "
            f"got {given!r}"
        )
    return given


def known(name: str, table: Any, what: str) -> str:
    """A table's own spelling of a name, whatever its case; a ValueError that lists the others.

    Example:
        >>> known("MORF", {"MoRF": 1}, "order")
        'MoRF'
    """
    spelled = {key.casefold(): key for key in table}
    if name.casefold() in spelled:
        return spelled[name.casefold()]
    close = difflib.get_close_matches(name.casefold(), spelled, n=1)
    hint = f"did you mean {spelled[close[0]]!r}? " if close else ""
    raise ValueError(f"no {what} named {name!r}; {hint}there are: {', '.join(table)}")


def _numbers(owner: Any, name: str, value: Any) -> Colour:
    """One finite number, or a tuple of them."""
    try:
        several = tuple(float(number) for number in _several(value))
    except (TypeError, ValueError):
        several = ()
    if not several or not all(map(math.isfinite, several)):
        kind = type(owner).__name__
        raise ValueError(f"{kind}: {name} is a finite number, or one per colour, not {value!r}")
    return several if _is_sequence(value) else several[0]


def _check_bounds(owner: Any, low: Any, high: Any) -> None:
    low, high = _numbers(owner, "low", low), _numbers(owner, "high", high)
    pairs = zip(*_level(_several(low), _several(high)), strict=True)
    if not all(one < other for one, other in pairs):
        raise ValueError(f"{type(owner).__name__}: low {low!r} is not below high {high!r}")
    object.__setattr__(owner, "low", low)
    object.__setattr__(owner, "high", high)


def _is_sequence(value: Any) -> bool:
    return getattr(value, "ndim", 1 if isinstance(value, (list, tuple)) else 0) == 1


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if _is_sequence(value) else (value,)


def _level(one: tuple, other: tuple) -> tuple[tuple, tuple]:
    """Both as long as the longer one, where the shorter is a single number."""
    length = max(len(one), len(other))
    repeated = [values * length if len(values) == 1 else values for values in (one, other)]
    if len(repeated[0]) != len(repeated[1]):
        raise ValueError(f"bounds for {len(one)} and for {len(other)} colours")
    return repeated[0], repeated[1]


def _colour(value: Colour, images: jax.Array) -> jax.Array:
    """A colour that broadcasts against images [n, h, w, c]."""
    colours = images.shape[-1]
    if isinstance(value, tuple) and len(value) != colours:
        raise ValueError(f"{len(value)} numbers for images of {colours} colours")
    return jnp.asarray(value, images.dtype)
