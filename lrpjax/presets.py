"""The composites of the literature, by name, and what a composite's gaps are filled with.

A preset is a function that returns a :class:`~lrpjax.Composite`; its name as a string works
wherever a composite does. What a preset doesn't say is as in :func:`default`:

=============  ====================================================================
kind           default
=============  ====================================================================
conv           ZPlus
dense          Epsilon
first          Flat for a convolution whose windows overlap, else its kind's
pool, add      Epsilon
scale          Pass
shift          Epsilon; Pass directly on an explained input
elementwise    Pass("share")
product        SignalTakesAll for a gate and a signal, else Uniform
attention      ValueOnly
softmax        Stop where it weighs values, else SoftmaxTaylor
normalisation  Taylor for a local one, ConstantNormaliser over whole axes
max            the primitive's own routing
=============  ====================================================================

The presets that carry zennit's names (``epsilon`` to ``excitation_backprop``) use Pass on shifts
and activations, as zennit does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from lrpjax.composite import Composite
from lrpjax.errors import PlanError
from lrpjax.rules import (
    AlphaBeta,
    ConstantNormaliser,
    Epsilon,
    Flat,
    Gamma,
    Pass,
    Routing,
    Rule,
    SignalTakesAll,
    SoftmaxTaylor,
    Stop,
    Taylor,
    Uniform,
    ValueOnly,
    WSquare,
    ZBox,
    ZPlus,
)

#: The default of each kind; first layers and shifts on an input are in :func:`default_rule`.
_DEFAULTS: dict[str, Rule] = {
    "conv": ZPlus(),
    "dense": Epsilon(),
    "pool": Epsilon(),
    "scale": Pass(),
    "shift": Epsilon(),
    "add": Epsilon(),
    "elementwise": Pass("share"),
    "product": Uniform(),
    "attention": ValueOnly(),
    "softmax": SoftmaxTaylor(),
    "normalisation": ConstantNormaliser(),
    "max": Routing(),
}


def default_rule(unit: Any, default_first: bool) -> tuple[Rule, str]:
    """The default rule of a unit, and why it is that one."""
    if default_first and unit.first and unit.kind == "conv" and unit.spec.overlapping:
        return Flat(), "default of a first, overlapping convolution"
    if unit.kind == "shift" and unit.direct:
        return Pass(), "default of a shift directly on the input"
    if unit.kind == "product" and unit.spec.gate is not None:
        return SignalTakesAll(), "default of a gate and a signal"
    if unit.kind == "softmax" and unit.weighs:
        return Stop(), "default of a softmax that weighs values"
    if unit.kind == "normalisation" and unit.spec.local:
        if unit.spec.taylor is None:
            return Taylor(), "default of a local normalisation"
        return ConstantNormaliser(), f"default where Taylor has no expansion: {unit.spec.taylor}"
    return _DEFAULTS[unit.kind], f"default of {unit.kind}"


def _zennit(conv: Rule, dense: Rule, first: Rule | None = None) -> Composite:
    return Composite(conv=conv, dense=dense, first=first, shift=Pass(), elementwise=Pass())


def default() -> Composite:
    """z⁺ for convolutions, ε for dense layers, flat for a first overlapping convolution.

    References:
        Kohlbrenner et al. 2020, Towards best practice in explaining neural network decisions
        with LRP.
    """
    return Composite()


def epsilon(epsilon: float = 1e-6) -> Composite:
    """The ε-rule everywhere (Bach et al. 2015)."""
    return _zennit(Epsilon(epsilon), Epsilon(epsilon))


def epsilon_plus(epsilon: float = 1e-6) -> Composite:
    """z⁺ for convolutions, ε for dense layers: zennit's EpsilonPlus."""
    return _zennit(ZPlus(), Epsilon(epsilon))


def epsilon_plus_flat(epsilon: float = 1e-6) -> Composite:
    """As :func:`epsilon_plus`, with the flat rule for the first layer: zennit's EpsilonPlusFlat."""
    return _zennit(ZPlus(), Epsilon(epsilon), Flat())


def epsilon_alpha2_beta1(epsilon: float = 1e-6) -> Composite:
    """α2β1 for convolutions, ε for dense layers: zennit's EpsilonAlpha2Beta1."""
    return _zennit(AlphaBeta(2.0, 1.0), Epsilon(epsilon))


def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6) -> Composite:
    """As :func:`epsilon_alpha2_beta1`, with the flat rule for the first layer."""
    return _zennit(AlphaBeta(2.0, 1.0), Epsilon(epsilon), Flat())


