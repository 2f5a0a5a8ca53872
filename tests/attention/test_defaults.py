"""Which rule products, attention and softmaxes get by each preset, and from a composite's words."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax, nn
from support.networks import normal
from support.planning import units

from lrpjax import Composite, plan, presets
from lrpjax.rules import SignalTakesAll, SoftmaxTaylor, Stop, Uniform, ValueOnly

X, W, V = normal(4, 4, seed=800), normal(4, 4, seed=801), normal(4, 4, seed=802)


def network(x):
    """Attention, a product with a gate and one without, and a softmax at the end."""
    x = nn.softmax(x @ x.T) @ x
    x = nn.sigmoid(x @ W) * x
    x = nn.silu(x @ W) * x
    return nn.softmax(x @ V)


#: Scores, weighing softmax, value product, gate · signal, neither, last softmax.
DEFAULT = (ValueOnly(), Stop(), ValueOnly(), SignalTakesAll(), Uniform(), SoftmaxTaylor())
ATTN = (Uniform(), SoftmaxTaylor(), Uniform(), Uniform(), Uniform(), SoftmaxTaylor())
CP = (ValueOnly(), Stop(), ValueOnly(), Uniform(), Uniform(), Stop())
LSTM = (ValueOnly(), Stop(), ValueOnly(), SignalTakesAll(), SignalTakesAll(), SoftmaxTaylor())
OTHERS = {"attn_lrp": ATTN, "cp_lrp": CP, "lstm_signal_takes_all": LSTM}


@pytest.mark.parametrize("name", presets.names())
def test_the_presets(name):
    preset = presets.epsilon_gamma_box(-3.0, 3.0) if name == "epsilon_gamma_box" else name
    found = units(network, X, composite=preset)
    chosen = [u for u in found if u.family in ("product", "softmax")]
    kinds = ("attention", "softmax", "attention", "product", "product", "softmax")
    assert tuple(u.kind for u in chosen) == kinds
    assert tuple(u.rule for u in chosen) == OTHERS.get(name, DEFAULT)


def test_gamma_changes_only_layers_with_weights():
    for name in ("attn_lrp", "cp_lrp"):
        plain = units(network, X, composite=getattr(presets, name)())
        gamma = units(network, X, composite=getattr(presets, name)(gamma=0.1))
        changed = {a.kind for a, b in zip(plain, gamma, strict=True) if a.rule != b.rule}
        assert changed == {"dense"}


def test_keywords_and_layer_patterns_reach_them():
    keywords = {"product": SignalTakesAll(0.1), "attention": Uniform(0.1), "softmax": Stop()}
    found = units(network, X, composite=Composite(**keywords))
    chosen = [u for u in found if u.family in ("product", "softmax")]
    assert all(u.rule == keywords[u.kind] for u in chosen)
    layers = {chosen[-1].layer: SoftmaxTaylor(), chosen[0].layer: ValueOnly()}
    composite = Composite(**keywords, layers=layers)
    for u in units(network, X, composite=Composite.from_json(composite.to_json())):
        if u.family in ("product", "softmax"):
            assert u.rule == layers.get(u.layer, keywords[u.kind])


# ---------------------------------------------------------------- what weighs values

soft = lambda x: nn.softmax(x @ W)
KEEP = X > 0

WEIGHS = {
    "values": lambda x: soft(x) @ x,
    "element by element": lambda x: soft(x) * x,
    "moved": lambda x: soft(x).T.reshape(4, 2, 2)[:, ::-1].reshape(4, 4) @ x,
    "scaled": lambda x: (soft(x) / 2) @ x,
    "shifted": lambda x: (soft(x) + 0.1) @ x,
    "masked": lambda x: jnp.where(KEEP, soft(x), 0) @ x,
    "dropped out": lambda x: (soft(x) * (KEEP / 0.9)) @ x,
    "averaged": lambda x: soft(x).mean(0) * x,
    "cast": lambda x: soft(x).astype(jnp.bfloat16).astype(x.dtype) @ x,
    "the largest": lambda x: lax.top_k(soft(x), 1)[0] * x,
    "in a scan": lambda x: lax.scan(lambda c, r: (c, nn.softmax(r @ W) * c), x[0], x)[1],
    "values in remat": lambda x: jax.checkpoint(lambda s, x: s @ x)(soft(x), x),
    "made in remat": lambda x: jax.checkpoint(soft)(x) @ x,
    "all in remat": jax.checkpoint(lambda x: soft(x) @ x),
    "values of a scan": lambda x: lax.scan(lambda c, s: (c * s, None), x[0], soft(x))[0],
    "also the output": lambda x: (lambda s: jnp.concatenate([s, s @ x]))(soft(x)),
}
DOES_NOT = {
    "the output": soft,
    "through a layer": lambda x: soft(x) @ V,
    "added": lambda x: soft(x) + x,
    "its logarithm": lambda x: jnp.log(soft(x)),
    "its square": lambda x: soft(x) ** 2,
    "of a constant": lambda x: soft(x) @ lax.stop_gradient(x),
    "in remat": jax.checkpoint(soft),
}


def softmaxes(f):
    return [u for u in units(f, X) if u.kind == "softmax"]


@pytest.mark.parametrize("name", WEIGHS)
def test_a_softmax_that_weighs_values_is_stopped(name):
    (unit,) = softmaxes(WEIGHS[name])
    assert unit.rule == Stop()
    assert unit.reason == "default of a softmax that weighs values"


@pytest.mark.parametrize("name", WEIGHS)
def test_none_of_the_relevance_goes_to_the_weights(name):
    """Their product gives all to the values, so that nothing ends at the stop."""
    (unit,) = (u for u in units(WEIGHS[name], X) if u.family == "product")
    assert unit.spec.gate is not None
    assert unit.rule in (ValueOnly(), SignalTakesAll())


@pytest.mark.parametrize("name", DOES_NOT)
def test_another_softmax_is_not(name):
    (unit,) = softmaxes(DOES_NOT[name])
    assert unit.rule == SoftmaxTaylor()


# ---------------------------------------------------------------- what is attention

ATTENTION = {
    "scaled": lambda x: nn.softmax(x @ x.T / 2) @ x,
    "masked": lambda x: nn.softmax(jnp.where(KEEP, x @ x.T, -1e9)) @ x,
    "biased": lambda x: nn.softmax(x @ x.T + V) @ x,
    "capped": lambda x: nn.softmax(5 * jnp.tanh(x @ x.T / 5)) @ x,
    "by their own signs": lambda x: nn.softmax(jnp.where(x @ x.T > 0, x @ x.T, -1e9)) @ x,
    "cast": lambda x: nn.softmax((x @ x.T).astype(jnp.bfloat16)).astype(x.dtype) @ x,
    "another axis": lambda x: nn.softmax(x @ x.T, 0).T @ x,
    "all in remat": jax.checkpoint(lambda x: nn.softmax(x @ x.T) @ x),
    "the softmax in remat": lambda x: jax.checkpoint(nn.softmax)(x @ x.T) @ x,
    "scores in front of remat": lambda x: jax.checkpoint(lambda s, x: nn.softmax(s) @ x)(
        x @ x.T, x
    ),
    "a scan over queries": lambda x: lax.map(lambda q: nn.softmax(q @ x.T) @ x, x),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_scores_and_values_are_attention(name):
    kinds = [u.kind for u in units(ATTENTION[name], X)]
    assert [k for k in kinds if k in ("attention", "softmax", "product")] == [
        "attention",
        "softmax",
        "attention",
    ]


def test_other_products_of_matrices_are_none():
    for f in (lambda x: x @ x.T, lambda x: nn.relu(x @ x.T) @ x):
        assert {u.kind for u in units(f, X) if u.family == "product"} == {"product"}
    planned = plan(lambda x: nn.softmax(x @ x.T) * x, None, X)
    assert [u.kind for u in planned.units if u.family == "product"] == ["attention", "product"]
