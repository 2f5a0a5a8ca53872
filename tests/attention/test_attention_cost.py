"""What attention costs: products in the optimised program, against the gradient's."""

import jax
import jax.numpy as jnp
import pytest
from attention.transformer import LAYERS, MASKS, PARAMETERS, X, by_hand, transformer
from composition.counting import operations
from support.compiling import as_users_do
from support.networks import normal

from lrpjax import Composite, lrp, rules, value_and_lrp

SINGLE = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), PARAMETERS)
ROWS, MASK = jnp.asarray(X, jnp.float32), MASKS["causal"]

#: Of one attention layer, forward and backward. Forward there are 6: query, key, value, scores,
#: mixing, out. Backward, out, mixing and the value's projection take one each for the values; the
#: way through the weights takes 5 more: the weights, query and key from the scores, and their
#: two projections.
FORWARD, VALUES, WEIGHTS = 6, 3, 5
COSTS = {
    "attn_lrp": FORWARD + VALUES + WEIGHTS,
    "cp_lrp": FORWARD + VALUES,
    "default": FORWARD + VALUES,
    "epsilon": FORWARD + VALUES,
}


def products(f, *arguments):
    return operations(f, *arguments)["dot"]


@pytest.mark.parametrize("preset", COSTS)
def test_a_stopped_branch_costs_nothing(preset):
    """Neither the weights' own product nor the query's and key's are in the backward pass."""
    explain = lambda p, x, mask: lrp(by_hand, preset, argnums=1)(p, x, mask, target=0)
    assert products(explain, SINGLE["layer0"]["attention"], ROWS, MASK) == COSTS[preset]


def test_attn_lrp_costs_what_the_gradient_costs():
    gradient = lambda p, x, mask: jax.value_and_grad(lambda x: by_hand(p, x, mask)[..., 0].sum())(x)
    arguments = SINGLE["layer0"]["attention"], ROWS, MASK
    assert products(gradient, *arguments) == COSTS["attn_lrp"]


def test_a_transformer_saves_the_stopped_branch_of_every_layer():
    """Counted against the gradient, which AttnLRP equals."""
    two = lambda p, x, mask: transformer(x, p, mask)
    explain = lambda preset: lambda *a: value_and_lrp(two, preset, argnums=1)(*a, target=0)
    gradient = lambda p, x, mask: jax.value_and_grad(lambda x: two(p, x, mask)[..., 0].sum())(x)
    whole = products(gradient, SINGLE, ROWS, MASK)
    assert products(explain("attn_lrp"), SINGLE, ROWS, MASK) == whole
    assert products(explain("cp_lrp"), SINGLE, ROWS, MASK) == whole - LAYERS * WEIGHTS


def test_the_weights_are_computed_once():
    """Relevance takes the softmax of the forward pass."""
    explain = lambda p, x, mask: value_and_lrp(by_hand, "attn_lrp", argnums=1)(p, x, mask)
    arguments = SINGLE["layer0"]["attention"], ROWS, MASK
    text = as_users_do(explain, *arguments).as_text()
    assert text.count(" exponential(") == 1


def test_a_signal_that_takes_all_leaves_its_gate_alone():
    """The gate's matrix is applied forward only."""
    weights = [jnp.asarray(normal(8, 8, seed=810 + i), jnp.float32) for i in range(2)]

    def gated(weights, x):
        return jax.nn.sigmoid(x @ weights[0]) * (x @ weights[1])

    for rule, cost in ((rules.SignalTakesAll(), 3), (rules.Uniform(), 4)):
        composite = Composite(product=rule)
        explain = lambda w, x, c=composite: lrp(gated, c, argnums=1)(w, x, target=0)
        assert products(explain, weights, ROWS) == cost