def epsilon_gamma_box(
    low: Any = None, high: Any = None, epsilon: float = 1e-6, gamma: float = 0.25
) -> Composite:
    """γ for convolutions, ε for dense layers, zᴮ for the first layer: zennit's EpsilonGammaBox.

    Args:
        low, high: the bounds of the first layer's own input.
        epsilon, gamma: as in the rules.

    Raises:
        PlanError: without bounds.
    """
    if low is None or high is None:
        raise PlanError(
            "epsilon_gamma_box needs the bounds of the first layer's input: "
            "presets.epsilon_gamma_box(low, high)"
        )
    return _zennit(Gamma(gamma), Epsilon(epsilon), ZBox(low, high))


def excitation_backprop() -> Composite:
    """z⁺ for convolutions and dense layers (Zhang et al. 2018): zennit's ExcitationBackprop."""
    return _zennit(ZPlus(), ZPlus())


def lrp_cmp(alpha: float = 1) -> Composite:
    """ε for dense layers, α1β0 or α2β1 for convolutions, flat for the first layer.

    Args:
        alpha: α of the convolutions; β is α − 1.

    References:
        Kohlbrenner et al. 2020 (LRP-CMP).
    """
    return Composite(conv=AlphaBeta(alpha, alpha - 1), dense=Epsilon(), first=Flat())


def deep_taylor(low: Any = None, high: Any = None) -> Composite:
    """z⁺ everywhere; for the first layer zᴮ, or w² without bounds.

    Args:
        low, high: the bounds of the first layer's own input; both or neither.

    Raises:
        PlanError: for one bound without the other.

    References:
        Montavon et al. 2017.
    """
    if (low is None) != (high is None):
        raise PlanError("deep_taylor takes both bounds, or neither")
    first = WSquare() if low is None else ZBox(low, high)
    return Composite(conv=ZPlus(), dense=ZPlus(), pool=ZPlus(), first=first)


def _transformer(gamma: float | None, attention: Rule, softmax: Rule) -> Composite:
    rule = Epsilon() if gamma is None else Gamma(gamma)
    return Composite(
        conv=rule,
        dense=rule,
        product=Uniform(),
        attention=attention,
        softmax=softmax,
        normalisation=ConstantNormaliser(),
    )


def attn_lrp(gamma: float | None = None) -> Composite:
    """Relevance passes the attention weights: half to them, half to the values.

    ε (or γ, if asked) for layers with weights, Uniform for products, SoftmaxTaylor, constant
    normalisers.

    References:
        Achtibat et al. 2024, AttnLRP: attention-aware layer-wise relevance propagation for
        transformers.
    """
    return _transformer(gamma, Uniform(), SoftmaxTaylor())


def cp_lrp(gamma: float | None = None) -> Composite:
    """Attention weights are constants; otherwise as :func:`attn_lrp`.

    References:
        Ali et al. 2022, XAI for transformers: better explanations through conservative
        propagation.
    """
    return _transformer(gamma, ValueOnly(), Stop())


def lstm_signal_takes_all() -> Composite:
    """ε = 10⁻³ for layers with weights and for sums; gates get nothing.

    References:
        Arras et al. 2017, Explaining recurrent neural network predictions.
    """
    rule = Epsilon(1e-3)
    return Composite(conv=rule, dense=rule, add=rule, product=SignalTakesAll())


PRESETS: dict[str, Callable[..., Composite]] = {
    preset.__name__: preset
    for preset in (
        default,
        epsilon,
        epsilon_plus,
        epsilon_plus_flat,
        epsilon_alpha2_beta1,
        epsilon_alpha2_beta1_flat,
        epsilon_gamma_box,
        excitation_backprop,
        lrp_cmp,
        deep_taylor,
        attn_lrp,
        cp_lrp,
        lstm_signal_takes_all,
    )
}


def names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(PRESETS)


def as_composite(composite: Composite | Rule | str | None) -> Composite:
    """The composite that an argument stands for.

    A single rule goes to convolutions and dense layers.

    Raises:
        PlanError: for an unknown name, or something else altogether.
    """
    match composite:
        case None:
            return default()
        case Composite():
            return composite
        case Rule():
            return Composite(conv=composite, dense=composite)
        case str() if composite in PRESETS:
            return PRESETS[composite]()
        case str():
            close = difflib.get_close_matches(composite, PRESETS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PRESETS)}"
            raise PlanError(f"no preset is called {composite!r}; {hint}")
    raise PlanError(
        f"a composite is a Composite, a rule, the name of a preset or None; got {composite!r}"
    )
