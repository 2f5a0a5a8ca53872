"""How each architecture for CIFAR-10 is trained: a table from its name to its settings.

A further architecture is a class here, with the settings that it is best trained with as defaults,
and a line in the table.
"""

import abc
import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from .network import Cifar10LRN
from .vit import cifar10_vit

PADDING = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(abc.ABC):
    """What decides a run.

    Attributes:
        seed: For the first weights, the order of the images, flips and shifts.
        epochs: How often every image is seen.
        batch: Images in a step.
        peak_rate: AdamW's largest learning rate, after a fifth of the run (one cycle, cosine).
        weight_decay: AdamW's, on kernels only.
        smoothing: How much of each label is spread over all classes.
        shift: By how many pixels an image is moved at most, in each direction.
    """

    file_prefix: ClassVar[str] = ""

    seed: int = 0
    epochs: int = 15
    batch: int = 128
    peak_rate: float = 2e-3
    weight_decay: float = 0.1
    smoothing: float = 0.05
    shift: int = 4

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError("a run has at least one epoch, and a batch one image")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it should be at least 0")
        if not 0 <= self.shift <= PADDING:
            raise ValueError(f"shift is {self.shift}; it should be from 0 to {PADDING}")

    @property
    def file_name(self) -> str:
        """What the run's files are called, without their endings.

        Example:
            >>> ViT(seed=3).file_name
            'vit_seed3'
        """
        return f"{self.file_prefix}seed{self.seed}"

    @abc.abstractmethod
    def network(self, classes: int, *, training: bool = False) -> nnx.Module:
        """The network before training, its first weights drawn from the seed.

        Args:
            classes: How many classes the last layer tells apart.
            training: Whether gradients are wanted: then it may be made of other parts, which
                compute the same values and have quicker derivatives.

        Returns:
            The network.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class LRN(Settings):
    """The network with local response normalisation.

    Attributes:
        alpha: The strength of both LRNs.

    Example:
        >>> LRN().alpha, LRN().epochs
        (1.0, 15)
    """

    alpha: float = 1.0

    def network(self, classes: int, *, training: bool = False) -> Cifar10LRN:
        """The network, in training with max pools of slices."""
        model = Cifar10LRN(classes, alpha=self.alpha, rngs=nnx.Rngs(self.seed))
        if training:
            model.pool = strided_max_pool
        return model


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViT(Settings):
    """The small Vision Transformer, which wants more and smaller steps.

    Example:
        >>> ViT().batch
        64
    """

    file_prefix = "vit_"

    batch: int = 64
    peak_rate: float = 1.5e-3
    weight_decay: float = 0.05

    def network(self, classes: int, *, training: bool = False) -> nnx.Module:
        """The network, the same in training."""
        return cifar10_vit(classes, rngs=nnx.Rngs(self.seed))


RECIPES: dict[str, type[Settings]] = {"lrn": LRN, "vit": ViT}


def strided_max_pool(x: jax.Array) -> jax.Array:
    """What `network.max_pool` computes, as maxima of slices: on CPU its gradient is far quicker.

    Where values tie, the gradient is shared; behind a relu, positive ones hardly ever do.
    """
    for axis in (1, 2):
        last = x.shape[axis] - 2
        parts = [jax.lax.slice_in_dim(x, i, last + i, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, parts)
    return x
