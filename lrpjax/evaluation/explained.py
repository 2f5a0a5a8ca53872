"""What a baseline explains: the score that a target names, as a function of the explained inputs.

The compiled part is one module-level ``jit``, keyed like an explanation by
:class:`lrpjax.call.Call`: weights, inputs, indices and a method's numbers are traced, so that a
baseline built afresh and called again does not trace again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lrpjax import targets
from lrpjax.call import Call, part
from lrpjax.errors import PlanError
from lrpjax.transform import as_options

Array = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Explained:
    """One call, as a method sees it while it is traced.

    Attributes:
        inputs: the explained arguments, a pytree of arrays.
        scores: inputs -> the explained scores, one array [...] per leaf of the outputs, without
            the outputs' last axis. The class that ``target=None`` means is that of ``inputs``.
        batch: the length of the leading axis of all inputs, if all scores have it too; else None.
    """

    inputs: Any
    scores: Callable[[Any], list[Array]]
    batch: int | None

    def total(self, inputs: Any) -> Array:
        """The sum of all scores, at least float32: what a gradient is taken of."""
        return sum(jnp.sum(score) for score in self.scores(inputs))

    def per_example(self, inputs: Any) -> Array:
        """The score of each example [batch], or the one score [] where there is no batch."""
        axis = 0 if self.batch is None else 1
        return sum(jnp.sum(score, range(axis, score.ndim)) for score in self.scores(inputs))

    def gradient(self, inputs: Any) -> Any:
        """The gradient of the total score, a pytree like the inputs."""
        return jax.grad(self.total)(inputs)

    def check_floating(self) -> None:
        """Refuse inputs that have no gradient.

        Raises:
            PlanError: for integer inputs.
        """
        for leaf in jax.tree.leaves(self.inputs):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise PlanError(
                    f"an input of {leaf.dtype} has no gradient; explain floating-point inputs "
                    "(embeddings, say), or use occlusion or lrpjax.lrp"
                )


def attribution_function(
    fun: Any, method: Any, argnums: int | Sequence[int] | None, has_aux: bool
) -> Callable[..., Any]:
    """The attribution function of a model, called as :func:`lrpjax.lrp`'s is.

    Args:
        fun, argnums, has_aux: as in :func:`lrpjax.lrp`.
        method: a pytree, static but for its numbers, called with an :class:`Explained`.

    Returns:
        ``attribution_fn(*args, target=None, **kwargs)``.
    """
    options = as_options(argnums, has_aux)

    def attribution_fn(*args: Any, target: Any = None, **kwargs: Any) -> Any:
        call, weights, arrays = part(fun, options, args, kwargs)
        target = targets.as_target(target)
        function = None if isinstance(target, targets.Target) else target
        index = target if function is None else None
        arguments = (call, function, method, weights, arrays, index)
        if targets.is_concrete(target):
            targets.check_range(target, _attribute.eval_shape(*arguments)[0])
        _, attribution, aux = _attribute(*arguments)
        return (attribution, aux) if has_aux else attribution

    return attribution_fn


@partial(jax.jit, static_argnums=(0, 1))
def _attribute(
    call: Call, function: Any, method: Any, weights: Any, arrays: list, index: Any
) -> tuple[Any, Any, Any]:
    """Outputs, attribution and aux of one call."""
    model, inputs = _bind(call, weights, arrays)
    outputs, aux = model(inputs)
    target = function or index
    chosen = _chosen(target, outputs)

    def scores(inputs: Any) -> list[Array]:
        return _scores(target, chosen, model(inputs)[0])

    leading = [leaf.shape[:1] for leaf in jax.tree.leaves(inputs)]
    leading += [leaf.shape[:-1][:1] for leaf in jax.tree.leaves(outputs)]
    (size,) = leading[0] if len(set(leading)) == 1 and leading[0] else (None,)
    return outputs, method(Explained(inputs, scores, size)), aux


@partial(jax.jit, static_argnums=0)
def forward(call: Call, weights: Any, arrays: list) -> Any:
    """The model's outputs."""
    model, inputs = _bind(call, weights, arrays)
    return model(inputs)[0]


