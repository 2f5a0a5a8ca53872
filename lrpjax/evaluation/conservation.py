"""How far relevance adds up to what it began with, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax import targets
from lrpjax.call import Call, part
from lrpjax.errors import PlanError
from lrpjax.evaluation.explained import forward
from lrpjax.explain import run
from lrpjax.plan.report import layout
from lrpjax.presets import as_composite
from lrpjax.rewrite.probes import COLUMNS
from lrpjax.transform import AnyComposite, as_options

Array = Any

_ABSORBED = ("bias", "stabiliser", "stopped", "remainder")


@dataclasses.dataclass(frozen=True)
class Conservation:
    """Where the relevance of each image went. ``str`` is a table for a person to read.

    Attributes:
        start: float64 [n], what it began with.
        inputs: float64 [n], what reached the explained inputs.
        bias, stabiliser, stopped, remainder: float64 [n], what all units together absorbed, as in
            the columns of :class:`lrpjax.Ledger`.
    """

    start: np.ndarray
    inputs: np.ndarray
    bias: np.ndarray
    stabiliser: np.ndarray
    stopped: np.ndarray
    remainder: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Float64 [n]: the size of inputs − start over that of start; 0 where both are 0."""
        return relative_error(self.inputs, self.start)

    @property
    def unexplained(self) -> np.ndarray:
        """Float64 [n]: what no column accounts for: rounding, if all is well."""
        absorbed = self.bias + self.stabiliser + self.stopped + self.remainder
        return self.start - self.inputs - absorbed

    def __str__(self) -> str:
        names = ("start", "inputs", *_ABSORBED, "unexplained", "error")
        columns = [getattr(self, name) for name in names]
        rows = [
            (str(i), *(f"{value:.4g}" for value in values))
            for i, values in enumerate(zip(*columns, strict=True))
        ]
        return layout(("image", *names), rows, right=1)


def conservation_error(
    attribution_fn: Callable[..., Any],
    fun: Any,
    *args: Any,
    target: Any = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    **kwargs: Any,
) -> np.ndarray:
    """The conservation error of any attribution method: the size of ΣR − start over that of start.

    Args:
        attribution_fn: ``attribution_fn(*args, target=None, **kwargs)``, made of ``fun`` by
            :func:`lrpjax.lrp` or a baseline, with the same ``argnums`` and ``has_aux``.
        fun: the model.
        *args, **kwargs: its arguments; the explained ones and the outputs have a leading batch
            axis n.
        target: as in :func:`lrpjax.lrp`. The start is the relevance that LRP begins with, for an
            index the logit itself.
        argnums, has_aux: as in :func:`lrpjax.lrp`.

    Returns:
        Float64 [n]; 0 where start and attributions are both 0. Where the start alone adds up to 0
        (as ``targets.contrastive`` does, to rounding) it is infinite or says nothing.

    Raises:
        PlanError: where inputs, outputs and attributions don't have one batch axis; and as
            ``attribution_fn`` does.

    References:
        Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by
        layer-wise relevance propagation, equation 2 (the property).

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> from lrpjax.evaluation.attributions import gradient_times_input
        >>> f, x = lambda x: x**2, jnp.array([[1.0, 3.0]])
        >>> conservation_error(lrpjax.lrp(f), f, x).tolist()
        [0.0]
        >>> conservation_error(gradient_times_input(f), f, x).tolist()
        [1.0]
    """
    options = as_options(argnums, has_aux)
    call, weights, arrays = part(fun, options, args, kwargs)
    size = _batch(call, args)
    result = attribution_fn(*args, target=target, **kwargs)
    outputs = forward(call, weights, arrays)
    start = targets.start(targets.as_target(target), outputs)
    attributions = result[0] if has_aux else result
    return relative_error(_sums(attributions, size), _sums(start, size))


def conservation(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    target: Any = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    **kwargs: Any,
) -> Conservation:
    """The ledger of LRP per image: the error, and what took the difference.

    What :func:`lrpjax.audit` adds up over a batch, for each image in a batch of its own, computed
    for all of them at once.

    Args:
        fun, composite, argnums, has_aux: as in :func:`lrpjax.lrp`.
        *args, **kwargs: the arguments of ``fun``; the explained ones have a leading batch axis n,
            and so have the outputs.
        target: as in :func:`lrpjax.lrp`; an index array has the batch axis too, and a function
            of the outputs sees those of one image, [1, ...].

    Returns:
        The columns, float64 [n].

    Raises:
        PlanError, UnsupportedPrimitiveError: as :func:`lrpjax.lrp` does; also for explained
            inputs without one batch axis.

    References:
        Bach et al. 2015, as in :func:`conservation_error`.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda x: x @ jnp.ones((2, 1)) + jnp.array([1.0])
        >>> found = conservation(f, None, jnp.array([[1.0, 2.0], [0.0, 1.0]]))
        >>> found.bias.round(3).tolist(), found.error.round(3).tolist()
        ([1.0, 1.0], [0.25, 0.5])
    """
    rules = as_composite(composite)
    options = dataclasses.replace(as_options(argnums, has_aux), ledger=True)
    call, weights, arrays = part(fun, options, args, kwargs)
    size = _batch(call, args)
    target = targets.as_target(target)
    if targets.is_concrete(target):
        targets.check_range(target, forward.eval_shape(call, weights, arrays))
    shared, index = _per_image(target)

    def explain(given: tuple, index: Any) -> tuple[Any, Any, Any]:
        own, of_one = list(args), jax.tree.map(lambda a: a[None], given)
        for i, value in zip(call.explained, of_one, strict=True):
            own[i] = value
        its = shared if index is None else dataclasses.replace(shared, index=index[None])
        result = run(fun, rules, options, its, tuple(own), kwargs)
        return result.start, result.relevance, result.reports

    given = jax.tree.map(jnp.asarray, tuple(args[i] for i in call.explained))
    start, relevance, reports = jax.device_get(jax.vmap(explain)(given, index))
    units = np.zeros((size, len(COLUMNS)))
    for report in reports.values():
        units += np.asarray(report, np.float64)
    absorbed = {name: units[:, COLUMNS.index(name)] for name in _ABSORBED}
    return Conservation(_sums(start, size), _sums(relevance, size), **absorbed)


def relative_error(sums: np.ndarray, start: np.ndarray) -> np.ndarray:
    """|sums − start|/|start|, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums == start, 0.0, np.abs(sums - start) / np.abs(start))


def _batch(call: Call, args: tuple) -> int:
    """The length of the leading axis of all explained inputs."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves([args[i] for i in call.explained])}
    if len(sizes) != 1 or sizes == {()}:
        raise PlanError(f"explained inputs need one leading batch axis; theirs are {sizes}")
    return next(iter(sizes))[0]


def _per_image(target: Any) -> tuple[Any, Any]:
    """A target as what all images share and the part to map over, None if there is none."""
    index = target.index if isinstance(target, targets.Target) else None
    return target, (jnp.asarray(index) if index is not None and jnp.ndim(index) else None)


def _sums(tree: Any, size: int) -> np.ndarray:
    """The sum of all elements of each image, in float64."""
    total = np.zeros(size)
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        if np.shape(leaf)[:1] != (size,):
            raise PlanError(
                f"inputs, outputs and attributions need one batch axis of {size}; "
                f"there is an array of shape {np.shape(leaf)}"
            )
        total += np.asarray(leaf, np.float64).reshape(size, -1).sum(1)
    return total
