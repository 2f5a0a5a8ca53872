"""Contractions of any form, against their matrices and the formulas of bilinear products."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from control_flow.programs import started
from support.networks import close, normal

from lrpjax import Composite, lrp, plan, rules

B, N, M, D = 2, 4, 5, 3
X, Y = normal(B, N, D, seed=720), normal(B, M, D, seed=721)
EPSILON = 0.1


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- one live operand

#: {equation: shapes of the constants}
LINEAR = {
    "bnd,df->bnf": [(D, 4)],
    "bnd,dhk->bhnk": [(D, 2, 3)],
    "bnd,nd->b": [(N, D)],
    "bnd,bde->bne": [(B, D, 4)],
    "...d,df->...f": [(D, 4)],
    "bnd,df,fg->bng": [(D, 4), (4, 2)],
    "df,bnd->fnb": [(D, 4)],
    "bnd,dd->bnd": [(D, D)],
    "bnd,f->bndf": [(2,)],
    "bnd->bd": [],
    "bnd->dnb": [],
    "nbd,nbd->b": [(B, N, D)],
}


@pytest.mark.parametrize("equation", LINEAR)
def test_a_contraction_with_constants_is_its_matrix(equation):
    """The ε-rule on the Jacobian, ε in one place: each is one unit, or exact."""
    constants = [normal(*shape, seed=722 + i) for i, shape in enumerate(LINEAR[equation])]
    f = lambda x: jnp.einsum(equation, x, *constants)
    if not equation.startswith(("bnd", "...")):
        first, rest = equation.split(",")
        f = lambda x: jnp.einsum(f"bnd,{first}->{rest.split('->')[1]}", x, *constants)
    if equation == "nbd,nbd->b":
        f = lambda x: jnp.einsum("bnd,bnd->b", x, *constants)
    exact = Composite(dense=rules.Zero(), pool=rules.Zero(), scale=rules.Pass())
    layer = oracle.affine(f, X.shape)
    y = np.asarray(f(X))
    start = np.asarray(started(725)(y))
    expected = oracle.zero(layer, X.ravel(), start.ravel()).reshape(X.shape)
    close(lrp(f, exact)(X, target=lambda _: jnp.asarray(start)), expected, rtol=1e-9)


# ---------------------------------------------------------------- two live operands

BILINEAR = [
    "bnd,bmd->bnm",
    "bnd,bmd->bmn",
    "bnd,cmd->bncm",
    "bnd,bme->bde",
    "bnd,bme->bnmde",
    "bnd,bmd->",
    "bnd,bmd->b",
]


def backward(equation, c, other, place):
    """The transpose of a contraction in one operand, of shape [b, n, d] or [b, m, d]."""
    inputs, output = equation.split("->")
    mine, others = (inputs.split(",")[i] for i in (place, 1 - place))
    found = "".join(letter for letter in mine if letter in output + others)
    part = np.einsum(f"{output},{others}->{found}", c, other)
    shape = [(X if place == 0 else Y).shape[i] if l in found else 1 for i, l in enumerate(mine)]
    return np.broadcast_to(part.reshape(shape), (X if place == 0 else Y).shape)


@pytest.mark.parametrize("equation", BILINEAR)
def test_a_product_of_two_live_operands_gives_half_to_each(equation):
    """R_A = A ⊙ (R / 2S(O)) Bᵀ, and R_B likewise; sums over one operand alone are pools."""
    uniform = rules.Uniform(EPSILON)
    composite = Composite(product=uniform, attention=uniform, pool=rules.Zero())
    f = lambda x, y: jnp.einsum(equation, x, y)
    out = np.einsum(equation, X, Y)
    start = np.asarray(started(726)(jnp.asarray(out)))
    c = oracle.quotient(start, out, EPSILON) / 2
    expected = (X * backward(equation, c, Y, 0), Y * backward(equation, c, X, 1))
    found = lrp(f, composite, argnums=(0, 1))(X, Y, target=lambda _: jnp.asarray(start))
    close(found, expected, rtol=1e-9)


ELEMENTS = {"uniform": rules.Uniform(EPSILON), "absolute": rules.Absolute()}


@pytest.mark.parametrize("rule", ELEMENTS)
def test_a_contraction_over_nothing_is_a_product_element_by_element(rule):
    """JAX writes it as a `dot_general` with batch axes only."""
    composite = Composite(product=ELEMENTS[rule])
    other = X[::-1].copy()
    f = lambda x, y: jnp.einsum("bnd,bnd->bnd", x, y)
    explain = lambda f: lrp(f, composite, argnums=(0, 1))(X, other, target=started(727))
    close(explain(f), explain(lambda x, y: x * y))


def test_a_square_is_a_function_of_each_element():
    squares = lambda x: jnp.einsum("bnd,bnd->bnd", x, x)
    start = np.asarray(started(727)(jnp.zeros(X.shape)))
    assert [u.kind for u in plan(squares, None, X).units] == ["elementwise"]
    close(lrp(squares)(X, target=lambda _: jnp.asarray(start)), start)


def test_a_gram_matrix_of_one_value():
    """Both halves come back to the same input."""
    composite = Composite(product=rules.Uniform(EPSILON))
    f = lambda x: jnp.einsum("bnd,bmd->bnm", x, x)
    out = np.einsum("bnd,bmd->bnm", X, X)
    start = np.asarray(started(728)(jnp.asarray(out)))
    c = oracle.quotient(start, out, EPSILON) / 2
    expected = X * (np.einsum("bnm,bmd->bnd", c, X) + np.einsum("bnm,bnd->bmd", c, X))
    close(lrp(f, composite)(X, target=lambda _: jnp.asarray(start)), expected, rtol=1e-9)


def test_three_live_operands_are_two_products():
    """In the order in which einsum contracts them, which is written out here."""
    w = normal(D, D, seed=729)
    composite = Composite(
        product=rules.Uniform(EPSILON), attention=rules.Uniform(EPSILON), dense=rules.Zero()
    )
    f = lambda x: jnp.einsum("bnd,bmd,bme->bne", x @ w, x, x, optimize=[(0, 1), (0, 1)])
    g = lambda x: jnp.einsum("bnm,bme->bne", jnp.einsum("bnd,bmd->bnm", x @ w, x), x)
    relevances = jax.jit(lambda x: [lrp(h, composite)(x, target=started(730)) for h in (f, g)])(X)
    close(*relevances, rtol=1e-9)


def test_diagonals_and_traces():
    square = normal(D, D, seed=731)
    f = lambda x: jnp.einsum("ii->i", x @ square) + jnp.einsum("ii->", x)
    g = lambda x: jnp.diag(x @ square) + jnp.trace(x)
    exact = Composite(dense=rules.Zero(), pool=rules.Zero(), add=rules.Zero())
    x = normal(D, D, seed=732)
    close(*(lrp(h, exact)(x, target=started(733)) for h in (f, g)), rtol=1e-9)
