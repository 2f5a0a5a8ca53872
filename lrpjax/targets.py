"""Where relevance starts: at a logit, at one, or spread over the classes.

A start is computed from the model's outputs z [..., C], at every leading position. Index targets
take an int for all positions, an integer array of the outputs' shape without the last axis, or
None for the largest output (of each array, where there are several); negative indices count from
the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax.errors import PlanError

Array = Any


@partial(jax.tree_util.register_dataclass, data_fields=["index"], meta_fields=["kind"])
@dataclasses.dataclass(frozen=True)
class Target:
    """A named start; the functions of this module make them."""

    kind: str
    index: Any = None


def logit(index: Any = None) -> Target:
    """The logit itself: z_t at the target, 0 elsewhere. What a plain index means, too."""
    return Target("logit", index)


def one_hot(index: Any = None) -> Target:
    """One at the target, 0 elsewhere."""
    return Target("one_hot", index)


def softmax_gradient(index: Any = None) -> Target:
    """ŷ_t(1 − ŷ_t) at the target, −ŷ_t·ŷ_n elsewhere, with ŷ the softmax.

    References:
        Iwana et al. 2019, Explaining CNNs using softmax gradient LRP (SGLRP).
    """
    return Target("softmax_gradient", index)


def contrastive(index: Any = None) -> Target:
    """z_t at the target, −z_t/(C − 1) elsewhere, propagated as one.

    CLRP propagates the two parts apart and scales them to equal sums; for that, call
    ``relevance_of`` of :func:`lrpjax.lrp_vjp` twice.

    References:
        Gu et al. 2018, Understanding individual decisions of CNNs via contrastive
        backpropagation (CLRP).
    """
    return Target("contrastive", index)


def log_odds(index: Any = None) -> Target:
    """Z ⊙ ∂η/∂z for the log-odds η = log(P_t/(1 − P_t)) of the target under the softmax."""
    return Target("log_odds", index)


def all_outputs() -> Target:
    """Every output starts with itself."""
    return Target("all_outputs")


def as_target(target: Any) -> Any:
    """A plain index, or None, as a :class:`Target`; targets and callables as they are.

    Raises:
        PlanError: for what can't be a target.
    """
    if isinstance(target, Target):
        return dataclasses.replace(target, index=_index(target.index))
    if callable(target):
        return target
    return logit(_index(target))


def _index(index: Any) -> Any:
    """Check that an index is one; a list is an array."""
    index = np.asarray(index) if isinstance(index, (list, tuple)) else index
    dtype = getattr(index, "dtype", None)
    if index is None or (isinstance(index, int) and not isinstance(index, bool)):
        return index
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        raise PlanError(
            "a target is None, an int or integer array, a function of the outputs, or one of "
            f"lrpjax.targets; got {index!r}. A start of your own: target=lambda out: start"
        )
    return index


def is_concrete(target: Any) -> bool:
    """Whether a target holds an index whose value can be looked at without a sync."""
    index = target.index if isinstance(target, Target) else None
    return isinstance(index, (int, np.ndarray, np.generic))


def check_range(target: Target, outputs: Any) -> None:
    """Check a Python or NumPy index against the outputs' shapes.

    Raises:
        PlanError: for an index out of range.
    """
    z = _logits(outputs)
    classes = z.shape[-1] if z.ndim else 1
    values = np.asarray(target.index)
    if values.size and not (-classes <= values.min() and values.max() < classes):
        raise PlanError(f"target {target.index!r} is out of range: there are {classes} outputs")


def start(target: Any, outputs: Any) -> Any:
    """The starting relevance: a pytree like the outputs, of their dtypes.

    Raises:
        PlanError: for an index of the wrong shape, or on outputs of several leaves; for a start
            of a shape other than the outputs'.
    """
    if not isinstance(target, Target):
        return like_outputs(target(outputs), outputs)
    if target.kind == "all_outputs":
        return outputs
    if target.index is not None:
        _logits(outputs)
    with jax.numpy_dtype_promotion("standard"):  # strict promotion is for the user's own code
        return jax.tree.map(lambda z: _begin(target, z), outputs)


def _begin(target: Target, z: Array) -> Array:
    """The start on one array of outputs."""
    if z.ndim == 0 and target.kind != "logit":
        raise PlanError(f"targets.{target.kind} needs an axis of outputs; the output is a scalar")
    if z.ndim == 0:
        return z
    classes = z.shape[-1]
    if not classes:
        raise PlanError("there are no outputs on the last axis to start from")
    index = jnp.argmax(z, -1) if target.index is None else jnp.asarray(target.index)
    index = index.astype(jnp.int64 if index.dtype.itemsize == 8 else jnp.int32)  # int8 wraps
    if index.shape not in ((), z.shape[:-1]):
        raise PlanError(
            f"a target index is one int, or has the outputs' shape without the last axis, "
            f"{z.shape[:-1]}; got {index.shape}"
        )
    index = jnp.broadcast_to(index, z.shape[:-1])[..., None]
    valid = (index >= -classes) & (index < classes)
    chosen = jnp.arange(classes, dtype=index.dtype) == jnp.where(index < 0, index + classes, index)
    return jnp.where(valid, _STARTS[target.kind](z, chosen), jnp.nan).astype(z.dtype)


def like_outputs(given: Any, outputs: Any) -> Any:
    """Check that a start of the user's own has the outputs' structure and shapes."""
    wanted: Any = jax.tree.structure(outputs)
    got: Any = jax.tree.structure(given)
    if wanted != got:
        raise PlanError(f"a start has the structure of the outputs, {wanted}; got {got}")
    pairs = zip(jax.tree.leaves(given), jax.tree.leaves(outputs), strict=True)
    for array, out in pairs:
        if jnp.shape(array) != out.shape:
            raise PlanError(f"a start has the outputs' shape {out.shape}; got {jnp.shape(array)}")
    return jax.tree.map(lambda array, out: jnp.asarray(array).astype(out.dtype), given, outputs)


def _logits(outputs: Any) -> Any:
    """The one array of outputs that an index is for."""
    leaves = jax.tree.leaves(outputs)
    if len(leaves) != 1:
        raise PlanError(
            f"an index needs one array of outputs; there are {len(leaves)}. "
            "Use target=lambda outputs: start, or targets.all_outputs()"
        )
    return leaves[0]


def _softmax_gradient(z: Array, chosen: Array) -> Array:
    p = jax.nn.softmax(z, -1)
    p_t = jnp.sum(jnp.where(chosen, p, 0), -1, keepdims=True)
    return p_t * (chosen - p)


def _contrastive(z: Array, chosen: Array) -> Array:
    z_t = jnp.sum(jnp.where(chosen, z, 0), -1, keepdims=True)
    return jnp.where(chosen, z_t, -z_t / (z.shape[-1] - 1))


def _log_odds(z: Array, chosen: Array) -> Array:
    """η = z_t − log Σ_{n≠t} exp z_n."""
    others = jax.nn.softmax(jnp.where(chosen, -jnp.inf, z), -1)
    return z * jnp.where(chosen, 1, -others)


_STARTS: dict[str, Callable[[Array, Array], Array]] = {
    "logit": lambda z, chosen: jnp.where(chosen, z, 0),
    "one_hot": lambda z, chosen: chosen.astype(z.dtype),
    "softmax_gradient": _softmax_gradient,
    "contrastive": _contrastive,
    "log_odds": _log_odds,
}
