"""The rules of products that are summed up, against the ε-rule for each operand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention.formulas import contraction
from normalisation.comparing import agree
from support import ledgers
from support.networks import close, normal

from lrpjax import Composite, PlanError, audit, lrp, plan, rules
from lrpjax.rewrite.contraction import contract
from lrpjax.trace import trace

SIZES = dict(zip("bhijkl", (2, 2, 3, 4, 5, 2), strict=True))
SUBSCRIPTS = (
    "ij,jk->ik",
    "ij,kj->ik",
    "ji,jk->ik",
    "ij,jk->ki",
    "bij,bjk->bik",
    "bijh,bkjh->bhik",
    "bhik,bkhj->bihj",
    "ijk,jkl->il",
    "ij,ij->i",
    "ij,ij->",
    "i,j->ij",
    "i,i->",
    "bi,bj->bij",
)
RULES = {
    "Uniform": (rules.Uniform(), (0.5, 0.5), 1e-6),
    "Uniform(0.1)": (rules.Uniform(0.1), (0.5, 0.5), 0.1),
    "SignalTakesAll": (rules.SignalTakesAll(), (0.5, 0.5), 1e-6),
    "ValueOnly(0.1)": (rules.ValueOnly(0.1), (0.5, 0.5), 0.1),
}
GATED = {
    "Uniform(0.1)": (rules.Uniform(0.1), (0.5, 0.5), 0.1),
    "SignalTakesAll(0.1)": (rules.SignalTakesAll(0.1), (0.0, 1.0), 0.1),
    "ValueOnly": (rules.ValueOnly(), (0.0, 1.0), 1e-6),
}

pytestmark = pytest.mark.usefixtures("x64")


def operands(subscripts):
    left, right, _ = subscripts.replace("->", ",").split(",")
    return [normal(*(SIZES[i] for i in of), seed=780 + n) for n, of in enumerate((left, right))]


def composite(rule):
    return Composite(product=rule, attention=rule, elementwise=rules.Pass())


def explain(f, rule, a, b):
    return lrp(f, composite(rule), argnums=(0, 1))(a, b, target=lambda y: 3 * y)


def test_each_operand_gets_its_share_of_every_output():
    """R_A = A ⊙ (R′ / 2S(O)) Bᵀ for any einsum of two."""

    @jax.jit
    def explained(each):
        return {
            subscripts: {
                name: explain(lambda a, b, s=subscripts: jnp.einsum(s, a, b), rule, a, b)
                for name, (rule, _, _) in RULES.items()
            }
            for subscripts, (a, b) in each.items()
        }

    each = {subscripts: operands(subscripts) for subscripts in SUBSCRIPTS}
    agree(jax.device_get(explained(each)), {s: shares(s, *ab, RULES) for s, ab in each.items()})


def shares(subscripts, a, b, cases):
    """By the formula: {rule: what a and b get of three times the output}."""
    r = 3 * np.einsum(subscripts, a, b)
    whole = {name: contraction(subscripts, a, b, r, eps) for name, (_, _, eps) in cases.items()}
    return {
        name: tuple(part * to for part, to in zip(parts, whole[name], strict=True))
        for name, (_, parts, _) in cases.items()
    }


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "bhik,bkhj->bihj"])
def test_a_gate_in_a_contraction(subscripts):
    """A matrix of sigmoids, as in sigmoid attention, on either side; the values get all."""
    a, b = operands(subscripts)
    gate = 1 / (1 + np.exp(-a))
    expected = shares(subscripts, gate, b, GATED)
    left, right, out = subscripts.replace("->", ",").split(",")

    @jax.jit
    def explained(a, b):
        first = lambda a, b: jnp.einsum(subscripts, jax.nn.sigmoid(a), b)
        last = lambda a, b: jnp.einsum(f"{right},{left}->{out}", b, jax.nn.sigmoid(a))
        return {
            name: [explain(f, rule, a, b) for f in (first, last)]
            for name, (rule, _, _) in GATED.items()
        }

    for name, pairs in explained(a, b).items():
        for to_gate, to_signal in pairs:
            close(to_signal, expected[name][1])
            if name == "Uniform(0.1)":
                close(to_gate, expected[name][0])
            else:
                assert not np.asarray(to_gate).any()


def test_an_operand_that_stands_on_both_sides_gets_both_shares():
    """x xᵀ, and x with itself in other layouts."""
    x, c = normal(3, 4, seed=790), normal(3, 3, seed=791)
    to_left, to_right = contraction("ij,jk->ik", x, x.T, (x @ x.T) * c)
    forms = {
        "x @ x.T": lambda x: x @ x.T,
        "einsum": lambda x: jnp.einsum("ij,kj->ik", x, x),
        "vmap": lambda x: jax.vmap(lambda row: jnp.einsum("j,kj->k", row, x))(x),
    }
    for name, f in forms.items():
        relevance = lrp(f, "attn_lrp")(x, target=lambda y: y * c)
        close(relevance, (to_left + to_right.T) / 2)
        assert [u.kind for u in plan(f, None, x).units if u.kind != "route"] == ["product"], name
    to_left, to_right = contraction("ij,ij->", x, x, (x * x).sum())
    close(lrp(lambda x: jnp.einsum("ij,ij->", x, x))(x), (to_left + to_right) / 2)


def test_two_filtered_signals():
    """A convolution of one dependent value with another: each output sums a_j b_{i-j}."""
    a, b = normal(6, seed=792), normal(3, seed=793)
    y = np.convolve(a, b)
    c = 3 * y / (y + 1e-6 * np.where(y < 0, -1, 1)) / 2
    messages = np.array(
        [[a[j] * b[i - j] if 0 <= i - j < 3 else 0 for j in range(6)] for i in range(8)]
    )
    others = np.array(
        [[a[i - j] * b[j] if 0 <= i - j < 6 else 0 for j in range(3)] for i in range(8)]
    )
    to_a, to_b = explain(jnp.convolve, rules.Uniform(), a, b)
    close(to_a, c @ messages)
    close(to_b, c @ others)


@pytest.mark.parametrize("name", RULES)
def test_relevance_is_conserved(name):
    f = lambda x: jnp.einsum("bij,bkj->bik", x[0], x[1])
    ledger = audit(f, composite(RULES[name][0]), normal(2, 2, 3, 4, seed=794))
    ledgers.check(ledger, 1e-12)
    (row,) = (row for row in ledger.rows if row.unit == "product")
    assert (abs(row.stabiliser) > 1e-3) == ("0.1" in name)


def test_rules_by_value_are_for_products_element_by_element():
    x = normal(3, 4, seed=795)
    for rule in (rules.Proportional(), rules.Absolute()):
        with pytest.raises(PlanError, match=r"element by element.*these fit") as raised:
            plan(lambda x: x @ x.T, Composite(product=rule), x)
        names = str(raised.value).rpartition("these fit: ")[2]
        assert sorted(names.split(", ")) == ["SignalTakesAll", "Stop", "Uniform", "ValueOnly"]
        with pytest.raises(PlanError, match="of kind attention"):
            attention = lambda x: jax.nn.softmax(x @ x.T) @ x
            plan(attention, Composite(attention=rule), x)


def test_zero_operands_make_no_nan():
    zeros = jnp.zeros((3, 4)), jnp.zeros((4, 2))
    for name, (rule, _, _) in RULES.items():
        relevance = lambda a, b, rule=rule: explain(jnp.matmul, rule, a, b)
        values, back = jax.vjp(relevance, *zeros)
        assert all(np.isfinite(v).all() for v in jax.tree.leaves((values, back(values)))), name


def test_weights_without_elements():
    """Heads of no width: a sum of nothing is zero."""
    x, w = jnp.ones((2, 0, 3)), jnp.ones((0, 3, 4))
    multiply = lambda x: jax.lax.dot_general(x, w, (((1, 2), (0, 1)), ((), ())))
    (core,) = trace(multiply, [x], [None], [0]).region.equations
    np.testing.assert_array_equal(contract(core, x, w), np.zeros((2, 4)))
