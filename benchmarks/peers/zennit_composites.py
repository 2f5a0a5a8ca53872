"""Zennit's composites for the cases of tests/parity/cases.py, and relevance with them.

Four things differ from zennit as it is shipped, so that both sides compute one formula; what
the shipped defaults do instead is in zennit_differs.py.

- Its canonizer leaves BatchNorm's own ε in place, so a merged one still divides by √(1 + ε).
- Flat adds its stabiliser to the count of inputs, which is never zero here: it is set to 0.
- ExcitationBackprop has no rule for activations (the gradient is used), where all others pass.
- EpsilonGammaBox looks for the first convolution, where the others look for the first layer.
"""

import torch
from zennit import composites, rules
from zennit.canonizers import CompositeCanonizer, SequentialMergeBatchNorm
from zennit.composites import LayerMapComposite, NameLayerMapComposite, layer_map_base
from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer
from zennit.types import Activation, BatchNorm, Linear


class ExactMergeBatchNorm(SequentialMergeBatchNorm):
    """The merge, with what is left of BatchNorm an exact identity."""

    def register(self, linears, batch_norm):
        super().register(linears, batch_norm)
        self.shipped_eps, batch_norm.eps = batch_norm.eps, 0.0

    def remove(self):
        super().remove()
        self.batch_norm.eps = self.shipped_eps


class Canonizer(CompositeCanonizer):
    """BatchNorm merged exactly, and the sums of torchvision's residual blocks as modules."""

    def __init__(self):
        parts = (ExactMergeBatchNorm, ResNetBottleneckCanonizer, ResNetBasicBlockCanonizer)
        super().__init__([part() for part in parts])


EXACT_FLAT = [(Linear, rules.Flat(stabilizer=0.0))]
PASSED = [(Activation, rules.Pass()), (BatchNorm, rules.Pass())]


def preset(name, low, high, epsilon=1e-6, gamma=0.25):
    """The composite of this name."""
    options = {"canonizers": [Canonizer()]}
    match name:
        case "epsilon":
            layer_map = [*layer_map_base(), (Linear, rules.Epsilon(epsilon))]
            return LayerMapComposite(layer_map, **options)
        case "epsilon_gamma_box":
            first = [(Linear, rules.ZBox(low, high))]
            numbers = {"low": low, "high": high, "gamma": gamma, "epsilon": epsilon}
            return composites.EpsilonGammaBox(**numbers, first_map=first, **options)
        case "epsilon_plus_flat" | "epsilon_alpha2_beta1_flat":
            make = composites.COMPOSITES[name]
            return make(epsilon=epsilon, first_map=EXACT_FLAT, **options)
        case "excitation_backprop":
            return composites.ExcitationBackprop(layer_map=PASSED, **options)
        case _:
            return composites.COMPOSITES[name](epsilon=epsilon, **options)


def rule(name, layer=None, epsilon=1e-6, **numbers):
    """A composite that gives every layer with weights one rule.

    Norm is the rule of pools and sums instead, Pass that of `layer` alone.
    """
    chosen = {
        "Epsilon": lambda: rules.Epsilon(epsilon),
        "Gamma": lambda: rules.Gamma(**numbers, stabilizer=epsilon),
        "ZPlus": lambda: rules.ZPlus(epsilon),
        "AlphaBeta": lambda: rules.AlphaBeta(**numbers, stabilizer=epsilon),
        "Flat": lambda: rules.Flat(stabilizer=0.0),
        "WSquare": lambda: rules.WSquare(epsilon),
        "ZBox": lambda: rules.ZBox(**numbers, stabilizer=epsilon),
        "Norm": rules.Epsilon,
        "Pass": rules.Epsilon,
    }[name]()
    base = layer_map_base(stabilizer=epsilon if name == "Norm" else 1e-6)
    named = [([layer], rules.Pass())] if name == "Pass" else []
    return NameLayerMapComposite(named, [*base, (Linear, chosen)], canonizers=[Canonizer()])


def relevance(module, composite, x, start):
    """Zennit's relevance of x [n, …] for a starting relevance [n, classes], and the outputs.

    The outputs are those of the module while the composite is in place.
    """
    x = torch.from_numpy(x).clone().requires_grad_()
    with composite.context(module) as modified:
        out = modified(x)
        (given,) = torch.autograd.grad(out, x, torch.from_numpy(start))
    return given.detach().numpy(), out.detach().numpy()
