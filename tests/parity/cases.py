"""Which composites are compared, with which numbers and starts: plain data for both sides."""

from dataclasses import dataclass, field

import numpy as np

#: Presets by the name they have in zennit and here, with the numbers they are tried with.
PRESETS = {
    "epsilon": ({"epsilon": 1e-6}, {"epsilon": 1e-2}, {"epsilon": 0.25}),
    "epsilon_gamma_box": (
        {"gamma": 0.25, "epsilon": 1e-6},
        {"gamma": 0.1, "epsilon": 1e-2},
        {"gamma": 1.0, "epsilon": 0.25},
    ),
    "epsilon_plus": ({"epsilon": 1e-6},),
    "epsilon_plus_flat": ({"epsilon": 1e-6}, {"epsilon": 0.25}),
    "epsilon_alpha2_beta1": ({"epsilon": 1e-6},),
    "epsilon_alpha2_beta1_flat": ({"epsilon": 1e-2},),
    "excitation_backprop": ({},),
}

#: Rules that every layer with weights gets; ε of Norm is that of pooling and of residual sums.
RULES = {
    "Epsilon": ({"epsilon": 1e-2},),
    "Gamma": (
        {"gamma": 0.25, "epsilon": 1e-6},
        {"gamma": 0.1, "epsilon": 1e-2},
        {"gamma": 1.0, "epsilon": 0.25},
    ),
    "ZPlus": ({"epsilon": 1e-2},),
    "AlphaBeta": (
        {"alpha": 2.0, "beta": 1.0, "epsilon": 1e-6},
        {"alpha": 1.0, "beta": 0.0, "epsilon": 1e-2},
    ),
    "Flat": ({},),
    "WSquare": ({"epsilon": 1e-6}, {"epsilon": 1e-2}),
    "ZBox": (
        {"low": -1.0, "high": 2.0, "epsilon": 1e-6},
        {"low": -0.5, "high": 0.25, "epsilon": 1e-2},
    ),
    "Norm": ({"epsilon": 0.25},),
    "Pass": ({},),
}

#: Networks that each rule is tried on alone; presets are tried on all networks, and with them
#: Epsilon, and Gamma and AlphaBeta on every convolution.
RULE_NETWORKS = {
    "Epsilon": ("mlp",),
    "Gamma": ("mlp", "cnn"),
    "ZPlus": ("mlp", "cnn"),
    "AlphaBeta": ("mlp", "cnn"),
    "Flat": ("mlp", "cnn", "mobilenet", "transposed"),
    "WSquare": ("mlp", "cnn", "mobilenet", "transposed"),
    "ZBox": ("mlp", "cnn", "mobilenet", "transposed"),
    "Norm": ("cnn", "mobilenet"),
    "Pass": ("cnn",),
}
#: The layer of each network that Pass is tried on, one whose input and output have one shape.
PASSED = {"cnn": "conv2"}


@dataclass(frozen=True)
class Case:
    """A composite with its numbers, and where relevance starts: "logit" or "one_hot"."""

    name: str
    numbers: dict[str, float]
    start: str
    key: str = field(init=False)

    def __post_init__(self):
        numbers = [f"{k}={v:g}" for k, v in self.numbers.items()]
        object.__setattr__(self, "key", " ".join([self.name, *numbers, self.start]))


def cases(name):
    """The cases of one preset or rule: the first numbers with either start, then taking turns."""
    table = PRESETS if name in PRESETS else RULES
    first, *rest = table[name]
    starts = [(first, "logit"), (first, "one_hot")]
    starts += [(numbers, ("one_hot", "logit")[i % 2]) for i, numbers in enumerate(rest)]
    return [Case(name, numbers, start) for numbers, start in starts]


def cases_of(network):
    """All cases of a network, by its name."""
    rules = [rule for rule, networks in RULE_NETWORKS.items() if network in networks]
    return [case for name in [*PRESETS, *rules] for case in cases(name)]


def start(case, logits):
    """The relevance that a case starts with: example i explains class i, or its logit."""
    examples = np.arange(len(logits))
    chosen = np.zeros_like(logits)
    chosen[examples, examples % logits.shape[-1]] = 1.0
    return chosen * logits if case.start == "logit" else chosen
