"""Which factor of a product is a gate: one that a sigmoid, a softmax or a normaliser bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax, nn
from support.networks import normal
from support.planning import kinds, units

from lrpjax import Composite, lrp, rules

Z, SIGNAL = normal(3, 4, seed=760).astype(np.float32), normal(3, 4, seed=761).astype(np.float32)
SLOPE, THRESHOLD, W = normal(4, seed=762), normal(4, seed=763), normal(4, 4, seed=764)
KEEP = SIGNAL > 0

GATES = {
    "sigmoid": nn.sigmoid,
    "1 / (1 + exp(-z))": lambda z: 1 / (1 + jnp.exp(-z)),
    "exp(z) / (1 + exp(z))": lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
    "(1 + tanh(z)) / 2": lambda z: (1 + jnp.tanh(z)) / 2,
    "hard sigmoid": nn.hard_sigmoid,
    "clipped": lambda z: jnp.clip(z, 0, 1),
    "softmax": nn.softmax,
    "softmax of another axis": lambda z: nn.softmax(z, 0),
    "softmax by hand": lambda z: jnp.exp(z) / jnp.exp(z).sum(-1, keepdims=True),
    "1 - sigmoid": lambda z: 1 - nn.sigmoid(z),
    "with a learned slope": lambda z: nn.sigmoid(SLOPE * z),
    "with a learned threshold": lambda z: nn.sigmoid(z - THRESHOLD),
    "with a learned slope, by hand": lambda z: 1 / (1 + jnp.exp(-SLOPE * z)),
    "behind a dense layer": lambda z: nn.sigmoid(z @ W),
    "moved": lambda z: nn.sigmoid(z.T[::-1]).T[:, ::-1],
    "a part of it": lambda z: nn.sigmoid(jnp.concatenate([z, z], -1))[:, 2:6],
    "joined": lambda z: jnp.concatenate([nn.sigmoid(z[:, :1]), nn.softmax(z[:, 1:])], -1),
    "broadcast": lambda z: jnp.broadcast_to(nn.sigmoid(z[:, :1]), z.shape),
    "broadcast by the product": lambda z: nn.sigmoid(z[:, :1]),
    "scaled": lambda z: 2 * nn.sigmoid(z),
    "scaled by a temperature": lambda z: nn.sigmoid(z) / 3,
    "scaled by a parameter": lambda z: jnp.abs(SLOPE) * nn.sigmoid(z),
    "softmax, scaled": lambda z: 4 * nn.softmax(z),
    "masked": lambda z: jnp.where(KEEP, nn.sigmoid(z), 0),
    "masked by a product": lambda z: nn.sigmoid(z) * KEEP.astype(z.dtype),
    "gate of a gate": lambda z: nn.sigmoid(z) * nn.sigmoid(z @ W),
    "cast": lambda z: nn.sigmoid(z.astype(jnp.bfloat16)).astype(z.dtype),
    "jit": jax.jit(nn.sigmoid),
    "vmap": jax.vmap(nn.sigmoid, 1, 1),
    "remat": jax.checkpoint(nn.sigmoid),
    "softmax by remat": jax.checkpoint(nn.softmax),
    "the largest weights": lambda z: lax.top_k(nn.softmax(z), 1)[0],
    "one over a norm": lambda z: lax.rsqrt(1 + jnp.mean(z * z, -1, keepdims=True)),
}
SIGNALS = {
    "itself": lambda z: z,
    "dense": lambda z: z @ W,
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "silu": nn.silu,
    "gelu": nn.gelu,
    "softplus": nn.softplus,
    "softsign": nn.soft_sign,
    "hard tanh": nn.hard_tanh,
    "hard swish": nn.hard_swish,
    "erf": lax.erf,
    "exp": jnp.exp,
    "exp(-z)": lambda z: jnp.exp(-z),
    "square": lambda z: z * z,
    "abs": jnp.abs,
    "log_softmax": nn.log_softmax,
    "sigmoid and something": lambda z: nn.sigmoid(z) + z,
    "sigmoid, centred": lambda z: nn.sigmoid(z) - 0.5,
    "sigmoid times a signal": lambda z: nn.sigmoid(z) * (z @ W),
    "sigmoid through a layer": lambda z: nn.sigmoid(z) @ W,
    "sigmoid joined with a signal": lambda z: jnp.concatenate([nn.sigmoid(z[:, :2]), z[:, 2:]], -1),
}


def product(f):
    """The last product unit of a function of two explained arguments."""
    found = [u for u in units(f, Z, SIGNAL, argnums=(0, 1)) if u.family == "product"]
    assert found[-1].kind == "product"
    return found[-1]


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_told_from_its_signal(name):
    gate = GATES[name]
    for place, f in enumerate((lambda z, s: gate(z) * s, lambda z, s: s * gate(z))):
        unit = product(f)
        assert (unit.spec.gate, unit.rule) == (place, rules.SignalTakesAll())
        assert "gate and a signal" in unit.reason


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_no_gate(name):
    """But its sigmoid is one."""
    signal = SIGNALS[name]
    unit = product(lambda z, s: signal(z) * s)
    assert (unit.spec.gate, unit.rule) == (None, rules.Uniform())
    assert product(lambda z, s: s * nn.sigmoid(signal(z))).spec.gate == 1


@pytest.mark.parametrize("gate", [nn.sigmoid, nn.softmax])
def test_of_two_gates_neither_is_one(gate):
    unit = product(lambda z, s: gate(z) * nn.sigmoid(s))
    assert (unit.spec.gate, unit.rule) == (None, rules.Uniform())


REGIONS = {
    "both inside": jax.checkpoint(lambda z, s: nn.sigmoid(z) * s),
    "made outside": lambda z, s: jax.checkpoint(lambda g, s: g * s)(nn.sigmoid(z), s),
    "made inside": lambda z, s: jax.checkpoint(nn.sigmoid)(z) * s,
    "made in one, used in another": lambda z, s: jax.checkpoint(lambda g, s: g * s)(
        jax.checkpoint(nn.sigmoid)(z), s
    ),
    "in a scan": lambda z, s: lax.scan(lambda c, z: (c * nn.sigmoid(z), None), s[0], z)[0],
    "outside a scan": lambda z, s: lax.scan(lambda c, g: (c * g, None), s[0], nn.sigmoid(z))[0],
    "in a branch": lambda z, s: lax.cond(
        True, lambda z, s: nn.sigmoid(z) * s, lambda z, s: s, z, s
    ),
}


@pytest.mark.parametrize("name", REGIONS)
def test_gates_are_told_across_regions(name):
    unit = product(REGIONS[name])
    assert unit.spec.gate is not None
    assert unit.rule == rules.SignalTakesAll()


def test_gated_units_of_networks():
    """jax.nn.glu has a gate, SwiGLU's silu is none, and a swish is one function."""
    swiglu = lambda z: nn.silu(z @ W) * (z @ W.T)
    gates = lambda f: [u.spec.gate for u in units(f, Z) if u.family == "product"]
    assert gates(nn.glu) == [1]
    assert gates(swiglu) == [None]
    assert kinds(lambda z: z * nn.sigmoid(SLOPE * z), Z) == ["elementwise"]


def test_a_gate_gets_nothing_and_its_signal_all():
    """Wherever the product stands, and with gates that are shared by many elements."""
    r = normal(3, 4, seed=765).astype(np.float32)
    for name in ("sigmoid", "softmax", "broadcast by the product", "with a learned slope"):
        f = lambda z, s, name=name: GATES[name](z) * s
        to_gate, to_signal = lrp(f, argnums=(0, 1))(Z, SIGNAL, target=lambda y: r)
        assert not to_gate.any(), name
        np.testing.assert_array_equal(to_signal, r, err_msg=name)


def test_the_keyword_for_products_does_not_depend_on_gates():
    for f in (lambda z: nn.sigmoid(z @ W) * z, lambda z: (z @ W) * z):
        found = units(f, Z, composite=Composite(product=rules.Absolute()))
        assert found[-1].rule == rules.Absolute()
