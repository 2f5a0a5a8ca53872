"""From texts to ids: BERT's word pieces, with the place of each in its text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

#: What all-MiniLM-L6-v2 reads of a text at most; the rest is cut off.
LONGEST = 256
_STEP = 8  # lengths are rounded up to a multiple, so that few programs are compiled


class Token(NamedTuple):
    """One token of a text.

    Attributes:
        string: What the vocabulary calls it; one that continues a word starts with ``##``.
        start: Where it starts in the text, in characters.
        end: Where it ends; equal to ``start`` for what the tokenizer adds, as ``[CLS]``.
    """

    string: str
    start: int
    end: int


class Tokenized(NamedTuple):
    """Some texts as a network reads them.

    Attributes:
        ids: int32 ``[n, tokens]``, 0 at padding.
        mask: int32 ``[n, tokens]``, 1 at tokens and 0 at padding.
        tokens: For each text its tokens, without padding.
    """

    ids: np.ndarray
    mask: np.ndarray
    tokens: tuple[tuple[Token, ...], ...]


class WordPieces:
    """Splits texts into word pieces.

    Args:
        definition: A tokenizer as JSON, as the package ``tokenizers`` writes it.
        longest: How many tokens of a text are kept, ``[CLS]`` and ``[SEP]`` included.

    Raises:
        ImportError: The package ``tokenizers`` is missing.
        ValueError: The definition is none.
    """

    def __init__(self, definition: str, longest: int = LONGEST):
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                "reading texts needs the package 'tokenizers': pip install 'lrpjax[text]'",
                name="tokenizers",
            ) from error
        try:
            self._tokenizer: Any = Tokenizer.from_str(definition)
        except Exception as error:  # its own errors have no class of theirs
            raise ValueError(f"this is no tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        self.longest = longest

    def __call__(self, texts: Sequence[str], length: int | None = None) -> Tokenized:
        """Splits texts.

        Args:
            texts: The texts.
            length: To how many tokens they are padded; None for the longest of them, rounded up
                to a multiple of 8.

        Returns:
            Ids, mask and tokens.

        Raises:
            ValueError: There are no texts, or one has more tokens than ``length``.
            TypeError: One string is given in the place of a sequence.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a sequence of strings; this is one string")
        if not texts:
            raise ValueError("there is no text")
        found = self._tokenizer.encode_batch(list(texts))
        most = max(len(one.ids) for one in found)
        length = -(-most // _STEP) * _STEP if length is None else length
        if most > length:
            raise ValueError(f"a text has {most} tokens; they do not fit into {length}")
        ids, mask = np.zeros((2, len(found), length), np.int32)
        for row, one in enumerate(found):
            ids[row, : len(one.ids)], mask[row, : len(one.ids)] = one.ids, 1
        return Tokenized(ids, mask, tuple(_tokens(one) for one in found))


def _tokens(encoding: Any) -> tuple[Token, ...]:
    places = zip(encoding.tokens, encoding.offsets, strict=True)
    return tuple(Token(string, start, end) for string, (start, end) in places)
