"""The transform and its kin, as a user calls them; :mod:`lrpjax.explain` does what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from lrpjax.call import Options, part, prepare
from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.explain import linearise, run
from lrpjax.plan import Plan
from lrpjax.presets import as_composite
from lrpjax.rules import Rule

AnyComposite = Composite | Rule | str | None


def lrp(
    fun: Any,
    composite: AnyComposite = None,
    *,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
) -> Callable[..., Any]:
    """The layer-wise relevance of a function's inputs, as ``jax.grad`` is its gradient.

    Args:
        fun: any callable of arrays, or a Flax module. An ``nnx.Module`` and a bound
            ``linen.Module`` are called with their inputs; an unbound ``linen.Module`` with
            ``(variables, *inputs)``, and ``argnums`` is 1 unless given. As with ``jax.jit``, what
            a function closes over is part of the compiled program: pass a module itself, or
            weights as arguments, for later changes to be seen.
        composite: which rule each unit gets: a :class:`Composite`, a preset's name, a single rule
            (for convolutions and dense layers), or None for :func:`lrpjax.presets.default`.
        argnums: the positional arguments to explain, as in ``jax.grad``; 0 unless given.
        has_aux: ``fun`` returns (outputs, anything else); the result is (relevance, aux).
        taps: layer patterns; the result is (relevance, {layer: relevance at its output}).

    Returns:
        ``relevance_fn(*args, target=None, **kwargs)``, giving relevance in the structure, shapes
        and dtypes of ``args[argnums]``. ``target`` says where relevance starts: None (the largest
        output on the last axis, at every leading position), an int or integer array, a function
        of the outputs, or one of :mod:`lrpjax.targets`. Integer inputs (token ids) get relevance
        of their own shape in floating point. Bool, str and other hashable arguments are static.
        It composes with ``jit``, ``vmap``, ``grad`` and the other transforms.

    Raises:
        PlanError: for a composite, target or argument that doesn't fit the program.
        UnsupportedPrimitiveError: for a primitive on a relevance path that no unit covers.

    Example:
        >>> import jax, jax.numpy as jnp, lrpjax
        >>> w = jnp.array([[2.0, -1.0], [1.0, 3.0]])
        >>> r = lrpjax.lrp(lambda x: jax.nn.relu(w @ x))(jnp.array([1.0, 1.0]))
        >>> [round(float(share), 3) for share in r]
        [1.0, 3.0]
    """
    explain = value_and_lrp(fun, composite, argnums=argnums, has_aux=has_aux, taps=taps)

    def relevance_fn(*args: Any, target: Any = None, **kwargs: Any) -> Any:
        value, relevance = explain(*args, target=target, **kwargs)
        return (relevance, value[1]) if has_aux else relevance

    return relevance_fn


def value_and_lrp(
    fun: Any,
    composite: AnyComposite = None,
    *,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
) -> Callable[..., Any]:
    """As :func:`lrp`, returning (outputs, relevance).

    The outputs are the model's own, to float rounding, and so is their gradient. With
    ``has_aux`` the outputs are (outputs, aux), as in ``jax.value_and_grad``.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> out, r = lrpjax.value_and_lrp(lambda x: x.sum(keepdims=True))(jnp.array([1.0, 2.0]))
        >>> out.item(), round(r.sum().item(), 3)
        (3.0, 3.0)
    """
    rules = _as_computed(composite)
    options = as_options(argnums, has_aux, taps)

    def explain(*args: Any, target: Any = None, **kwargs: Any) -> Any:
        result = run(fun, rules, options, target, args, kwargs)
        relevance = (result.relevance, result.taps) if options.taps else result.relevance
        return ((result.out, result.aux) if has_aux else result.out), relevance

    return explain


def lrp_vjp(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    taps: Sequence[str] = (),
    **kwargs: Any,
) -> tuple[Any, ...]:
    """One forward pass for many starts, as ``jax.vjp`` is to ``jax.grad``.

    Args:
        fun, composite, argnums, has_aux, taps: as in :func:`lrp`.
        *args, **kwargs: the arguments of ``fun``.

    Returns:
        (outputs, relevance_of), and aux with ``has_aux``. ``relevance_of(target)`` takes a target
        as ``relevance_fn`` does, or a starting relevance like the outputs; it is a pytree, and
        may be mapped over and passed through ``jit``.

    Example:
        >>> import jax, jax.numpy as jnp, lrpjax
        >>> w = jnp.array([[2.0, -1.0], [1.0, 3.0]])
        >>> out, relevance_of = lrpjax.lrp_vjp(lambda x: w @ x, None, jnp.ones(2))
        >>> r = jax.vmap(relevance_of)(jnp.arange(2))
        >>> [round(float(share), 3) for share in r.ravel()]
        [2.0, -1.0, 1.0, 3.0]
    """
    options = as_options(argnums, has_aux, taps)
    call, weights, arrays = part(fun, options, args, kwargs)
    out, aux, relevance_of = linearise(call, _as_computed(composite), weights, arrays)
    return (out, relevance_of, aux) if has_aux else (out, relevance_of)


def plan(
    fun: Any,
    composite: AnyComposite,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    **kwargs: Any,
) -> Plan:
    """What an explanation would do, unit by unit; computes nothing.

    Args:
        fun, composite, argnums, has_aux: as in :func:`lrp`.
        *args, **kwargs: the arguments of ``fun``; ``jax.ShapeDtypeStruct`` will do for arrays.

    Returns:
        The plan; ``print`` shows it as a table.

    Example:
        >>> import jax.numpy as jnp, lrpjax
        >>> p = lrpjax.plan(lambda x: x @ jnp.ones((2, 3)) + jnp.ones(3), None, jnp.ones((1, 2)))
        >>> [(unit.layer, unit.kind, type(unit.rule).__name__) for unit in p.units]
        [('dot_general_0', 'dense', 'Epsilon')]
    """
    call, weights, arrays = part(fun, as_options(argnums, has_aux), args, kwargs)
    return prepare(call, as_composite(composite), weights, arrays).plan


def _as_computed(composite: AnyComposite) -> Composite:
    """The composite with rules of the same numbers that cost less, where there are some."""
    return jax.tree.map(
        lambda rule: rule.cheaper(),
        as_composite(composite),
        is_leaf=lambda node: isinstance(node, Rule),
    )


def as_options(argnums: Any, has_aux: bool, taps: Sequence[str] = ()) -> Options:
    """Options as a user gives them, in hashable form."""
    if isinstance(taps, str):
        raise PlanError(f"taps is a sequence of layer patterns; got the string {taps!r}")
    numbers = tuple(argnums) if isinstance(argnums, (list, tuple)) else argnums
    return Options(numbers, has_aux, tuple(taps))
