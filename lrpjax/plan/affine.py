"""Affine units: a linear core with everything that folds into it."""

from __future__ import annotations

import numpy as np

from lrpjax.plan.elementwise import CASTS, constant_operand, is_affine_step
from lrpjax.plan.facts import Facts, State, has_weights
from lrpjax.plan.graph import Graph
from lrpjax.plan.layout import core_axes, squash, to_core
from lrpjax.plan.specs import AffineSpec, Fold
from lrpjax.primitives import Kind
from lrpjax.trace import Atom, Equation, Value

_CORES = (Kind.CONTRACTION, Kind.SUM, Kind.LINEAR)
_KINDS = {"dot_general": "dense", "conv_general_dilated": "conv"}


def recognise(core: Equation, graph: Graph) -> AffineSpec | None:
    """The affine unit around a linear core, or None where the equation is not one."""
    facts = graph.facts
    live = [i for i, atom in enumerate(core.inputs) if facts[atom].live]
    reaches = len(core.outputs) == 1 and facts[core.outputs[0]].live
    if core.kind not in _CORES or len(live) != 1 or not reaches:
        return None
    operand = live[0]
    weights = 1 - operand if core.kind is Kind.CONTRACTION else None
    pads = _pads(core.inputs[operand], graph) if core.kind is not Kind.LINEAR else ()
    start = pads[0].inputs[0] if pads else core.inputs[operand]
    gathers = () if weights is None else _gathers(core, graph)
    return AffineSpec(
        core,
        operand,
        weights,
        pads,
        gathers,
        _folds(core, operand, weights, graph, gathers),
        signed=core.kind is not Kind.LINEAR,
        nonnegative=facts[start].nonnegative,
        overlapping=core.name == "conv_general_dilated" and _overlaps(core),
    )


def kind_of(spec: AffineSpec, facts: Facts) -> str:
    """The composite keyword of an affine unit."""
    if spec.core.name in _GATHERS:
        return "add"
    weighted = has_weights(spec.core, [facts[atom] for atom in spec.core.inputs])
    return _KINDS[spec.core.name] if weighted else "pool"


def _pads(value: Atom, graph: Graph) -> tuple[Equation, ...]:
    """The constant-zero pads in front of a core that nothing else uses."""
    pads: list[Equation] = []
    while (eqn := graph.producer.get(value)) is not None and eqn.name == "pad":
        zero = graph.facts[eqn.inputs[1]].value == 0
        if not zero or not graph.only_consumer(value) or graph.claimed(eqn):
            break
        pads.insert(0, eqn)
        value = eqn.inputs[0]
    return tuple(pads)


_GATHERS = frozenset({"psum", "psum_invariant", "reduce_scatter"})


def _gathers(core: Equation, graph: Graph) -> tuple[Equation, ...]:
    """The sums over devices right behind a core; its denominators are sums over them, too."""
    found: list[Equation] = []
    last = 0
    value = core.outputs[0]
    while (equation := graph.only_consumer(value)) is not None and len(equation.outputs) == 1:
        if not (equation.name in _GATHERS or is_layout(equation, value)):
            break
        if graph.claimed(equation) or equation.name == "broadcast_in_dim":
            break
        found.append(equation)
        last = len(found) if equation.name in _GATHERS else last
        (value,) = equation.outputs
    return tuple(found[:last])


def _folds(
    core: Equation,
    operand: int,
    weights: int | None,
    graph: Graph,
    gathers: tuple[Equation, ...],
) -> tuple[Fold, ...]:
    """Follow the core's output while nothing else uses it, up to the last scale or shift."""
    chain: list[Fold] = []
    keep = 0
    value: Value = (core, *gathers)[-1].outputs[0]
    relaid = any(e.name not in CASTS | {"psum", "psum_invariant"} for e in gathers)
    while (eqn := graph.only_consumer(value)) is not None and not graph.claimed(eqn):
        fold = as_fold(eqn, graph.facts)
        if fold is None and is_layout(eqn, value):
            fold = Fold(eqn, None, 0)
        if fold is None or not _fits(fold, tuple(chain), core, operand, weights):
            break
        if relaid and not fold.is_shift and fold.varies:
            break  # its features are not the weights' any more
        chain.append(fold)
        keep = keep if fold.is_layout else len(chain)
        value = eqn.outputs[0]
    return tuple(chain[:keep])


def as_fold(equation: Equation, facts: Facts) -> Fold | None:
    """A multiply or add of a live operand with a true constant."""
    if not is_affine_step(equation, facts) or equation.name in CASTS:
        return None
    constant = constant_operand(equation, facts)
    if constant is not None and facts[constant].state is not State.CONSTANT:
        return None
    live = next(i for i, atom in enumerate(equation.inputs) if facts[atom].live)
    return Fold(equation, constant, live, _varies(constant, facts))


def _varies(constant: Atom | None, facts: Facts) -> frozenset[int]:
    return frozenset() if constant is None else facts[constant].varies


def is_layout(equation: Equation, value: Value) -> bool:
    """Whether an equation keeps every element, only elsewhere or in another precision."""
    if equation.name == "broadcast_in_dim":
        dims = equation.params["broadcast_dimensions"]
        return equation.outputs[0].size == value.size and tuple(sorted(dims)) == tuple(dims)
    if equation.name == "convert_element_type":
        return equation.outputs[0].inexact
    return equation.name in ("reshape", "transpose", "squeeze", "expand_dims", "copy")


def _fits(
    fold: Fold,
    chain: tuple[Fold, ...],
    core: Equation,
    operand: int,
    weights: int | None,
) -> bool:
    """Whether a scale varies along output features only; a shift may have any shape."""
    if fold.is_layout or fold.constant is None or fold.is_shift:
        return True
    if weights is None:
        return True
    sample = np.broadcast_to(np.zeros((), np.int8), fold.constant.shape)
    shape = to_core(squash(sample, fold.varies), chain).shape
    features = core_axes(core, operand).features
    return all(size == 1 or axis in features for axis, size in enumerate(shape))


def _overlaps(core: Equation) -> bool:
    """Whether neighbouring windows of a convolution share inputs."""
    p = core.params
    kernel = [core.inputs[1].shape[axis] for axis in p["dimension_numbers"].rhs_spec[2:]]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, p["rhs_dilation"], strict=True)]
    steps = zip(p["window_strides"], p["lhs_dilation"], strict=True)
    return any(r > s / d for r, (s, d) in zip(reach, steps, strict=True))
