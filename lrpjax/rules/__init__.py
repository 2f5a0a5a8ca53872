"""The rules that share a unit's relevance among its inputs, by the papers' names."""

from lrpjax.rules.affine import AlphaBeta, Epsilon, Gamma, Zero, ZPlus
from lrpjax.rules.base import Rule
from lrpjax.rules.first_layer import Flat, WSquare, ZBox
from lrpjax.rules.normalisation import ConstantNormaliser, Taylor
from lrpjax.rules.other import Even, Pass, Ratio, Routing, Stop

__all__ = [
    "AlphaBeta",
    "ConstantNormaliser",
    "Epsilon",
    "Even",
    "Flat",
    "Gamma",
    "Pass",
    "Ratio",
    "Routing",
    "Rule",
    "Stop",
    "Taylor",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
