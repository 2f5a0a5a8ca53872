"""How a text's class comes back as its word pieces do: curves by the protocol of CP-LRP.

The protocol is that of Ali et al. 2022 (arXiv:2202.07304), with two curves for each text. What is
removed is replaced with the token ``[UNK]``; ``[CLS]`` and ``[SEP]`` always stay.

- *activation*: from nothing, pieces are put back, those with the largest relevance first;
- *pruning*: from the whole text, pieces are removed, those with the smallest |relevance| first.

Each has 11 points, at ``⌈f·N⌉`` of a text's N pieces for f = 0, 0.1, …, 1.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

import lrpjax
from lrpjax import evaluation
from lrpjax.evaluation.storage import Store, digest_of
from lrpjax.models.minilm import mean_pool

TENTHS = np.arange(11)
RANDOM, BASELINE = "random", "gradient × input"
IG_STEPS = 16  # relevance then correlates to 0.999 with that of 48
PADDING = 0  # the id of [PAD]

# A program for each length costs a compilation, a shorter length saves work: those that explain
# are few and large, the forward pass is small and runs most.
_LENGTHS_EXPLAINED, _LENGTHS_READ = 32, 8
_EXPLAINED, _READ, _TOGETHER = 32, 64, 128  # texts explained, rows read, texts sorted by length

Relevance = Callable[..., jax.Array]
_jit: Any = nnx.jit  # its types know nothing of static arguments


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """What is explained.

    Attributes:
        ids: int32 ``[n, tokens]``, `PADDING` behind each text.
        pieces: bool ``[n, tokens]``, what can be removed.
        labels: int32 ``[n]``, the explained classes.
        removed: The id that stands for what is removed.
    """

    ids: np.ndarray
    pieces: np.ndarray
    labels: np.ndarray
    removed: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, ints ``[n]``."""
        return (self.ids != PADDING).sum(1)


def _lrp(composite: str) -> Relevance:
    def relevance(model: Any, ids: Any, blank: Any, labels: Any) -> jax.Array:
        return lrpjax.lrp(model, composite)(ids, ids != PADDING, target=labels)

    return relevance


def _on_embeddings(method: Callable[[Any, Any], Any]) -> Relevance:
    """A method for floats, on what the embedding layer gives, summed over its features.

    That is behind the layer's normalisation, as in the paper. In front of it gradient × input is of
    no use: the normalisation ignores its input's length, so that the products of each token's
    gradient with its word, position and segment add up to 0, whatever the word.
    """

    def relevance(model: Any, ids: Any, blank: Any, labels: Any) -> jax.Array:
        mask = ids != PADDING

        def logits(states: Any) -> jax.Array:
            for layer in model.encoder.layers:
                states = layer(states, mask)
            return model.head(mean_pool(states, mask))

        attribution = method(logits, _embedded(model, blank))
        return attribution(_embedded(model, ids), target=labels).sum(-1)

    return relevance


def _embedded(model: Any, ids: Any) -> jax.Array:
    """What the first attention is given, ``[n, tokens, features]``."""
    encoder = model.encoder
    positions = encoder.positions.embedding[: ids.shape[1]]
    return encoder.norm(encoder.words(ids) + positions + encoder.segments.embedding[0])


#: (model, ids, ids with all pieces removed, classes) → relevance [n, tokens].
METHODS: dict[str, Relevance | None] = {
    "attn_lrp": _lrp("attn_lrp"),
    "cp_lrp": _lrp("cp_lrp"),
    "default": _lrp("default"),
    BASELINE: _on_embeddings(lambda logits, blank: evaluation.gradient_times_input(logits)),
    "integrated gradients": _on_embeddings(
        lambda logits, blank: evaluation.integrated_gradients(
            logits, steps=IG_STEPS, baseline=blank
        )
    ),
    RANDOM: None,
}


# The weights are arguments: as constants they would be compiled into the programs.
@functools.partial(_jit, static_argnums=0)
def _explained(method: Relevance, model: Any, ids: Any, blank: Any, labels: Any) -> jax.Array:
    return method(model, ids, blank, labels)


