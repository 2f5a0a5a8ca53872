"""Where zennit as shipped goes another way than the formulas: small networks, one case each.

tests/parity/test_zennit_differs.py says for each case what zennit computes and what lrpjax does.
"""

import torch
from parity import small_networks as small
from torch import nn
from torch.nn import functional as F
from zennit import composites, rules
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import LayerMapComposite, layer_map_base
from zennit.types import Linear
from zennit_composites import relevance
from zennit_networks import chain


class Net(nn.Module):
    """Named children, in this order, and the forward pass as a function of them and the input."""

    def __init__(self, forward, **children):
        super().__init__()
        self.function = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x):
        return self.function(self, x)


def linear(weight, bias=None):
    layer = nn.Linear(*weight.shape[::-1], bias=bias is not None).double()
    layer.weight.data = torch.from_numpy(weight.copy())
    if bias is not None:
        layer.bias.data = torch.from_numpy(bias.copy())
    return layer


def fc1():
    return linear(small.W1, small.B1)


def fc2():
    return linear(small.W2, small.B2)


def batch_norm():
    norm = nn.BatchNorm1d(6, eps=small.BN_EPS).double()
    names = {"weight": small.SCALE, "bias": small.SHIFT}
    names |= {"running_mean": small.MEAN, "running_var": small.VAR}
    for name, array in names.items():
        getattr(norm, name).data = torch.from_numpy(array.copy())
    return norm.eval()


def everywhere(rule, **options):
    return LayerMapComposite([*layer_map_base(), (Linear, rule)], **options)


#: name -> (network, composite, which input and start of small_networks)
CASES = {
    "gamma_at_zero": lambda: (chain(fc=linear(small.W_ZERO)), everywhere(rules.Gamma()), "_ZERO"),
    "flat_stabiliser": lambda: (chain(fc2=fc2()), everywhere(rules.Flat()), ""),
    "first_registered": lambda: (
        Net(lambda n, x: n.fc2(n.relu(n.fc1(x))), fc2=fc2(), relu=nn.ReLU(), fc1=fc1()),
        composites.EpsilonPlusFlat(),
        "",
    ),
    "one_first_layer": lambda: (
        Net(
            lambda n, x: n.fc2(torch.cat([n.fc1(x[:, :3]), n.fc1b(x[:, 3:])], 1)),
            fc1=linear(small.W1[:3, :3], small.B1[:3]),
            fc1b=linear(small.W1B[:3, :3], small.B1B[:3]),
            fc2=fc2(),
        ),
        composites.EpsilonPlusFlat(),
        "",
    ),
    "sum_by_plus": lambda: (
        Net(lambda n, x: n.fc2(x + n.fc1(x)), fc1=fc1(), fc2=fc2()),
        composites.EpsilonPlus(),
        "",
    ),
    "functional_gelu": lambda: (
        Net(lambda n, x: n.fc2(F.gelu(n.fc1(x), approximate="tanh")), fc1=fc1(), fc2=fc2()),
        composites.EpsilonPlus(),
        "",
    ),
    "functional_mean": lambda: (
        Net(lambda n, x: n.fc2(n.relu(n.fc1(x)).mean(1)), fc1=fc1(), relu=nn.ReLU(), fc2=fc2()),
        composites.EpsilonPlus(),
        "S",
    ),
    "excitation_gelu": lambda: (
        chain(fc1=fc1(), gelu=nn.GELU(approximate="tanh"), fc2=fc2()),
        composites.ExcitationBackprop(),
        "",
    ),
    "box_without_convolution": lambda: (
        chain(fc1=fc1(), relu=nn.ReLU(), fc2=fc2()),
        composites.EpsilonGammaBox(small.LOW, small.HIGH),
        "",
    ),
    "batch_norm_passed": lambda: (
        chain(fc1=fc1(), bn=batch_norm(), relu=nn.ReLU(), fc2=fc2()),
        composites.EpsilonPlus(),
        "",
    ),
    "batch_norm_merged": lambda: (
        chain(fc1=fc1(), bn=batch_norm(), relu=nn.ReLU(), fc2=fc2()),
        composites.EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]),
        "",
    ),
}


def explained():
    """Zennit's relevance of each case, and its outputs while the composite is in place."""
    arrays = {}
    for name, make in CASES.items():
        module, composite, which = make()
        start = small.START_ZERO if which == "_ZERO" else small.START
        given, out = relevance(module.eval(), composite, getattr(small, f"X{which}"), start)
        arrays |= {name: given, f"{name} outputs": out}
    return arrays
