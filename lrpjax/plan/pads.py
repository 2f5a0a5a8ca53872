"""Pads go behind changes of layout, next to the layer they belong to.

``conv(pad(x).reshape(…))`` is what ``vmap`` makes of a padded convolution with a batch of its
own. In the order reshape, pad, convolution the zeros fold into the layer, as they do unmapped.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lrpjax.plan.axes import axis_groups
from lrpjax.plan.facts import Facts
from lrpjax.plan.graph import Graph
from lrpjax.trace import Atom, Equation, Region, Value

_Config = tuple[tuple[int, int, int], ...]


def pads_last(region: Region, facts: Facts) -> Region:
    """Move the pads of live values behind the reshapes and transposes that alone use them."""
    graph = Graph(region, facts)
    ours = [e for e in region.equations if e.name == "pad" and _is_live(e, facts)]
    pads: dict[Atom, Equation] = {e.outputs[0]: e for e in ours}
    moved: set[Equation] = set()
    equations: list[Equation] = []
    for equation in region.equations:
        pad = pads.get(equation.inputs[0]) if equation.inputs else None
        swapped = None
        if pad is not None and graph.only_consumer(pad.outputs[0]) is equation:
            swapped = _swap(pad, equation, facts)
        if pad is not None and swapped is not None:
            moved.add(pad)
            pads[equation.outputs[0]] = swapped[1]
        equations.extend(swapped or (equation,))
    return dataclasses.replace(region, equations=tuple(e for e in equations if e not in moved))


def _is_live(equation: Equation, facts: Facts) -> bool:
    return facts[equation.inputs[0]].live and isinstance(equation.inputs[0], Value)


def _swap(pad: Equation, layout: Equation, facts: Facts) -> tuple[Equation, Equation] | None:
    """The change of layout first, then the pad; None where the padded axes don't keep apart."""
    config = _MOVES[layout.name](pad, layout) if layout.name in _MOVES else None
    if config is None:
        return None
    out = layout.outputs[0]
    inner = tuple(_unpadded(n, *sides) for n, sides in zip(out.shape, config, strict=True))
    params = dict(layout.params)
    if layout.name == "reshape":
        params["new_sizes"] = inner
    value = Value(inner, out.dtype)
    facts[value] = facts[out]
    source = pad.inputs[0]
    first = dataclasses.replace(layout, inputs=(source,), outputs=(value,), params=params)
    then = dataclasses.replace(
        pad,
        inputs=(value, *pad.inputs[1:]),
        outputs=(out,),
        params={**pad.params, "padding_config": config},
    )
    return first, then


def _unpadded(size: int, low: int, high: int, interior: int) -> int:
    """The size of an axis before it was padded."""
    return (size - low - high + interior) // (1 + interior)


def _transposed(pad: Equation, layout: Equation) -> _Config:
    config = pad.params["padding_config"]
    return tuple(config[axis] for axis in layout.params["permutation"])


def _reshaped(pad: Equation, layout: Equation) -> _Config | None:
    """Padded axes must stay axes of their own."""
    config, none = pad.params["padding_config"], (0, 0, 0)
    found = [none] * layout.outputs[0].ndim
    for old, new in axis_groups(pad.outputs[0].shape, layout.outputs[0].shape):
        if all(config[axis] == none for axis in old):
            continue
        if len(old) != 1 or len(new) != 1:
            return None
        found[new[0]] = config[old[0]]
    inner = [_unpadded(n, *sides) for n, sides in zip(layout.outputs[0].shape, found, strict=True)]
    return tuple(found) if np.prod(inner) == np.prod(pad.inputs[0].shape) else None


_MOVES = {"transpose": _transposed, "reshape": _reshaped, "squeeze": _reshaped}
