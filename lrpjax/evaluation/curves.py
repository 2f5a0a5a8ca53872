"""The curves of a perturbation test, and the areas that sum them up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import Any

import numpy as np

from lrpjax.evaluation.operators import known
from lrpjax.evaluation.orders import ORDERS
from lrpjax.evaluation.storage import Store


@dataclasses.dataclass(frozen=True, eq=False)
class PerturbationCurves:
    """Every image's scores as its regions are removed, by one method.

    Attributes:
        name: The method.
        orders: The orders of removal, names of ``ORDERS``.
        scores: floats [orders, n, steps + 1], before the first step and after each; means over
            repetitions.
        targets: int64 [n], the explained classes.
        settings: What was done and to which images, see :meth:`Perturbation.record`; ``images``
            is their SHA-256.

    Example:
        >>> scores = np.array([[[4.0, 1.0, 1.0]], [[4.0, 4.0, 1.0]]])
        >>> curves = PerturbationCurves("lrp", ("MoRF", "LeRF"), scores, np.zeros(1, int), {})
        >>> curves.aopc().tolist(), curves.abpc().tolist(), curves.auc().tolist()
        ([2.0], [1.0], [3.5])
    """

    name: str
    orders: tuple[str, ...]
    scores: np.ndarray
    targets: np.ndarray
    settings: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> PerturbationCurves:
        """The finished results in a folder.

        Raises:
            ValueError: There are none, or the run is not finished.
        """
        store = Store.existing(folder)
        chunks = list(store.chunks())
        done = sum(len(index) for index, _, _ in chunks)
        if done < store.images or not chunks:
            raise ValueError(f"{folder} has {done} of {store.images} images; finish the run first")
        origin = ("labels", "maps", "jax", "program")
        record = {key: value for key, value in store.settings.items() if key not in origin}
        return cls.of_chunks(str(record["name"]), tuple(record["orders"]), chunks, record)

    @classmethod
    def of_chunks(
        cls, name: str, orders: tuple[str, ...], chunks: list, settings: Mapping[str, Any]
    ) -> PerturbationCurves:
        """Curves from pieces (index [m], scores [m, orders, steps + 1], targets [m])."""
        index, scores, targets = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        place = np.argsort(index)
        return cls(name, orders, np.moveaxis(scores[place], 0, 1), targets[place], settings)

    def curve(self, order: str = "MoRF") -> np.ndarray:
        """The scores of one order, [n, steps + 1].

        Raises:
            ValueError: The order has not been run.
        """
        order = known(order, ORDERS, "order")
        if order not in self.orders:
            raise ValueError(
                f"the curves {self.name!r} have the orders {', '.join(self.orders)}, not {order}"
            )
        return self.scores[self.orders.index(order)]

    def aopc(self, order: str = "MoRF") -> np.ndarray:
        """Each image's area over its curve, 1/(L+1) Σₖ₌₀ᴸ f(x⁰) − f(xᵏ): float64 [n].

        References:
            Samek et al. 2017 (arXiv:1509.06321).
        """
        scores = self.curve(order).astype(np.float64)
        return (scores[:, :1] - scores).mean(axis=1)

    def abpc(self) -> np.ndarray:
        """Each image's area between its curves, 1/(L+1) Σₖ₌₀ᴸ f(xᵏ by LeRF) − f(xᵏ by MoRF).

        Returns:
            float64 [n]; the larger the better, and 0 on average for an order by chance.
        """
        return self.aopc("MoRF") - self.aopc("LeRF")

    def auc(self, order: str = "MoRF") -> np.ndarray:
        """Each image's area under its curve, by trapezia one step wide: float64 [n].

        For probabilities and 100 steps it lies between 0 and 100.
        """
        scores = self.curve(order).astype(np.float64)
        return scores.sum(axis=1) - (scores[:, 0] + scores[:, -1]) / 2

    def metric(self, name: str, order: str = "MoRF") -> np.ndarray:
        """One of ``METRICS`` by its name, in any case: float64 [n].

        Raises:
            ValueError: No metric has this name, or an order that it needs has not been run.
        """
        return METRICS[known(name, METRICS, "metric")](self, order)


#: What sums a curve up: from curves and an order to a number per image.
METRICS: MappingProxyType[str, Callable[[PerturbationCurves, str], np.ndarray]] = MappingProxyType(
    {
        "AOPC": PerturbationCurves.aopc,
        "ABPC": lambda curves, order: curves.abpc(),
        "AUC": PerturbationCurves.auc,
    }
)
