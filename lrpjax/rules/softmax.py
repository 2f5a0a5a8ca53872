"""The rule for softmaxes, beside Stop."""

from __future__ import annotations

import jax.numpy as jnp

from lrpjax.rules import views
from lrpjax.rules.base import Array, Rule, Split, rule, total


@rule
class SoftmaxTaylor(Rule):
    """R = x ⊙ (R′ − s·ΣR′) along the softmax's axes, for the logits x; 0 for masked ones.

    What the first-order expansion leaves out is the ledger's remainder.

    References:
        Achtibat et al. 2024, AttnLRP (softmax).

    Example:
        >>> import jax, lrpjax
        >>> relevance = lrpjax.lrp(jax.nn.softmax)(jax.numpy.array([1.0, 2.0]), target=1)
        >>> [round(float(r), 3) for r in relevance]
        [-0.197, 0.393]
    """

    def softmax(self, layer: views.Softmax, relevance: Array) -> Split:
        """The derivative of the softmax, times its input."""
        inner = relevance - layer.s * layer.gathered(relevance)
        x = jnp.where(jnp.isneginf(layer.x), 0, layer.x)  # masked by the program itself
        given = x * layer.back(inner)
        return Split((given,), remainder=lambda: total(relevance) - total(given))
