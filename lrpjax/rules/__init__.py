"""The rules that share a unit's relevance among its inputs, by the papers' names."""

from lrpjax.rules.affine import AlphaBeta, Epsilon, Gamma, Zero, ZPlus
from lrpjax.rules.base import Rule
from lrpjax.rules.first_layer import Flat, WSquare, ZBox
from lrpjax.rules.other import Even, Pass, Ratio, Routing, Stop

__all__ = [
    "AlphaBeta",
    "Epsilon",
    "Even",
    "Flat",
    "Gamma",
    "Pass",
    "Ratio",
    "Routing",
    "Rule",
    "Stop",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
