"""A classifier of texts ready for use: the network, its class names and its tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import jax
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from .class_names import class_index
from .minilm.tokens import Tokenized


class Tokenizer(Protocol):
    """What turns texts into ids.

    Attributes:
        longest: How many tokens of a text are read; the rest is cut off.
    """

    longest: int

    def __call__(self, texts: Sequence[str]) -> Tokenized:
        """Ids and mask, int32 ``[n, tokens]``, and the tokens of each text."""


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """A network with what a person needs to give it texts and to read its answers.

    Attributes:
        name: The name it is registered under.
        model: The network: ids and mask, both ``[n, tokens]``, to logits ``[n, classes]``.
        labels: One short name per class, in the order of the logits.
        tokenizer: From texts to ids and mask.

    Example:
        >>> from lrpjax import models
        >>> classifier = models.load_text("minilm_sst2")  # doctest: +SKIP
        >>> ids, mask, tokens = classifier.tokenize(["a film to remember"])  # doctest: +SKIP
        >>> lrpjax.lrp(classifier.model, "attn_lrp")(ids, mask).shape  # doctest: +SKIP
        (1, 8)
    """

    name: str
    model: nnx.Module = field(repr=False)
    labels: tuple[str, ...]
    tokenizer: Tokenizer = field(repr=False)

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Turns texts into the network's inputs.

        Args:
            texts: The texts.

        Returns:
            ``ids`` and ``mask``, int32 ``[n, tokens]`` with padding behind each text, and
            ``tokens``: for each text, what its tokens are called and where they stand.

        Raises:
            ValueError: There are no texts.
        """
        return self.tokenizer(texts)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The probability of every class.

        Args:
            texts: The texts.

        Returns:
            The softmax of the logits, float32 ``[n, classes]``.

        Raises:
            ValueError: There are no texts.
        """
        ids, mask, _ = self.tokenize(texts)
        return np.asarray(_probabilities(self.model, ids, mask))

    def class_index(self, name: str | int) -> int:
        """The index of the class that a name means; as ``Classifier.class_index``.

        Args:
            name: A label, or the index itself as a number or as text.

        Returns:
            The class's position among the logits.

        Raises:
            ValueError: No class has this name, or the index is out of range.
        """
        return class_index(name, self.name, self.labels)


@nnx.jit
def _probabilities(model: nnx.Module, ids: ArrayLike, mask: ArrayLike) -> jax.Array:
    return jax.nn.softmax(model(ids, mask))
