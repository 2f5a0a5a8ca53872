"""Trains an adapter: the schedule, one compiled step, and what a checkpoint holds.

A run is a function of its settings alone. Every epoch draws its order from the seed and the
epoch's number, so one that starts from a checkpoint goes on as if it had never stopped.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import adapter
from .data import Sentences
from .network import BertEncoder
from .tokens import Tokenized
from .weights import LABELS

try:
    import optax
except ImportError as error:
    raise ImportError(
        "training needs the package 'optax': pip install 'lrpjax[train]'", name="optax"
    ) from error

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
Progress = Callable[[Iterable[Batch]], Iterable[Batch]]
Tokenizer = Callable[[Sequence[str]], Tokenized]
_ROUNDED = 16  # lengths are rounded up to a multiple, so that few programs are compiled
_SORTED_TOGETHER = 20  # batches; sentences of like length come together within so many
_EVALUATED_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides a run.

    Attributes:
        seed: For the first weights and the order of the sentences.
        epochs: How often every sentence is read.
        batch: Sentences in a step.
        rank: Of the updates to the attention; 0 trains the head alone.
        peak_rate: AdamW's largest learning rate, after a tenth of the run (cosine).
        weight_decay: AdamW's.
    """

    seed: int = 0
    epochs: int = 4
    batch: int = 32
    rank: int = 4
    peak_rate: float = 1e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1:
            raise ValueError("a run has at least one epoch, and a batch one sentence")
        if min(self.seed, self.rank) < 0:
            raise ValueError(f"seed {self.seed} and rank {self.rank} should be at least 0")


class State(NamedTuple):
    """Where a run is: after so many epochs, with this adapter and this optimiser's state."""

    epoch: int
    adapter: Any
    optimiser: Any
    history: tuple[dict[str, float], ...] = ()


class Trainer:
    """The compiled parts of a run.

    Args:
        settings: What decides the run.
        encoder: What the adapter is for; it stays as it is.
        tokenizer: From texts to ids and mask.
        data: The sentences to train on.
    """

    def __init__(
        self, settings: Settings, encoder: BertEncoder, tokenizer: Tokenizer, data: Sentences
    ):
        self.settings, self.tokenizer, self.data = settings, tokenizer, data
        self.steps = len(data.texts) // settings.batch
        if not self.steps:
            raise ValueError(f"{len(data.texts)} sentences do not fill a batch of {settings.batch}")
        self.lengths = tokenizer(data.texts).mask.sum(1)
        self.encoder = encoder
        self.graph, self.frozen = nnx.split(encoder)

    def start(self) -> State:
        """The run before its first epoch."""
        settings = self.settings
        arrays = adapter.first(self.encoder.config, len(LABELS), settings.rank, settings.seed)
        arrays = jax.tree.map(jnp.asarray, arrays)
        return State(0, arrays, _optimiser(settings, self.steps).init(arrays))

    def epoch(self, state: State, progress: Progress = iter) -> State:
        """Goes once over all sentences, but for those that fill no batch.

        Args:
            state: Where the run is.
            progress: Wraps the iterator over batches, as ``tqdm`` does.

        Returns:
            Where the run is then; its history has the epoch's mean loss.
        """
        arrays, optimiser, total = state.adapter, state.optimiser, jnp.zeros(())
        # Runs that differ in their seeds alone share one program.
        static = (self.graph, dataclasses.replace(self.settings, seed=0), self.steps)
        for batch in progress(self.batches(state.epoch)):
            arrays, optimiser, loss = _step(*static, self.frozen, arrays, optimiser, batch)
            total += loss
        seen = {"loss": round(float(total) / self.steps, 6)}
        return State(state.epoch + 1, arrays, optimiser, (*state.history, seen))

    def accuracy(self, state: State, data: Sentences) -> float:
        """The share of sentences that are then put into their class."""
        order, hits = np.argsort([len(text) for text in data.texts], kind="stable"), 0
        for start in range(0, len(order), _EVALUATED_AT_ONCE):
            chosen = order[start : start + _EVALUATED_AT_ONCE]
            # One height for all: the last batch is filled up with its first sentence.
            filled = np.pad(chosen, (0, _EVALUATED_AT_ONCE - len(chosen)), "wrap")
            ids, mask, labels = self._batch(data, filled)
            logits = _logits(self.graph, self.frozen, state.adapter, ids, mask)
            found = np.asarray(logits).argmax(-1) == labels
            hits += int(found[: len(chosen)].sum())
        return hits / len(data.texts)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The epoch's batches: ids, mask and labels, int32 ``[batch, tokens]`` and ``[batch]``."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        size = self.settings.batch
        order = rng.permutation(len(self.data.texts))[: self.steps * size]
        together = size * _SORTED_TOGETHER
        parts = np.split(order, range(together, len(order), together))
        order = np.concatenate([part[np.argsort(self.lengths[part])] for part in parts])
        for place in rng.permutation(self.steps):
            yield self._batch(self.data, order[place * size : (place + 1) * size])

    def _batch(self, data: Sentences, chosen: np.ndarray) -> Batch:
        ids, mask, _ = self.tokenizer([data.texts[index] for index in chosen])
        missing = ((0, 0), (0, -ids.shape[1] % _ROUNDED))
        return np.pad(ids, missing), np.pad(mask, missing), data.labels[chosen]


def _optimiser(settings: Settings, steps: int) -> optax.GradientTransformation:
    total = settings.epochs * steps
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.peak_rate, total // 10, total)
    return optax.adamw(rate, weight_decay=settings.weight_decay)


# The encoder's weights are arguments: as constants they would be part of the programs.
@functools.partial(jax.jit, static_argnames="graph")
def _logits(graph: Any, frozen: Any, arrays: Any, ids: jax.Array, mask: jax.Array) -> jax.Array:
    return adapter.classifier(nnx.merge(graph, frozen), arrays)(ids, mask)


@functools.partial(jax.jit, static_argnames=("graph", "settings", "steps"))
def _step(
    graph: Any, settings: Settings, steps: int, frozen: Any, arrays: Any, state: Any, batch: Batch
) -> tuple[Any, Any, jax.Array]:
    """The adapter and the optimiser's state after a batch, and the batch's mean loss."""

    def mean_loss(arrays: Any) -> jax.Array:
        ids, mask, labels = batch
        logits = _logits(graph, frozen, arrays, ids, mask)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, gradient = jax.value_and_grad(mean_loss)(arrays)
    changes, state = _optimiser(settings, steps).update(gradient, state, arrays)
    return optax.apply_updates(arrays, changes), state, loss