def _bind(call: Call, weights: Any, arrays: list) -> tuple[Callable[..., tuple[Any, Any]], Any]:
    """The model as inputs -> (outputs, aux), and the explained inputs."""
    args, kwargs = call.arguments(arrays)
    single = not isinstance(call.argnums, tuple)
    given = tuple(args[i] for i in call.explained)
    inputs = jax.tree.map(_as_array, given[0] if single else given)
    leaves, tree = jax.tree.flatten(weights)

    def model(inputs: Any) -> tuple[Any, Any]:
        own = list(args)
        for i, value in zip(call.explained, (inputs,) if single else inputs, strict=True):
            own[i] = value
        fresh = jax.tree.unflatten(tree, leaves)  # a module may only change what is of its trace
        result = call.model.call(fresh, *own, **kwargs)
        if call.has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise PlanError("with has_aux the model returns a pair (outputs, anything else)")
        outputs, aux = result if call.has_aux else (result, ())
        outputs = jax.tree.map(jnp.asarray, outputs)
        for leaf in jax.tree.leaves(outputs):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise PlanError(f"outputs must be floating point to be explained; got {leaf.dtype}")
        return outputs, aux

    return model, inputs


def _as_array(leaf: Any) -> Array:
    real = (jnp.floating, jnp.integer)
    if isinstance(leaf, jax.Array) and any(jnp.issubdtype(leaf.dtype, kind) for kind in real):
        return leaf
    raise PlanError(
        "an explained input is an array of real numbers or of integer ids; "
        f"got {getattr(leaf, 'dtype', repr(leaf))}. Other arguments can be explained with argnums"
    )


def _chosen(target: Any, outputs: Any) -> Any:
    """1 at the target of each array of outputs, else 0; NaN for an index out of range."""
    if not isinstance(target, targets.Target) or target.kind == "all_outputs":
        return None
    targets.start(target, outputs)  # the errors of a start that doesn't fit
    mark = targets.one_hot(target.index)
    return jax.tree.map(lambda z: targets.start(mark, z) if z.ndim else jnp.ones_like(z), outputs)


def _scores(target: Any, chosen: Any, outputs: Any) -> list[Array]:
    """The scores of each array of outputs, at least float32."""
    if chosen is None:
        leaves = jax.tree.leaves(targets.start(target, outputs))
        return [jnp.sum(at_least_float32(z), range(z.ndim)[-1:]) for z in leaves]
    pairs = zip(jax.tree.leaves(outputs), jax.tree.leaves(chosen), strict=True)
    return [_score(target.kind, at_least_float32(z), marked) for z, marked in pairs]


def _score(kind: str, z: Array, marked: Array) -> Array:
    if not z.ndim:
        return z
    marked = marked.astype(z.dtype)
    # By 1, or by NaN for an index out of range: its score and whole gradient are NaN, not 0.
    return _SCORES[kind](z * jnp.sum(marked, -1, keepdims=True), marked == 1)


def at_least_float32(z: Array) -> Array:
    """An array, widened where its floats are narrower."""
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def _logit(z: Array, chosen: Array) -> Array:
    return jnp.sum(jnp.where(chosen, z, 0), -1)


def _contrast(z: Array, chosen: Array) -> Array:
    others = jnp.sum(jnp.where(chosen, 0, z), -1)
    return _logit(z, chosen) - others / max(z.shape[-1] - 1, 1)


def _log_odds(z: Array, chosen: Array) -> Array:
    return _logit(z, chosen) - jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, z), -1)


#: What each kind of target scores. Where the start adds up to a constant, its gradient is 0, so
#: it is the function whose gradient the start is made of.
_SCORES: dict[str, Callable[[Array, Array], Array]] = {
    "logit": _logit,
    "one_hot": _logit,
    "softmax_gradient": lambda z, chosen: _logit(jax.nn.softmax(z, -1), chosen),
    "contrastive": _contrast,
    "log_odds": _log_odds,
}
