"""Layer-wise relevance propagation as a functional transform of JAX.

``lrp(model)`` is to relevance what ``jax.grad`` is to derivatives: it takes any JAX function or
Flax model, unmodified, and returns a pure function that decomposes an output into relevance for
the inputs, conserving it layer by layer.
"""

from lrpjax import presets, rules, targets
from lrpjax.audit import Ledger, audit
from lrpjax.composite import Composite
from lrpjax.errors import PlanError, UnsupportedPrimitiveError
from lrpjax.plan import Plan
from lrpjax.primitives import register_rule
from lrpjax.transform import lrp, lrp_vjp, plan, value_and_lrp

__version__ = "0.1.0"

__all__ = [
    "Composite",
    "Ledger",
    "Plan",
    "PlanError",
    "UnsupportedPrimitiveError",
    "audit",
    "lrp",
    "lrp_vjp",
    "plan",
    "presets",
    "register_rule",
    "rules",
    "targets",
    "value_and_lrp",
]
