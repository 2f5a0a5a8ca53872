"""What only looks like a softmax is none: refused where no unit covers it, or of another kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.networks import normal
from support.planning import kinds

from lrpjax import UnsupportedPrimitiveError, plan

X, SQUARE, W = (normal(*shape, seed=750).astype(np.float32) for shape in ((3, 4), (4, 4), (4, 4)))


def over(e, total):
    return e / total[..., None]


REFUSED = {
    "x / sum(x)": lambda x: over(x, x.sum(-1)),
    "relu / sum": lambda x: over(jax.nn.relu(x), jax.nn.relu(x).sum(-1) + 1e-6),
    "softplus / sum": lambda x: over(jax.nn.softplus(x), jax.nn.softplus(x).sum(-1)),
    "the sum of another's exponentials": lambda x: over(jnp.exp(x), jnp.exp(x @ W).sum(-1)),
    "another function over the sum": lambda x: over(jnp.exp(x) ** 2, jnp.exp(x).sum(-1)),
    "another temperature": lambda x: over(jnp.exp(2 * x), jnp.exp(x).sum(-1)),
    "another shift": lambda x: over(jnp.exp(x - 3.0), jnp.exp(x - 2.0).sum(-1)),
    "a shift above alone": lambda x: over(jnp.exp(x - 1.0), jnp.exp(x).sum(-1)),
    "the sum and one": lambda x: over(jnp.exp(x), 1 + jnp.exp(x).sum(-1)),
    "a weighted sum": lambda x: over(jnp.exp(x), (jnp.exp(x) * jnp.arange(4.0)).sum(-1)),
    "the sum of some": lambda x: over(jnp.exp(x), jnp.exp(x[..., :2]).sum(-1)),
    "the running sum": lambda x: jnp.exp(x) / jnp.cumsum(jnp.exp(x), -1),
    "the largest": lambda x: over(jnp.exp(x), jnp.exp(x).max(-1)),
    "the norm": lambda x: over(jnp.exp(x), jnp.sqrt((jnp.exp(x) ** 2).sum(-1))),
    "the sum of -x": lambda x: over(jnp.exp(-x), jnp.exp(x).sum(-1)),
    "in another order": lambda x: over(jnp.exp(x)[..., ::-1], jnp.exp(x).sum(-1)),
    "masked above alone": lambda x: over(jnp.exp(x), jnp.where(X > 0, jnp.exp(x), 0).sum(-1)),
}
#: On as many rows as columns, where shapes don't tell them apart.
SQUARE_REFUSED = {
    "the sums of the rows below the columns": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1),
    "the sums of the columns beside the rows": lambda x: over(jnp.exp(x), jnp.exp(x).sum(0)),
    "the transpose over the sums of the rows": lambda x: over(jnp.exp(x).T, jnp.exp(x).sum(-1)),
    "times a reciprocal of another axis": lambda x: jnp.exp(x) * (1 / jnp.exp(x).sum(-1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_softmax_does_not_become_one(name):
    with pytest.raises(UnsupportedPrimitiveError, match=r"div"):
        plan(REFUSED[name], None, X)


@pytest.mark.parametrize("name", SQUARE_REFUSED)
def test_a_sum_along_another_axis_makes_none(name):
    try:
        assert "softmax" not in kinds(SQUARE_REFUSED[name], SQUARE)
    except UnsupportedPrimitiveError as error:
        assert error.primitive == "div"


@pytest.mark.parametrize("name", ["rows", "columns"])
def test_on_a_square_each_axis_is_its_own(name):
    """The counterparts of what is refused above."""
    f = {
        "rows": lambda x: over(jnp.exp(x), jnp.exp(x).sum(-1)),
        "columns": lambda x: jnp.exp(x) / jnp.exp(x).sum(0),
    }[name]
    assert kinds(f, SQUARE) == ["softmax"]


def test_a_shift_along_the_axis_is_no_part_of_it():
    """The largest of each column, or of each row at the places of the columns."""
    for shift in (lambda x: x.max(0), lambda x: x.max(-1)):
        found = kinds(lambda x, shift=shift: jax.nn.softmax(x - shift(x)), SQUARE)
        assert found == ["max", "add", "softmax"]


ELEMENTWISE = {
    "sigmoid": jax.nn.sigmoid,
    "1 / (1 + exp(-x))": lambda x: 1 / (1 + jnp.exp(-x)),
    "exp(x) / (1 + exp(x))": lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
    "exp(x) / exp(x)": lambda x: jnp.exp(x) / jnp.exp(x),
    "exp(x - log(exp(x) + 1))": lambda x: jnp.exp(x - jnp.log(jnp.exp(x) + 1)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_function_of_each_element_alone_is_elementwise(name):
    assert kinds(ELEMENTWISE[name], X) == ["elementwise"]


OTHERS = {
    "its logarithm": jax.nn.log_softmax,
    "times the sum": lambda x: jnp.exp(x) * jnp.exp(x).sum(-1, keepdims=True),
    "times a root of the sum": lambda x: jnp.exp(x) * jnp.exp(x).sum(-1, keepdims=True) ** -0.5,
    "over a stopped sum": lambda x: over(jnp.exp(x), lax.stop_gradient(jnp.exp(x)).sum(-1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_sums_and_products_of_exponentials_are_what_they_are(name):
    assert "softmax" not in kinds(OTHERS[name], X)
