"""Sentences with labels, from files with a tab between the two.

The Stanford Sentiment Treebank (Socher et al., Recursive Deep Models for Semantic Compositionality
Over a Sentiment Treebank, 2013) in two classes, SST-2, is commonly kept so. Nothing is downloaded.
"""

from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

Split = Literal["train", "dev", "test"]


class Sentences(NamedTuple):
    """One part of the dataset.

    Attributes:
        texts: The sentences.
        labels: 0 for negative, 1 for positive, int32 ``[n]``.
    """

    texts: tuple[str, ...]
    labels: np.ndarray


def load(folder: str | PathLike[str], split: Split) -> Sentences:
    """Reads one part: a sentence, a tab and its label, 0 or 1, on each line; no header.

    Args:
        folder: Where ``train.tsv``, ``dev.tsv`` and ``test.tsv`` lie.
        split: Which of them, without ``.tsv``.

    Returns:
        The sentences and their labels.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has another form; the message has its number.
    """
    path = Path(folder, f"{split}.tsv")
    # Not splitlines(): a sentence may hold one of Unicode's separators.
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    rows = [line.rstrip("\r").split("\t") for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[0].strip() or row[1] not in ("0", "1"):
            raise ValueError(f"{path}, line {number}: not a sentence, a tab and 0 or 1")
    texts, labels = zip(*rows, strict=True)
    return Sentences(texts, np.array(labels, np.int32))
