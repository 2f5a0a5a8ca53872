"""Trains a network for CIFAR-10: the schedule, one compiled step, and what a checkpoint holds.

A run is a function of its settings alone. Every epoch draws its order, flips and shifts from the
seed and the epoch's number, so one that starts from a checkpoint goes on as if it had never
stopped.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .data import Images
from .recipes import PADDING, Settings

try:
    import optax
except ImportError as error:
    raise ImportError(
        "training needs the package 'optax': pip install 'lrpjax[train]'", name="optax"
    ) from error

Batches = Iterable[tuple[np.ndarray, np.ndarray]]
Progress = Callable[[Batches], Batches]
EVALUATED_AT_ONCE = 500


class State(NamedTuple):
    """Where a run is: after so many epochs, with these weights and this optimiser's state."""

    epoch: int
    params: Any
    optimiser: Any
    history: tuple[dict[str, float], ...] = ()


class Trainer:
    """The compiled parts of a run, for settings and a number of images.

    Args:
        settings: What decides the run, and of which network.
        data: The images to train on.
    """

    def __init__(self, settings: Settings, data: Images):
        self.settings = settings
        self.steps = len(data.pixels) // settings.batch
        if not self.steps:
            raise ValueError(f"{len(data.pixels)} images do not fill a batch of {settings.batch}")
        self.labels, self.classes = data.labels, len(data.names)
        border = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
        self.padded = np.pad(data.pixels, border, mode="reflect")
        self.graph, first = nnx.split(settings.network(self.classes, training=True))
        self.first_params = nnx.to_pure_dict(first)
        self.optimiser = _optimiser(settings, self.steps)
        # Runs that differ in their seeds alone share one program.
        self.step = _compiled_step(self.graph, dataclasses.replace(settings, seed=0), self.steps)

    def start(self) -> State:
        """The run before its first epoch."""
        params = jax.tree.map(jnp.copy, self.first_params)  # a step gives its buffers away
        return State(0, params, self.optimiser.init(params))

    def epoch(self, state: State, progress: Progress = iter) -> State:
        """Goes once over all images.

        Args:
            state: Where the run is; its arrays are given away.
            progress: Wraps the iterator over batches, as ``tqdm`` does.

        Returns:
            Where the run is then; its history has the epoch's mean loss and accuracy on the
            images as they were shown.
        """
        params, optimiser = state.params, state.optimiser
        sums = jnp.zeros(2)
        for pixels, labels in progress(self.batches(state.epoch)):
            params, optimiser, sums = self.step(params, optimiser, sums, pixels, labels)
        loss, hits = np.asarray(sums, np.float64) / (self.steps * self.settings.batch)
        seen = {"loss": round(float(loss), 6), "accuracy": round(float(hits), 6)}
        return State(state.epoch + 1, params, optimiser, (*state.history, seen))

    def model(self, state: State) -> nnx.Module:
        """The network as it stands then."""
        model = nnx.eval_shape(lambda: self.settings.network(self.classes))
        nnx.update(model, state.params)
        return model

    def accuracy(self, state: State, data: Images) -> float:
        """The share of images that the network then puts into their class."""
        model, hits = self.model(state), 0
        for start in range(0, len(data.pixels), EVALUATED_AT_ONCE):
            part = slice(start, start + EVALUATED_AT_ONCE)
            logits = _logits(model, jnp.asarray(data.pixels[part], jnp.float32))
            hits += int((np.asarray(logits).argmax(-1) == data.labels[part]).sum())
        return hits / len(data.pixels)

    def batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The epoch's batches: uint8 ``[batch, 32, 32, 3]`` and int32 ``[batch]``."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        order = rng.permutation(len(self.padded))
        size, grid = self.settings.batch, np.arange(self.padded.shape[1] - 2 * PADDING)
        for start in range(0, self.steps * size, size):
            chosen = order[start : start + size]
            moves = rng.integers(
                -self.settings.shift, self.settings.shift, (2, size), np.int64, True
            )
            rows, columns = PADDING + moves[..., None] + grid
            flipped = rng.random(size) < 0.5
            columns[flipped] = columns[flipped, ::-1]
            yield (
                self.padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]],
                self.labels[chosen],
            )


@nnx.jit
def _logits(model: nnx.Module, pixels: jax.Array) -> jax.Array:
    return model(pixels)


def _optimiser(settings: Settings, steps: int) -> optax.GradientTransformation:
    rate = optax.cosine_onecycle_schedule(
        settings.epochs * steps, settings.peak_rate, pct_start=0.2, final_div_factor=1e3
    )

    def is_kernel(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)

    return optax.adamw(rate, weight_decay=settings.weight_decay, mask=is_kernel)


@functools.lru_cache(maxsize=1)
def _compiled_step(graph: Any, settings: Settings, steps: int) -> Callable[..., Any]:
    optimiser = _optimiser(settings, steps)

    def loss_and_hits(params: Any, pixels: jax.Array, labels: jax.Array) -> Any:
        logits = nnx.merge(graph, params)(pixels.astype(jnp.float32))
        wanted = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), settings.smoothing)
        losses = optax.softmax_cross_entropy(logits, wanted)
        hits = (logits.argmax(-1) == labels).sum()
        return losses.mean(), jnp.stack([losses.sum(), hits])

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(params: Any, state: Any, sums: jax.Array, pixels: jax.Array, labels: jax.Array) -> Any:
        gradient, seen = jax.grad(loss_and_hits, has_aux=True)(params, pixels, labels)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, sums + seen

    return step