@nnx.jit
def _logits(model: Any, ids: Any) -> jax.Array:
    return model(ids, ids != PADDING)


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """Relevance and curves of some texts, each kept in a folder as it is computed.

    Attributes:
        model: From ids and mask to logits.
        texts: All texts there are.
        chosen: Which of them are measured, distinct ints in any order.
        folder: Where results are kept, so that the same call goes on after an interruption, or
            with more texts.
        seed: Of the random relevance.
    """

    model: Any
    texts: Texts
    chosen: np.ndarray
    folder: Path
    seed: int = 0

    def relevance(self) -> np.ndarray:
        """float32 ``[chosen, methods, tokens]``, methods in the order of `METHODS`."""
        return self._kept("relevance", _EXPLAINED, self._explain)

    def curves(self, name: str, relevance: np.ndarray) -> np.ndarray:
        """Logits at each point of a curve, float32 ``[chosen, methods, 11, classes]``.

        Args:
            name: ``activation`` or ``pruning``.
            relevance: As `relevance` gives it.
        """
        place = {index: row for row, index in enumerate(self.chosen)}

        def logits(index: np.ndarray) -> np.ndarray:
            rows = self._trials(name, index, relevance[[place[i] for i in index]])
            # What several methods or fractions agree on is read once.
            distinct, inverse = np.unique(
                rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True
            )
            found = self._read(distinct)[inverse.ravel()]
            return found.reshape(*rows.shape[:-1], -1)

        return self._kept(name, _EXPLAINED, logits)

    def _kept(
        self, name: str, size: int, compute: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Results ``[chosen, …]``: those in the folder, then new ones, a batch at a time."""
        store = Store.open(self.folder / name, self._record(), len(self.texts.ids))
        found: dict[int, np.ndarray] = {}
        for index, values, _ in store.chunks():
            found.update(zip(index.tolist(), values, strict=True))
        todo = [index for index in self.chosen if index not in found]
        done = len(self.chosen) - len(todo)
        with tqdm(total=len(self.chosen), initial=done, desc=name, unit="text") as bar:
            for index in self._batches(np.array(todo, int), size):
                values = compute(index)
                store.keep(index, values, self.texts.labels[index])
                found.update(zip(index.tolist(), values, strict=True))
                bar.update(len(index))
        return np.stack([found[index] for index in self.chosen])

    def _batches(self, index: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Batches of texts of like length, of few texts at a time."""
        for start in range(0, len(index), _TOGETHER):
            some = index[start : start + _TOGETHER]
            some = some[np.argsort(self.texts.lengths[some], kind="stable")]
            yield from (some[first : first + size] for first in range(0, len(some), size))

    def _explain(self, index: np.ndarray) -> np.ndarray:
        texts = self.texts
        # One height for all batches: the last one is filled up.
        filled = np.resize(index, _EXPLAINED)
        length = _rounded(texts.lengths[index].max(), _LENGTHS_EXPLAINED)
        ids, pieces = _columns(texts.ids[filled], length), _columns(texts.pieces[filled], length)
        blank = np.where(pieces, texts.removed, ids)
        relevance = np.zeros((len(index), len(METHODS), texts.ids.shape[1]), np.float32)
        for number, method in enumerate(METHODS.values()):
            if method is None:
                found = np.stack([self._noise(i, length) for i in index])
            else:
                labels = texts.labels[filled]
                found = np.asarray(_explained(method, self.model, ids, blank, labels))
            width = min(length, relevance.shape[-1])
            relevance[:, number, :width] = found[: len(index), :width]
        return relevance

    def _noise(self, index: int, length: int) -> np.ndarray:
        """A text's random relevance, whatever batch it is in."""
        size = self.texts.ids.shape[1]
        return _columns(np.random.default_rng([self.seed, index]).normal(size=(1, size)), length)[0]

    def _trials(self, name: str, index: np.ndarray, relevance: np.ndarray) -> np.ndarray:
        """The ids at each point of a curve, int32 ``[m, methods, 11, tokens]``."""
        pieces = self.texts.pieces[index][:, None]
        count = pieces.sum(-1)[..., None, None]
        key = -relevance if name == "activation" else np.abs(relevance)
        place = np.argsort(np.argsort(np.where(pieces, key, np.inf), -1, kind="stable"), -1)
        # In whole numbers: 0.3 · 10 is a little more than 3 in floating point.
        first = place[:, :, None, :] < -(-TENTHS[:, None] * count // 10)
        kept = first if name == "activation" else ~first
        kept = kept | ~pieces[:, :, None]
        return np.where(kept, self.texts.ids[index][:, None, None], self.texts.removed)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """The logits of rows of ids, ``[rows, classes]``."""
        lengths = (rows != PADDING).sum(1)
        order = np.argsort(lengths, kind="stable")
        found: dict[int, np.ndarray] = {}
        for start in range(0, len(rows), _READ):
            index = order[start : start + _READ]
            length = _rounded(lengths[index].max(), _LENGTHS_READ)
            batch = _columns(rows[np.resize(index, _READ)], length)
            logits = np.asarray(_logits(self.model, batch))[: len(index)]
            found.update(zip(index.tolist(), logits, strict=True))
        return np.stack([found[row] for row in range(len(rows))])

    def _record(self) -> dict[str, Any]:
        """What the results depend on."""
        weights = hashlib.sha256()
        for leaf in jax.tree.leaves(nnx.state(self.model)):
            weights.update(digest_of(np.asarray(leaf)).encode())
        return {
            "weights": weights.hexdigest(),
            "texts": digest_of(self.texts.ids),
            "labels": digest_of(self.texts.labels),
            "removed": self.texts.removed,
            "methods": list(METHODS),
            "ig_steps": IG_STEPS,
            "seed": self.seed,
            "versions": f"lrpjax {lrpjax.__version__}, jax {jax.__version__}",
        }


def _rounded(length: Any, step: int) -> int:
    """A length, rounded up to a multiple."""
    return int(-(-length // step) * step)


def _columns(rows: np.ndarray, length: int) -> np.ndarray:
    """The first columns, or zeros behind them where there are fewer."""
    rows = rows[:, :length]
    return np.pad(rows, ((0, 0), (0, length - rows.shape[1])))
