"""From word pieces back to words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .tokens import Token


class Word(NamedTuple):
    """A word and its relevance.

    Attributes:
        string: The pieces put together, in the vocabulary's spelling.
        start: Where it starts in the text, in characters.
        end: Where it ends.
        relevance: The sum over its pieces.
    """

    string: str
    start: int
    end: int
    relevance: float


def per_word(tokens: Sequence[Token], relevance: ArrayLike) -> list[Word]:
    """The relevance of words: each is the sum over its pieces, so that nothing gets lost.

    Args:
        tokens: The tokens of one text; one that continues a word starts with ``##``.
        relevance: Floats ``[tokens]``, or longer by padding, whose relevance must be 0.

    Returns:
        The words in order. What the tokenizer adds, as ``[CLS]``, is a word of its own.

    Raises:
        ValueError: There are fewer numbers than tokens, or relevance at padding.

    Example:
        >>> tokens = [Token("[CLS]", 0, 0), Token("un", 0, 2), Token("##fun", 2, 5)]
        >>> tokens += [Token("##ny", 5, 7), Token("!", 7, 8)]
        >>> for word in per_word(tokens, [0.0, -1.0, 0.25, -0.5, 0.125]):
        ...     print(word.string, word.start, word.end, word.relevance)
        [CLS] 0 0 0.0
        unfunny 0 7 -1.25
        ! 7 8 0.125
    """
    values = np.asarray(relevance, np.float64)
    if values.ndim != 1 or len(values) < len(tokens):
        raise ValueError(f"relevance of shape {values.shape} for {len(tokens)} tokens")
    if values[len(tokens) :].any():
        raise ValueError("there is relevance at padding; are these another text's tokens?")
    words: list[Word] = []
    for token, value in zip(tokens, values.tolist(), strict=False):
        if words and token.string.startswith("##") and token.start == words[-1].end:
            before = words.pop()
            string = before.string + token.string.removeprefix("##")
            words.append(Word(string, before.start, token.end, before.relevance + value))
        else:
            words.append(Word(token.string, token.start, token.end, value))
    return words
