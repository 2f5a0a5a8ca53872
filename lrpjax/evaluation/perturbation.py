"""Perturbation curves: how a network's score falls as regions are removed in order of relevance.

`Perturbation` says how; `perturbation_curves` does it, batch by batch through one compiled program
(:mod:`lrpjax.evaluation.program`), and returns every image's curve, from which all figures follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

import jax
import numpy as np

from lrpjax.evaluation.curves import PerturbationCurves
from lrpjax.evaluation.inputs import Inputs, checked_inputs
from lrpjax.evaluation.operators import Operator, as_operator, known
from lrpjax.evaluation.orders import ORDERS, Grid
from lrpjax.evaluation.program import SCORES, Program
from lrpjax.evaluation.storage import Store, digest_of

Score = str | Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """How images are perturbed and what is measured; the same for all methods that are compared.

    Attributes:
        operator: What a region is replaced with: a name of ``OPERATORS`` or an operator.
        orders: In which orders regions are removed, names of ``ORDERS`` (in any case): ``MoRF``,
            the most relevant first; ``LeRF``, the least relevant first; ``random``, another
            order for each image and repetition; ``smallest_absolute``, by |R|.
        region: A region's height and width in pixels, or one number for both; 1 for pixels. Its
            score is the sum of relevance over its pixels and colours. Where a side of the images
            is no multiple, the last regions are smaller.
        steps: How many times regions are removed; the score is taken after each, and before.
        per_step: How many regions are removed at each step. What is removed stays removed.
        repetitions: How often what is random (the operator, or the order) is drawn anew; curves
            are means over repetitions. What is not random runs once.
        score: ``"logit"``, the explained class's output; ``"probability"``, its softmax; or a
            function of outputs [n, classes] and classes [n] that gives [n].
        seed: The seed of everything random. An image's draws depend on it, on the image's place
            in the data and on the repetition alone: not on batches, orders or methods.

    Raises:
        ValueError: An unknown name or a number out of range.
        TypeError: An operator or a score that is none.

    References:
        Samek et al. 2017, Evaluating the visualization of what a deep neural network has learned
        (arXiv:1509.06321); Binder et al. 2016 (arXiv:1604.00825) for the order by |R|.

    Example:
        >>> Perturbation("blur", ("morf", "lerf"), region=9).orders
        ('MoRF', 'LeRF')
    """

    operator: str | Operator = "uniform"
    orders: tuple[str, ...] = ("MoRF", "LeRF")
    region: int | tuple[int, int] = (1, 1)
    steps: int = 100
    per_step: int = 1
    repetitions: int = 1
    score: Score = "logit"
    seed: int = 0

    def __post_init__(self) -> None:
        given = (self.orders,) if isinstance(self.orders, str) else tuple(self.orders)
        orders = tuple(known(name, ORDERS, "order") for name in given)
        if not orders or len(set(orders)) < len(orders):
            raise ValueError(f"orders are at least one, and each once; got {given!r}")
        sides = _sides(self.region)
        for name in ("steps", "per_step", "repetitions"):
            _check_count(name, getattr(self, name))
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)):
            raise TypeError(f"seed is an int; got {self.seed!r}")
        score = known(self.score, SCORES, "score") if isinstance(self.score, str) else self.score
        if not isinstance(score, str) and not callable(score):
            raise TypeError(f"a score is a name ({', '.join(SCORES)}) or a function; got {score!r}")
        settled = {
            "operator": as_operator(self.operator),
            "orders": orders,
            "region": sides,
            "score": score,
            "seed": int(self.seed),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def record(self) -> dict[str, Any]:
        """The settings as they are written down: equal records mean comparable curves.

        Example:
            >>> Perturbation(steps=5).record()["operator"]
            'UniformNoise(low=0.0, high=255.0)'
        """
        name = getattr(self.score, "__qualname__", repr(self.score))
        return {
            "operator": repr(self.operator),
            "orders": list(self.orders),
            "region": list(_sides(self.region)),
            "steps": int(self.steps),
            "per_step": int(self.per_step),
            "repetitions": int(self.repetitions),
            "score": self.score if isinstance(self.score, str) else name,
            "seed": self.seed,
        }

    def check_sides(self, height: int, width: int) -> None:
        """Refuses images of that size if they have fewer regions than are to be removed.

        Raises:
            ValueError: There are more steps than regions.

        Example:
            >>> Perturbation(steps=4, region=2).check_sides(4, 4)
        """
        high, wide = _sides(self.region)
        regions = Grid(height, width, (high, wide)).regions
        wanted = self.steps * self.per_step
        if wanted > regions:
            raise ValueError(
                f"{self.steps} steps of {self.per_step} remove {wanted} regions; images of "
                f"{height}×{width} have {regions} of {high}×{wide}"
            )


def perturbation_curves(
    fun: Any,
    attribution: Any,
    images: Any,
    perturbation: Perturbation | None = None,
    *,
    labels: Any = None,
    name: str = "",
    batch_size: int = 64,
    folder: str | PathLike[str] | None = None,
    progress: bool = True,
) -> PerturbationCurves:
    """The scores of images whose regions are removed in order of relevance.

    All batches go through one compiled program, which explains a batch and scores it after every
    step in every order; the last batch is filled up. Memory is that of explaining one batch.

    Args:
        fun: The model as :func:`lrpjax.lrp` takes it, an unbound Linen module excepted: images
            [n, h, w, c] to outputs [n, classes].
        attribution: ``attribution(x, target=classes [n])`` gives relevance like x, or summed over
            colours, [n, h, w]: ``lrpjax.lrp(fun, …)``, a baseline of this package, any function
            that JAX can trace. Or the maps themselves, an array of those shapes. Or ``"random"``,
            noise instead of an explanation: the control, whose ABPC is zero but for chance.
        images: [n, h, w, c] of any real dtype, in the range the model takes (integers are turned
            into float32).
        perturbation: The settings; None for the usual ones.
        labels: The explained classes, ints [n]; None for the one with the highest output.
        name: What the method is called in tables and figures.
        batch_size: How many images go through the model at a time.
        folder: Where results are kept batch by batch. The same call goes on where one was
            interrupted; a folder with other settings, model, method or data is refused.
        progress: Show a progress bar, where tqdm is installed and it takes more than a moment.

    Returns:
        The curves of every image.

    Raises:
        ValueError: Images, labels, outputs or maps of the wrong shape or not finite; more steps
            than there are regions; an attribution that JAX cannot trace.
        ResultsMismatch: The folder has results with other settings.

    Example:
        >>> import lrpjax, jax.numpy as jnp
        >>> fun = lambda x: x.sum((1, 2))  # three classes: how much red, green and blue there is
        >>> images = np.random.default_rng(0).uniform(0, 255, (20, 4, 4, 3))
        >>> settings = Perturbation("constant", steps=8, score="probability")
        >>> curves = perturbation_curves(fun, lrpjax.lrp(fun), images, settings)
        >>> curves.scores.shape, bool(curves.abpc().mean() > 0.1)
        ((2, 20, 9), True)
    """
    settings = perturbation or Perturbation()
    _check_count("batch_size", batch_size)
    data = checked_inputs(images, labels, attribution)
    count, height, width = data.images.shape[:3]
    settings.check_sides(height, width)
    size = min(batch_size, count)

    def traced(size: int) -> Program:
        batch = data.rows(np.resize(data.index, size))
        return Program(fun, attribution, settings, batch)

    program = traced(size)
    if data.labels is not None and data.labels.max() >= program.classes:
        raise ValueError(f"label {data.labels.max()}, but the model has {program.classes} classes")
    record = {"name": name, **settings.record(), "images": digest_of(data.images)}
    store = None
    if folder is not None:
        given = {"labels": digest_of(data.labels), "maps": digest_of(data.maps)}
        # The program for one image: what is done already stays valid for another batch size.
        origin = {"jax": jax.__version__, "program": traced(1).digest()}
        store = Store.open(folder, {**record, **given, **origin}, count)
    with _bar(progress, count, name) as bar:
        chunks = list(_chunks(program, data, size, store, bar))
    return PerturbationCurves.of_chunks(name, settings.orders, chunks, record)


def _chunks(
    program: Program, data: Inputs, size: int, store: Store | None, bar: Any
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pieces (index [m], scores [m, orders, steps + 1], targets [m]): those kept, then new ones."""
    todo = np.ones(len(data.index), bool)
    for chunk in store.chunks() if store else ():
        todo[chunk[0]] = False
        bar.update(len(chunk[0]))
        yield chunk
    rest = data.index[todo]
    for start in range(0, len(rest), size):
        index = rest[start : start + size]
        # One shape for all batches: the last one is filled up, so nothing is compiled twice.
        padded = np.concatenate([index, np.full(size - len(index), index[-1], np.int32)])
        scores, targets = (part[: len(index)] for part in program(data.rows(padded)))
        _check_finite(index, scores)
        if store:
            store.keep(index, scores, targets)
        bar.update(len(index))
        yield index, scores, targets


def _check_finite(index: np.ndarray, scores: np.ndarray) -> None:
    bad = index[~np.isfinite(scores).all(axis=(1, 2))]
    if len(bad):
        shown = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise ValueError(
            f"{len(bad)} of {len(index)} images have curves with NaN or infinite values (images "
            f"{shown}): the model's outputs or the relevance are not finite there"
        )


class _NoBar:
    """Stands in for a progress bar."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Nothing."""


def _bar(wanted: bool, total: int, name: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, desc=name or None, unit="image", disable=not wanted, delay=2)


def _sides(region: Any) -> tuple[int, int]:
    """Height and width of a region given as both, or as one number."""
    sides = tuple(region) if isinstance(region, (tuple, list)) else (region, region)
    if len(sides) != 2:
        raise ValueError(f"a region has a height and a width; got {region!r}")
    for side in sides:
        _check_count("region", side)
    return int(sides[0]), int(sides[1])


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is a whole number, at least 1; got {value!r}")
