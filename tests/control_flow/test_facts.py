"""What is known of a value that goes round a loop holds in every round, not only in the first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from control_flow.programs import EXACT, B, U, W, X, both, unrolled
from jax import lax
from support.networks import close, conv, normal

from lrpjax import Composite, plan, rules

KERNEL, OTHER = normal(3, 3, 2, 2, seed=620), normal(3, 3, 2, 2, seed=621)
IMAGES = normal(2, 4, 4, 2, seed=622)
relu = jax.nn.relu


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def rounds(f, scan, x, count=3):
    return scan(lambda c, _: (f(c), None), x, None, length=count)[0]


# ---------------------------------------------------------------- signs


def not_negative_at_first(scan, x):
    return rounds(lambda c: jnp.tanh(conv(c, KERNEL)), scan, relu(x))


def not_negative_for_two_rounds(scan, x):
    def body(c, _):
        a, b = c
        return (b, jnp.tanh(conv(a, KERNEL) + b)), None

    return scan(body, (relu(x), jnp.abs(x)), None, length=4)[0]


def negative_from_the_second_outer_round(scan, x):
    inner = lambda c: rounds(lambda c: relu(conv(c, KERNEL)), scan, c, 2)
    return rounds(lambda c: conv(inner(c), OTHER), scan, relu(x), 2)


def negative_in_one_branch(scan, x):
    """Which is taken in the second round only."""

    def branches(i, c):
        choices = (lambda c: relu(c) + 0.1, lambda c: jnp.tanh(c) - 0.2)
        z = conv(c, KERNEL)
        if scan is lax.scan:
            return lax.cond(i == 0, *choices, z)
        return choices[i](z)

    body = lambda c, i: (branches(i, c), None)
    return scan(body, relu(x), np.arange(2) if scan is unrolled else jnp.arange(2))[0]


def never_negative(scan, x):
    return rounds(lambda c: relu(conv(c, KERNEL)), scan, relu(x))


def slices_that_are_not_negative(scan, x):
    body = lambda c, a: (c + conv(a, KERNEL), relu(c))
    c, ys = scan(body, x, relu(jnp.stack([x, -x])))
    return c, conv(ys[0], OTHER)


#: Whether the inputs of the convolutions are known not to be negative, in the order of the plan.
SIGNED = {
    not_negative_at_first: [False],
    not_negative_for_two_rounds: [False],
    negative_from_the_second_outer_round: [False, True],  # the inner loop ends with a relu
    negative_in_one_branch: [False],
    never_negative: [True],
    slices_that_are_not_negative: [True, True],
}


@pytest.mark.parametrize("f", SIGNED, ids=lambda f: f.__name__.replace("_", " "))
def test_a_sign_is_known_where_it_holds_in_every_round(f):
    """z⁺ leaves x⁻W⁻ out where x is not negative: wrong, were it negative in a later round."""
    looped, plain = (lambda x: f(lax.scan, x)), (lambda x: f(unrolled, x))
    planned = plan(looped, "epsilon_plus", IMAGES).units
    convolutions = [u for u in planned if u.kind == "conv"]
    assert [u.spec.nonnegative for u in convolutions] == SIGNED[f]
    close(*both(looped, plain, "epsilon_plus", IMAGES), rtol=1e-9)


def test_the_numbers_would_tell():
    """In the programs above, negative values do reach the convolution in a later round."""
    z = np.asarray(conv(relu(IMAGES), KERNEL))
    assert np.tanh(z).min() < -0.5
    inner = relu(conv(relu(conv(relu(IMAGES), KERNEL)), KERNEL))
    assert np.asarray(conv(inner, OTHER)).min() < -0.5
    assert np.tanh(conv(relu(conv(relu(IMAGES), KERNEL)) + 0.1, KERNEL)).min() - 0.2 < -0.5


# ---------------------------------------------------------------- constants


def padding_that_is_zero_at_first(scan, x):
    """Zero padding folds into a convolution; a later round pads with one."""

    def body(c, _):
        fill, h = c
        wide = lax.pad(h, fill, [(0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0)])
        return (fill + 1.0, jnp.tanh(conv(wide, KERNEL, padding="VALID"))), None

    return scan(body, (0.0, x), None, length=3)[0][1]


def a_scale_that_varies_later(scan, x):
    """One of each output feature folds into the weights; later it is one of rows."""

    def body(c, _):
        s, h = c
        return (s + normal(4, 1, seed=623), jnp.tanh((h @ W) * s)), None

    return scan(body, (jnp.ones((4, 1)), x), None, length=3)[0][1]


def a_shift_that_is_zero_at_first(scan, x):
    def body(c, _):
        b, h = c
        return (b + B, jnp.tanh(h @ W + b)), None

    return scan(body, (jnp.zeros(3), x), None, length=3)[0][1]


CONSTANTS = {
    padding_that_is_zero_at_first: IMAGES,
    a_scale_that_varies_later: X,
    a_shift_that_is_zero_at_first: X,
}


@pytest.mark.parametrize("f", CONSTANTS, ids=lambda f: f.__name__.replace("_", " "))
def test_a_constant_of_the_first_round_is_none(f):
    composite = Composite(conv=rules.Zero(), dense=rules.Zero(), shift=rules.Zero())
    looped, plain = (lambda x: f(lax.scan, x)), (lambda x: f(unrolled, x))
    close(*both(looped, plain, composite, CONSTANTS[f]), rtol=1e-9)


# ---------------------------------------------------------------- dependence


def test_what_no_round_reaches_stays_constant():
    """A carry that never sees the input is computed and has no unit."""

    def f(x):
        def body(c, a):
            k, h = c
            return (jnp.tanh(k @ W), jnp.tanh(h @ U + a) * k), None

        return lax.scan(body, (jnp.ones(3), x[0]), x)[0][1]

    kinds = [u.kind for u in plan(f, None, X).units if u.kind != "route"]
    assert kinds == ["dense", "add", "elementwise", "scale"]


def test_a_carry_that_only_predicates_read_needs_no_rule():
    """No unit covers cumprod."""

    def f(scan, x):
        def body(c, a):
            h, s = c
            return (jnp.where(s > 0, h @ W + a @ U, h), lax.cumprod(s * a)), None

        return scan(body, (x[0], x[1]), x)[0][0]

    close(*both(lambda x: f(lax.scan, x), lambda x: f(unrolled, x), EXACT, X), rtol=1e-9)
