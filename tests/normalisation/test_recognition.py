"""What is a normalisation, and what only looks like one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from normalisation.forms import FAMILIES
from normalisation.lrn import SHAPE, inputs, neighbours
from support.networks import normal
from support.planning import kinds, units

from lrpjax import UnsupportedPrimitiveError, rules

X = inputs().astype(np.float32)
FORMS = {name: f for family in FAMILIES.values() for name, (f, _) in family.items()}
W = normal(SHAPE[-1], SHAPE[-1], seed=20).astype(np.float32)


@pytest.mark.smoke
@pytest.mark.parametrize("name", FORMS)
def test_every_way_to_write_a_local_normalisation_is_one_unit(name):
    (unit,) = units(FORMS[name], X)
    assert unit.kind == "normalisation"
    assert unit.spec.local
    assert unit.rule == rules.Taylor()
    assert "default of a local normalisation" in unit.reason


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_neither_precision_nor_casts_change_that(dtype):
    f = FORMS["reduce_window"]
    inside = lambda x: f(x.astype(jnp.float32)).astype(x.dtype)
    squares = lambda x: x / (2 + neighbours(lax.square(x.astype(jnp.float32)))).astype(x.dtype)
    for function in (f, inside, squares):
        found = [u for u in units(function, X.astype(dtype)) if u.kind == "normalisation"]
        assert [type(u.rule) for u in found] == [rules.Taylor]


def test_a_matrix_may_be_a_parameter():
    """The matrix of GDN among the arguments, and as an NNX parameter; k is one too."""

    class GDN(nnx.Module):
        def __init__(self):
            self.gamma, self.beta = nnx.Param(W**2), nnx.Param(jnp.ones(W.shape[0]))

        def __call__(self, x):
            return x * lax.rsqrt(self.beta[...] + x**2 @ self.gamma[...])

    of_arguments = lambda w, x: x / jnp.sqrt(1.0 + x**2 @ w)
    for found in (units(of_arguments, W**2, X, argnums=1), units(GDN(), X)):
        assert [(u.kind, u.spec.local, u.rule) for u in found] == [
            ("normalisation", True, rules.Taylor())
        ]


C = X.shape[-1]
SPANS = {
    "a window over everything": (lambda u: neighbours(u, (1, 1, 1, 2 * C - 1)), True),
    "a matrix of ones": (lambda u: u @ jnp.ones((C, C)), True),
    "a sum": (lambda u: u.sum(-1, keepdims=True), False),
    "a mean": (lambda u: jnp.mean(u, axis=-1, keepdims=True), False),
    "a mean over several axes": (lambda u: jnp.mean(u, axis=(1, 2), keepdims=True), False),
    "a sum of a sum": (lambda u: u.sum(-1).sum(-1)[..., None, None], False),
}


@pytest.mark.parametrize("name", SPANS)
def test_local_or_full_is_told_by_structure(name):
    total, local = SPANS[name]
    (unit,) = units(lambda x: x / jnp.sqrt(2.0 + total(x * x)), X)
    assert unit.kind == "normalisation"
    assert unit.spec.local is local
    assert unit.rule == (rules.Taylor() if local else rules.ConstantNormaliser())


def test_two_normalisations_of_one_value_are_two_units():
    lrn = FORMS["cumsum"]
    assert (
        kinds(lambda x: jnp.concatenate([lrn(x), FORMS["reduce_window"](x)]), X)
        == ["normalisation"] * 2
    )
    assert kinds(lambda x: lrn(FORMS["banded matrix"](x)), X) == ["normalisation"] * 2


def test_a_network_with_normalisations_has_its_other_units_too():
    lrn = FORMS["loop of slices"]
    found = kinds(lambda x: lrn(jax.nn.relu(x @ W + 1.0)) @ W, X)
    assert found == ["dense", "elementwise", "normalisation", "dense"]


# ---------------------------------------------------------------- what is none

total = lambda x: jnp.sum(x * x, axis=-1, keepdims=True)
near = lambda x: neighbours(x * x)

REFUSED = {
    "gate of the mean square": lambda x: x * jax.nn.sigmoid(jnp.mean(x**2, -1, keepdims=True)),
    "gate of a window": lambda x: x * jax.nn.sigmoid(-near(x)),
    "radial function": lambda x: x * jnp.exp(-total(x)),
    "radial function of a window": lambda x: x * jnp.exp(-near(x)),
    "inverse GDN": lambda x: x * jnp.sqrt(1 + x**2 @ jnp.abs(W)),
    "inverse LRN": lambda x: x * (2 + near(x)) ** 0.75,
    "divided by a negative power": lambda x: x / (2 + near(x)) ** -0.75,
    "constant power": lambda x: x * (2 + near(x)) ** 0.0,
    "logarithm": lambda x: x / jnp.log(3 + near(x)),
    "divided by one minus": lambda x: x / (1 - jax.nn.sigmoid(near(x))),
    "divided by a mean": lambda x: x / (1 + jnp.mean(x, -1, keepdims=True)),
    "divided by a sum of absolutes": lambda x: x / (1 + jnp.sum(jnp.abs(x), -1, keepdims=True)),
    "divided by a sum of fourth powers": lambda x: x / (1 + jnp.sum(x**4, -1, keepdims=True)),
    "divided by the largest square": lambda x: x / (1 + jnp.max(x**2, -1, keepdims=True)),
    "another linear function": lambda x: (x @ W) / jnp.sqrt(2 + near(x)),
    "another nonlinear function": lambda x: jax.nn.relu(x) / jnp.sqrt(2 + near(x)),
    "x in another order": lambda x: x[..., ::-1] / jnp.sqrt(2 + near(x)),
    "x in another order, transposed": lambda x: (
        jnp.swapaxes(x[:, :3, :3], 1, 2) / jnp.sqrt(2 + near(x[:, :3, :3]))
    ),
    "shifted x": lambda x: (x + 1) / jnp.sqrt(2 + near(x)),
    "x minus its sum": lambda x: (x - x.sum(-1, keepdims=True)) / jnp.sqrt(2 + total(x)),
    "squares of another value": lambda x: x / jnp.sqrt(2 + near(x @ W)),
    "squares of x minus its mean": lambda x: x / jnp.sqrt(2 + x.var(-1, keepdims=True)),
    "squares of two values": lambda x: x / jnp.sqrt(2 + total(x) + total(x @ W)),
    "x minus the mean of another axis": lambda x: (
        (x - x.mean(-1, keepdims=True)) / jnp.sqrt(1 + x.var(1, keepdims=True))
    ),
    "the variance without the mean's subtraction": lambda x: (
        x / jnp.sqrt(1 + jnp.mean(x**2, -1, keepdims=True) - jnp.mean(x, -1, keepdims=True) ** 2)
    ),
    "the mean's square added": lambda x: (
        (x - x.mean(-1, keepdims=True))
        / jnp.sqrt(1 + jnp.mean(x**2, -1, keepdims=True) + jnp.mean(x, -1, keepdims=True) ** 2)
    ),
    "half of the mean's square": lambda x: (
        (x - x.mean(-1, keepdims=True))
        / jnp.sqrt(1 + jnp.mean(x**2, -1, keepdims=True) - x.mean(-1, keepdims=True) ** 2 / 2)
    ),
    "x minus its mean by squares of x": lambda x: (
        (x - x.mean(-1, keepdims=True)) / jnp.sqrt(1 + jnp.mean(x**2, -1, keepdims=True))
    ),
    "less than k": lambda x: x / jnp.sqrt(5 - 0.01 * total(x)),
    "gate of a tangent": lambda x: x * (1 - jnp.tanh(total(x))),
    "exponent of the input": lambda x: x / (1 + total(x)) ** jnp.abs(x),
    "k of the input": lambda x: x / jnp.sqrt(1 + jnp.abs(x) + total(x)),
    "a mean that gains a constant": lambda x: (
        (x - (x.mean(-1, keepdims=True) + 1)) / jnp.sqrt(1 + x.var(-1, keepdims=True))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_normalisation_does_not_become_one(name):
    """A product of two dependent values is one; a quotient needs a rule that nobody has."""
    try:
        found = kinds(REFUSED[name], X)
    except UnsupportedPrimitiveError as error:
        assert error.primitive in ("div", "pow")
    else:
        assert "normalisation" not in found and "product" in found


ELEMENTWISE = {
    "its own square": lambda x: x / (1 + x**2),
    "its own square by a matrix of one": lambda x: x[..., :1] / (1 + (x[..., :1] ** 2)),
    "a power of its own square": lambda x: x * (2 + 0.3 * x * x) ** -0.75,
    "softsign": jax.nn.soft_sign,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_function_of_each_element_alone_is_elementwise(name):
    assert kinds(ELEMENTWISE[name], X) == ["elementwise"]


def test_squares_without_a_quotient_are_no_normalisation():
    assert "normalisation" not in kinds(lambda x: jnp.sqrt(2 + near(x)), X)
    assert "normalisation" not in kinds(lambda x: x - near(x) / 3.0, X)


def test_a_normaliser_that_is_stopped_is_a_scale():
    """The user's own way to hold it constant."""
    assert kinds(lambda x: x / lax.stop_gradient(2 + near(x)), X) == ["scale"]
