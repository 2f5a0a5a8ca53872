"""Batches of photographs through one compiled program: a forward pass, then every class."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lrpjax
from lrpjax.cli.settings import Settings


@dataclass(frozen=True)
class Explanation:
    """What was found in one photograph.

    Attributes:
        image: float32 [H, W, 3], the pixels the model saw, 0..255.
        classes: int64 [classes], the explained classes.
        logits: float32 [classes], their outputs.
        scores: float32 [classes], their probabilities among all classes.
        relevance: float32 [classes, H, W, 3].
    """

    image: np.ndarray
    classes: np.ndarray
    logits: np.ndarray
    scores: np.ndarray
    relevance: np.ndarray


def explanations(
    settings: Settings, photographs: Iterable[tuple[Any, np.ndarray]], batch_size: int
) -> Iterator[tuple[Any, Explanation]]:
    """Explains photographs in batches, while the caller deals with the batch before.

    Args:
        settings: The model, the composite and the classes.
        photographs: Pairs of anything and pixels float32 [H, W, 3].
        batch_size: How many photographs go through the model at a time.

    Yields:
        The pairs' first parts and explanations, in order.
    """
    graph, state = nnx.split(settings.classifier.model)
    named = jnp.asarray(settings.classes, jnp.int32)
    stream = iter(photographs)
    before: tuple[list[Any], Any] = ([], None)
    while batch := list(itertools.islice(stream, batch_size)):
        # One shape for all batches: the last one is filled up, so nothing is compiled twice.
        pixels = np.zeros((batch_size, *batch[0][1].shape), np.float32)
        pixels[: len(batch)] = [one for _, one in batch]
        running = explained(graph, state, settings.composite, named, (pixels,), settings.top)
        yield from _unpacked(*before)
        before = (batch, running)
    yield from _unpacked(*before)


@functools.partial(jax.jit, static_argnames=("graph", "top"))
def explained(
    graph: nnx.GraphDef,
    state: Any,
    composite: Any,
    named: jax.Array,
    inputs: tuple[Any, ...],
    top: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One batch, compiled.

    Args:
        graph, state: The model, split.
        composite: The rules.
        named: Classes that are explained whatever the outputs, int32 [N].
        inputs: The model's inputs; the first, [B, ...], is explained.
        top: How many of the highest classes are explained after those.

    Returns:
        Logits [B, classes], the explained classes int32 [B, N + top], and relevance in the shape
        of the first input with an axis for them, [B, N + top, ...].
    """
    # The weights are an argument: as constants they would be compiled into the program.
    logits, relevance_of = lrpjax.lrp_vjp(nnx.merge(graph, state), composite, *inputs)
    best = jax.lax.top_k(logits, top)[1].astype(jnp.int32)
    asked = jnp.broadcast_to(named, (len(logits), len(named)))
    targets = jnp.concatenate([asked, best], axis=1)
    # The classes one after another: memory stays that of one class, whatever their number.
    relevance = jax.lax.map(relevance_of, targets.T)
    return logits, targets, jnp.moveaxis(relevance, 0, 1)


def _unpacked(batch: list[Any], results: Any) -> Iterator[tuple[Any, Explanation]]:
    if not batch:
        return
    logits, targets, relevance = jax.device_get(results)
    for (key, pixels), outputs, classes, maps in zip(
        batch, logits, targets, relevance, strict=False
    ):
        keep, chosen = once(classes)
        scores = softmax(outputs)[chosen].astype(np.float32)
        yield key, Explanation(pixels, chosen, outputs[chosen], scores, maps[keep])


def once(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each class once: a class that was asked for by name may be among the highest too.

    Returns:
        Where each class stands first, and the classes, int64, in that order.

    Example:
        >>> once(np.array([4, 1, 4]))[1].tolist()
        [4, 1]
    """
    _, first = np.unique(classes, return_index=True)
    keep = np.sort(first)
    return keep, classes[keep].astype(np.int64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 [classes]."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
