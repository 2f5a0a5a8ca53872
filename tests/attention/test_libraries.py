"""Linen, NNX, jax.nn and attention by hand: the same weights, the same relevance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention import libraries
from attention.reference import attention, explain_all
from attention.transformer import MASKS, PARAMETERS, X, transformer
from support.networks import close, normal
from support.planning import kinds

from lrpjax import lrp, value_and_lrp

P, MASK = PARAMETERS["layer0"]["attention"], MASKS["causal and padding"]
C = normal(*X.shape, seed=730)  # relevance starts with the outputs times these
LIBRARIES = libraries.DOUBLE | libraries.SINGLE

double = pytest.mark.usefixtures("x64")


def in_numpy(rule, scaled):
    """Output and relevance of one layer, by the formulas."""
    outputs, relevances = [], []
    for x, mask, c in zip(X, MASK, C, strict=True):
        out, back = attention(P, x, mask, rule, {}, scaled)
        outputs.append(out)
        relevances.append(back(out * c))
    return np.stack(outputs), np.stack(relevances)


@double
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_layer_by_any_library_is_that_of_the_formulas(name):
    """To ten digits, but for those that take the softmax in float32: to its rounding, 6·10⁻⁸,
    and what divisions make of it."""
    attend, scaled = LIBRARIES[name]

    @jax.jit
    def explained(x):
        each = {}
        for rule in ("attn_lrp", "cp_lrp"):
            explain = value_and_lrp(attend, rule, argnums=1)
            each[rule] = explain(P, x, MASK, target=lambda y: y * C)
        return each

    expected = {rule: in_numpy(rule, scaled) for rule in ("attn_lrp", "cp_lrp")}
    close(explained(X), expected, rtol=1e-10 if name in libraries.DOUBLE else 1e-6)


@double
@pytest.mark.parametrize("name", ["linen module", "nnx module"])
def test_two_layers_of_a_library_are_those_of_the_formulas(name):
    attend, scaled = LIBRARIES[name]
    explain = lrp(lambda x: transformer(x, PARAMETERS, MASK, attend), "attn_lrp")
    _, expected, _ = explain_all(PARAMETERS, X, MASK, "attn_lrp", scaled=scaled)
    close(explain(X), expected, rtol=1e-10 if name in libraries.DOUBLE else 1e-6)


@double
@pytest.mark.smoke
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_has_the_same_units(name):
    attend, _ = LIBRARIES[name]
    found = kinds(attend, P, X, MASK, argnums=1)
    assert [kind for kind in found if kind != "scale"] == [
        *["dense"] * 3,
        "attention",
        "softmax",
        "attention",
        "dense",
    ]


@pytest.mark.parametrize("name", ["linen module", "nnx module"])
def test_in_bfloat16_it_is_the_same_to_its_rounding(name):
    """Relevance in the input's own type; computed in at least float32."""
    attend, _ = LIBRARIES[name]
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (P, X))
    wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), narrow)
    found, expected = (
        lrp(attend, "attn_lrp", argnums=1)(p, x, MASK, target=lambda y: y)
        for p, x in (narrow, wide)
    )
    assert found.dtype == jnp.bfloat16
    assert np.abs(found.astype(np.float32) - expected).max() < 0.02 * np.abs(expected).max()
