"""The rules that share a unit's relevance among its inputs, by the papers' names."""

from lrpjax.rules.affine import AlphaBeta, Epsilon, Gamma, Zero, ZPlus
from lrpjax.rules.base import Rule
from lrpjax.rules.first_layer import Flat, WSquare, ZBox
from lrpjax.rules.normalisation import ConstantNormaliser, Taylor
from lrpjax.rules.other import Even, Pass, Ratio, Routing, Stop
from lrpjax.rules.product import Absolute, Proportional, SignalTakesAll, Uniform, ValueOnly
from lrpjax.rules.softmax import SoftmaxTaylor

__all__ = [
    "Absolute",
    "AlphaBeta",
    "ConstantNormaliser",
    "Epsilon",
    "Even",
    "Flat",
    "Gamma",
    "Pass",
    "Proportional",
    "Ratio",
    "Routing",
    "Rule",
    "SignalTakesAll",
    "SoftmaxTaylor",
    "Stop",
    "Taylor",
    "Uniform",
    "ValueOnly",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
