"""The model-parameter randomisation test: an explanation of the model must change with the model.

Parameters lose what training put there, layer after layer from the output down. A map that stays
as it was shows the input (edges, say), not what the model learnt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

import lrpjax
from lrpjax import rules, targets
from lrpjax.call import Options, part
from lrpjax.errors import PlanError
from lrpjax.evaluation.explained import forward
from lrpjax.evaluation.similarity import spearman
from lrpjax.plan.report import layout
from lrpjax.plan.units import Child, Program, Unit
from lrpjax.trace import Value

Array = Any

METHODS = ("gaussian", "permutation")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A model that lost its parameters from the output down to a layer.

    Attributes:
        layer: the last layer that lost them, named as in the plan.
        fun: the model, of the kind that was given.
        args: its arguments; the variables of an unbound Linen module are the new ones.
    """

    layer: str
    fun: Any
    args: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Randomisation:
    """How alike maps stay to the original's. ``str`` is a table for a person to read.

    Attributes:
        layers: the layers in the order in which they were randomised, the last one first.
        similarity: float64 [layers, n], for each image the similarity of the map with this layer
            and all before it randomised to the original map; NaN where that is undefined, as
            for a network that died and explains with zeros. The table's means leave those out.
    """

    layers: tuple[str, ...]
    similarity: np.ndarray

    def __str__(self) -> str:
        rows = []
        for layer, row in zip(self.layers, self.similarity, strict=True):
            defined = row[~np.isnan(row)]
            mean, deviation = (defined.mean(), defined.std()) if defined.size else (np.nan, np.nan)
            rows.append((layer, f"{mean:.3f}", f"{deviation:.3f}", str(row.size - defined.size)))
        return layout(("randomised down to", "similarity", "deviation", "undefined"), rows, right=1)


def parameter_randomisation(
    attribution: Callable[[Any], Callable[..., Any]],
    fun: Any,
    *args: Any,
    target: Any = None,
    similarity: Callable[[Array, Array], Array] = spearman,
    method: str = "gaussian",
    seed: int = 0,
    **kwargs: Any,
) -> Randomisation:
    """The cascading model-parameter randomisation test.

    All stages run the explanation that the first one compiled.

    Args:
        attribution: model -> ``attribution_fn``: :func:`lrpjax.lrp`, a baseline such as
            :func:`lrpjax.evaluation.gradient`, or ``lambda model: lrpjax.lrp(model, "epsilon")``.
        fun, *args, method, seed, **kwargs: as in :func:`cascade`.
        target: as in :func:`lrpjax.lrp`. A largest logit (None) is the original model's at every
            stage.
        similarity: of two attributions [n, ...], one value per image [n]. To compare pixels,
            ``lambda a, b: spearman(a.sum(-1), b.sum(-1))``; without regard to sign, with ``abs``.

    Returns:
        The layers and the similarities.

    Raises:
        TypeError, ValueError, PlanError: as :func:`cascade`, and as ``attribution_fn`` does.

    References:
        Adebayo et al. 2018, Sanity checks for saliency maps (arXiv:1810.03292).

    Example:
        >>> import jax, jax.numpy as jnp, lrpjax
        >>> from flax import nnx
        >>> rngs = nnx.Rngs(0)
        >>> first, last = nnx.Linear(8, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)
        >>> model = nnx.Sequential(first, nnx.relu, last)
        >>> x = jax.random.normal(jax.random.key(1), (5, 8))
        >>> test = parameter_randomisation(lrpjax.lrp, model, x)
        >>> test.layers, test.similarity.shape
        (('layers/2', 'layers/0'), (2, 5))
    """
    target = _fixed(target, fun, args, kwargs)
    stages = cascade(fun, *args, method=method, seed=seed, **kwargs)
    original = attribution(fun)(*args, target=target, **kwargs)
    layers, rows = [], []
    for stage in stages:
        found = attribution(stage.fun)(*stage.args, target=target, **kwargs)
        layers.append(stage.layer)
        rows.append(np.asarray(similarity(original, found), np.float64))
    return Randomisation(tuple(layers), np.stack(rows))


