"""Primitives no unit covers: the error that names them, and saying what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.networks import close, normal

import lrpjax
from lrpjax import Composite, UnsupportedPrimitiveError, audit, lrp, plan, register_rule, rules
from lrpjax import primitives as table

X = normal(2, 4, seed=170)
W = normal(4, 4, seed=171)
TRIANGLE = np.tril(normal(4, 4, seed=172)) + 2.0 * np.eye(4)


@pytest.fixture(autouse=True)
def _own_registry(x64, monkeypatch):
    """Register for one test only, in double precision."""
    monkeypatch.setattr(table, "_registered", dict(table._registered))


def solve(x):
    """Linear in x: its primitive is triangular_solve."""
    return jax.scipy.linalg.solve_triangular(TRIANGLE, x.T, lower=True).T


def incomplete_gamma(x):
    """A function of each element: its primitive is igamma."""
    return lax.igamma(jnp.full_like(x, 2.0), jnp.abs(x))


def largest_two(x):
    """Takes elements: its primitive is approx_top_k."""
    return lax.approx_max_k(x, 2)[0]


def product(x):
    return lax.cumprod(x, axis=1)


# ---------------------------------------------------------------- the error


def unknown(f, *args, composite=None):
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        plan(f, composite, *args)
    with pytest.raises(UnsupportedPrimitiveError):
        lrp(f, composite)(*args)
    return caught.value


def a_while_loop(x):
    return lax.while_loop(lambda c: c.sum() < 100, lambda c: 2.0 * c, jnp.abs(x))


UNKNOWN = {
    "quotient": ("div", lambda x: x / (1.0 + jnp.abs(x[:, ::-1]))),
    "while": ("while", a_while_loop),
    "in a branch": (
        "cumprod",
        lambda x: lax.cond(x[0, 0] > 0, lambda x: lax.cumprod(x, axis=1), jnp.sin, x),
    ),
    "in a loop": ("cumprod", lambda x: lax.map(lambda row: lax.cumprod(row, axis=0), x)),
    "cumprod": ("cumprod", product),
    "triangular_solve": ("triangular_solve", solve),
    "approximate maxima": ("approx_top_k", largest_two),
    "igamma": ("igamma", incomplete_gamma),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_the_error_names_the_primitive_the_line_and_the_remedies(name):
    primitive, f = UNKNOWN[name]
    error = unknown(lambda x: jnp.tanh(f(x @ W)), X)
    assert error.primitive == primitive
    assert "test_primitives.py" in error.source
    remedies = () if primitive == "while" else ("register_rule", "unsupported=")
    for part in (f"'{primitive}'", error.layer, error.source, "stop_gradient", *remedies):
        assert part in str(error)


@pytest.mark.smoke
def test_the_error_names_the_layer():
    p = {"encoder": {"dense": {"kernel": W}}}
    error = unknown(lambda x, p: product(x @ p["encoder"]["dense"]["kernel"]), X, p)
    assert error.layer.startswith("encoder/dense")

    def scoped(x):
        with jax.named_scope("gate"):
            return product(x)

    assert unknown(scoped, X).layer.startswith("gate")


def test_the_error_names_the_line_itself():
    def f(x):
        y = jnp.tanh(x)
        return y / y[:, ::-1]  # the line that is meant

    line = f.__code__.co_firstlineno + 2
    assert f":{line}" in unknown(f, X).source


def test_a_loop_of_unknown_length_gets_the_alternative():
    message = str(unknown(a_while_loop, X))
    assert "scan" in message and "fori_loop" in message and "trip count" in message


def test_quotients_say_what_they_divide_by():
    assert "divides by" in str(unknown(lambda x: x / x[:, ::-1], X))


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, jax.vmap])
def test_unknown_primitives_inside_calls_are_found(wrap):
    error = unknown(lambda x: wrap(lambda y: lax.cumprod(y, axis=0))(x), X)
    assert error.primitive == "cumprod"


def test_a_composites_patterns_and_rules_do_not_hide_them():
    everything = Composite(layers={"*": rules.Epsilon()}, first=rules.Flat(), last=rules.Flat())
    unknown(lambda x: lax.cumprod(x @ W, axis=1) @ W, X, composite=everything)


# ---------------------------------------------------------------- where no relevance passes

HARMLESS = {
    "of constants": lambda x: x @ lax.cumprod(jnp.asarray(W), axis=0),
    "a loop over constants": lambda x: x @ lax.fori_loop(0, 3, lambda i, w: w @ W, jnp.asarray(W)),
    "behind a stop": lambda x: x @ W + lax.stop_gradient(lax.cumprod(x, axis=1)),
    "of a stopped value": lambda x: x @ W + lax.cumprod(lax.stop_gradient(x), axis=1),
    "in a predicate": lambda x: jnp.where(lax.cumprod(x, axis=1) > 0, x @ W, 0.0),
    "in an index": lambda x: x @ W + jnp.asarray(W)[jnp.argmax(jax.nn.softmax(x), -1)],
    "unused": lambda x: (lax.cumprod(x, axis=1), x @ W)[1],
    "a loop over stopped values": lambda x: x @ W + a_while_loop(lax.stop_gradient(x)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_off_the_paths_of_relevance_any_primitive_will_do(name):
    f = HARMLESS[name]
    relevance = lrp(f, Composite(add=rules.Zero(), dense=rules.Zero()))(X, target=1)
    assert np.isfinite(relevance).all() and np.abs(relevance).max() > 0
    if name in ("of constants", "a loop over constants", "unused"):
        gradient = jax.grad(lambda x: f(x)[:, 1].sum())(X)
        close(relevance, X * gradient, rtol=1e-8)


def test_in_aux_too():
    f = lambda x: (x @ W, lax.cumprod(x, axis=1))
    relevance, aux = lrp(f, has_aux=True)(X)
    close(aux, np.cumprod(X, 1))
    assert np.isfinite(relevance).all()


# ---------------------------------------------------------------- opting into the generic rule


def generic(f, x, start, epsilon=1e-6):
    """x ⊙ VJP(R′ / S(y))."""
    y, pullback = jax.vjp(f, x)
    return np.asarray(x * pullback(start / (y + epsilon * np.where(y >= 0, 1, -1)))[0])


@pytest.mark.parametrize("name", ["cumprod", "triangular_solve", "igamma"])
def test_the_generic_rule_is_x_times_the_vjp(name):
    _, f = UNKNOWN[name]
    start = normal(*jax.eval_shape(f, X).shape, seed=173)
    explained = lrp(f, Composite(unsupported=rules.Epsilon(1e-3)))
    close(explained(X, target=lambda _: start), generic(f, X, start, 1e-3))


def test_the_generic_rule_is_flagged_in_the_plan_and_closes_in_the_ledger():
    composite = Composite(unsupported=rules.Epsilon())
    text = str(plan(product, composite, X))
    assert "cumprod" in text and "unsupported" in text and "fallback" in text
    assert "unbounded" in text
    ledger = audit(product, composite, X)
    assert ledger.error < 1e-12


def test_the_generic_rule_may_be_stop():
    f = lambda x: x @ W + product(x)
    ledger = audit(f, Composite(unsupported=rules.Stop(), add=rules.Zero()), X, target=0)
    row = next(row for row in ledger.rows if row.unit == "unsupported")
    expected = (np.cumprod(X, 1))[:, 0].sum()
    assert row.stopped == pytest.approx(expected) and row.relevance_out == 0


# ---------------------------------------------------------------- registering


def test_a_linear_primitive_becomes_a_pool_with_its_matrix():
    register_rule("triangular_solve", "linear")
    (unit,) = [u for u in plan(solve, None, X).units if u.kind != "route"]
    assert unit.kind == "pool"
    start = normal(2, 4, seed=174)
    inverse = np.linalg.inv(TRIANGLE)
    y = X @ inverse.T
    expected = X * ((start / (y + 1e-6 * np.sign(y))) @ inverse)
    close(lrp(solve)(X, target=lambda _: start), expected, rtol=1e-9)


def test_signed_rules_do_not_fit_a_linear_primitive_of_unknown_signs():
    register_rule("triangular_solve", "linear")
    with pytest.raises(lrpjax.PlanError, match="sign"):
        lrp(solve, Composite(pool=rules.ZPlus()))(X)


def test_an_elementwise_primitive_passes_relevance_on():
    register_rule("igamma", "elementwise")
    start = normal(2, 4, seed=175)
    found = plan(incomplete_gamma, None, X).units
    assert [u.kind for u in found] == ["elementwise"]
    close(lrp(incomplete_gamma)(X, target=lambda _: start), start)


def test_a_route_follows_its_vjp():
    register_rule("approx_top_k", "route")
    x = np.array([[1.0, 4.0, 2.0, 3.0], [-1.0, -4.0, -2.0, -3.0]])
    relevance = lrp(largest_two)(x, target=lambda out: out)
    close(relevance, np.array([[0.0, 4.0, 0.0, 3.0], [-1.0, 0.0, -2.0, 0.0]]))
    assert {u.kind for u in plan(largest_two, None, x).units} == {"route"}
    assert audit(largest_two, None, x, target=lambda out: out).absorbed == 0


def test_a_stop_ends_relevance():
    register_rule("cumprod", "stop")
    f = lambda x: x @ W + product(x)
    composite = Composite(add=rules.Zero(), dense=rules.Zero())
    close(lrp(f, composite)(X, target=1), X * W[:, 1])
    assert sum(row.stopped for row in audit(f, composite, X, target=1).rows) == pytest.approx(
        np.cumprod(X, 1)[:, 1].sum()
    )


def test_a_function_of_ones_own():
    """Everything to the first factor: R = R′ summed from the end."""
    seen = []

    def rule(relevance, inputs, outputs, params):
        seen.append((len(inputs), outputs.shape, params["axis"]))
        return relevance * (inputs[0] ** 2) / (1.0 + outputs**2)

    register_rule("cumprod", rule)
    start = normal(2, 4, seed=176)
    expected = start * X**2 / (1.0 + np.cumprod(X, 1) ** 2)
    close(lrp(product)(X, target=lambda _: start), expected)
    assert seen[0] == (1, (2, 4), 1)
    assert [type(u.rule).__name__ for u in plan(product, None, X).units] == ["Registered"]
    ledger = audit(product, None, X, target=lambda _: start)
    assert ledger.error < 1e-12 and ledger.inputs == pytest.approx(expected.sum())


def test_a_function_shares_among_all_operands():
    def halves(relevance, inputs, outputs, params):
        assert len(inputs) == 2
        return [relevance / 2, relevance / 2]

    register_rule("igamma", halves)
    f = lambda x: lax.igamma(1.0 + x[:, :2] ** 2, 1.0 + jnp.abs(x[:, 2:]))
    start = normal(2, 2, seed=177)
    relevance = lrp(f, Composite(elementwise=rules.Pass()))(X, target=lambda _: start)
    close(relevance, np.concatenate([start / 2, start / 2], 1))


def test_none_gives_an_operand_nothing():
    register_rule("igamma", lambda relevance, inputs, outputs, params: [None, relevance])
    f = lambda x: lax.igamma(1.0 + x[:, :2] ** 2, 1.0 + jnp.abs(x[:, 2:]))
    start = normal(2, 2, seed=178)
    relevance = lrp(f, Composite(elementwise=rules.Pass()))(X, target=lambda _: start)
    close(relevance, np.concatenate([np.zeros((2, 2)), start], 1))


def test_a_primitive_itself_may_be_given():
    register_rule(lax.cumprod_p, "stop")
    with pytest.raises(lrpjax.PlanError, match="does not depend"):
        lrp(product)(X)


def test_registering_takes_effect_at_once():
    """Also for a function whose explanation was compiled before."""
    start = np.ones((2, 4))
    explain = lambda: np.asarray(lrp(product)(X, target=lambda _: start))
    with pytest.raises(UnsupportedPrimitiveError):
        explain()
    register_rule("cumprod", lambda relevance, *_: relevance)
    close(explain(), start)
    register_rule("cumprod", lambda relevance, *_: 2.0 * relevance)
    close(explain(), 2.0 * start)


@pytest.mark.parametrize("kind", ["Linear", "product", "", None, 3])
def test_other_kinds_are_refused(kind):
    with pytest.raises(ValueError, match="linear"):
        register_rule("cumprod", kind)


def test_a_relevance_function_answers_for_every_operand():
    register_rule("atan2", lambda relevance, inputs, outputs, params: [relevance])
    with pytest.raises(lrpjax.PlanError, match=r"'atan2'.*2 of them.*got 1"):
        lrp(lambda x: jnp.arctan2(x, x[::-1]))(np.ones(3, np.float32))
