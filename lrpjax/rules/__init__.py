"""The rules that share a unit's relevance among its inputs, by the papers' names."""

from lrpjax.rules.affine import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, Zero, ZPlus
from lrpjax.rules.base import Rule
from lrpjax.rules.other import Even, Pass, Ratio, Registered, Routing, Stop

__all__ = [
    "AlphaBeta",
    "Epsilon",
    "Even",
    "Flat",
    "Gamma",
    "Pass",
    "Ratio",
    "Registered",
    "Routing",
    "Rule",
    "Stop",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