def cascade(
    fun: Any, *args: Any, method: str = "gaussian", seed: int = 0, **kwargs: Any
) -> Iterator[Stage]:
    """The models of the test, one after another; the given one stays as it is.

    Layers come in the reverse order of the plan, and a parameter that is used more than once
    belongs to its last use. Only trained parameters change (``nnx.Param``, the collection
    ``params``), not running statistics. What a layer drew it keeps at later stages.

    Args:
        fun: an ``nnx.Module`` or one of its methods, or a Linen module, bound or not.
        *args, **kwargs: its arguments, as for :func:`lrpjax.lrp`.
        method: ``"gaussian"`` draws each array anew from a normal distribution with the array's
            own mean and standard deviation; ``"permutation"`` shuffles its values.
        seed: an int, or a key of ``jax.random``.

    Yields:
        One stage per layer with parameters.

    Raises:
        TypeError: for a model whose parameters aren't known: a plain function.
        ValueError: for another method.
        PlanError: where no parameter reaches the output, or as in planning.

    Example:
        >>> from flax import nnx
        >>> model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        >>> [stage.layer for stage in cascade(model, jnp.ones((1, 2)))]
        ['kernel']
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    weights = _weights(fun, args)
    key = jax.random.key(seed) if isinstance(seed, (int, np.integer)) else seed
    return _stages(weights, _layers(weights, fun, args, kwargs), method, key)


def _stages(
    weights: _Weights, layers: Sequence[tuple[str, list[int]]], method: str, key: Any
) -> Iterator[Stage]:
    leaves = list(weights.leaves)
    for layer, positions in layers:
        for i in positions:
            leaves[i] = _redraw(leaves[i], jax.random.fold_in(key, i), method)
        yield Stage(layer, *weights.rebuild(leaves))


@partial(jax.jit, static_argnums=2)
def _redraw(array: Array, key: Any, method: str) -> Array:
    if method == "permutation":
        return jax.random.permutation(key, array.ravel()).reshape(array.shape)
    normal = jax.random.normal(key, array.shape, array.dtype)
    return jnp.mean(array) + jnp.std(array) * normal


@dataclasses.dataclass(frozen=True)
class _Weights:
    """The weights of a model.

    Attributes:
        leaves: its arrays.
        trained: which of them are floating-point parameters.
        rebuild: arrays -> (the model, its arguments) with these in their place.
    """

    leaves: Sequence[Any]
    trained: Sequence[bool]
    rebuild: Callable[[Sequence[Any]], tuple[Any, tuple]]


def _weights(fun: Any, args: tuple) -> _Weights:
    owner = fun if isinstance(fun, nnx.Module) else getattr(fun, "__self__", None)
    if isinstance(owner, nnx.Module):
        return _nnx_weights(fun, owner, args)
    if isinstance(fun, linen.Module) and fun.scope is None:
        if not args:
            raise TypeError("an unbound Linen module is called with (variables, *inputs)")
        return _linen_weights(args[0], lambda variables: (fun, (variables, *args[1:])))
    if isinstance(fun, linen.Module):
        module, variables = fun.unbind()
        return _linen_weights(variables, lambda variables: (module.bind(variables), args))
    raise TypeError(
        "parameters are randomised in an nnx.Module or a Linen module, where they are known; "
        f"got {fun!r}"
    )


def _nnx_weights(fun: Any, owner: nnx.Module, args: tuple) -> _Weights:
    graphdef, state = nnx.split(owner)
    leaves, tree = jax.tree.flatten(state)
    variables = jax.tree.leaves(state, is_leaf=lambda v: isinstance(v, nnx.Variable))
    kinds = [isinstance(v, nnx.Param) for v in variables for _ in jax.tree.leaves(v)]

    def rebuild(leaves: Sequence[Any]) -> tuple[Any, tuple]:
        model = nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))
        return (model if fun is owner else getattr(model, fun.__name__)), args

    return _Weights(leaves, [k and _floats(v) for k, v in zip(kinds, leaves, strict=True)], rebuild)


def _linen_weights(variables: Any, model: Callable[[Any], tuple[Any, tuple]]) -> _Weights:
    paths, tree = jax.tree_util.tree_flatten_with_path(variables)
    trained = [getattr(p[0], "key", None) == "params" and _floats(v) for p, v in paths]
    return _Weights(
        [v for _, v in paths], trained, lambda leaves: model(jax.tree.unflatten(tree, leaves))
    )


def _floats(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _layers(weights: _Weights, fun: Any, args: tuple, kwargs: dict) -> list[tuple[str, list[int]]]:
    """Layers from the output down, each with the positions of the parameters it owns."""
    # Any network can be randomised, whether LRP has rules for all of it or not.
    plan = lrpjax.plan(fun, lrpjax.Composite(unsupported=rules.Epsilon()), *args, **kwargs)
    inputs = plan.traced.region.inputs
    sources = {inputs[i]: frozenset([i]) for i, trained in enumerate(weights.trained) if trained}
    uses: list[tuple[str, frozenset[int]]] = []
    _follow(plan.program, sources, uses)
    layers, seen = [], set[int]()
    for layer, read in reversed(uses):
        if own := sorted(read - seen):
            layers.append((layer, own))
            seen.update(own)
    if not layers:
        raise PlanError("no trained parameter reaches the output: there is nothing to randomise")
    return layers


def _follow(
    program: Program,
    sources: dict[Value, frozenset[int]],
    uses: list[tuple[str, frozenset[int]]],
) -> None:
    """Note the parameters that each unit reads, be it through what is computed from them alone."""

    def of(atoms: Sequence[Any]) -> frozenset[int]:
        return frozenset().union(*(sources.get(a, frozenset()) for a in atoms))

    for step in program.steps:
        if isinstance(step, Unit):
            uses.append((step.layer, of(step.reads)))
        elif isinstance(step, Child):
            sources.update({inner: of([outer]) for outer, inner in step.entering})
            for inner in step.programs:
                _follow(inner, sources, uses)
        else:
            sources.update(dict.fromkeys(step.equation.outputs, of(step.equation.inputs)))


def _fixed(target: Any, fun: Any, args: tuple, kwargs: dict) -> Any:
    """A target that means the largest logit, as the index of the given model's."""
    target = targets.as_target(target)
    if not isinstance(target, targets.Target) or target.kind == "all_outputs":
        return target
    if target.index is not None:
        return target
    outputs = jax.tree.leaves(forward(*part(fun, Options(), args, kwargs)))
    if len(outputs) != 1:
        raise PlanError(f"outputs of {len(outputs)} arrays have no one largest logit; name one")
    (z,) = outputs
    return dataclasses.replace(target, index=jnp.argmax(z, -1)) if z.ndim else target
