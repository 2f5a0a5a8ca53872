"""Relevance through local response normalisation, however it is written: against NumPy's matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from normalisation import formulas
from normalisation.comparing import agree, explain_all
from normalisation.forms import FAMILIES, FLOOR, GAMMA, REST, SIGNED, SUMS, gdn_layer
from normalisation.linear_programs import draw, matrix_of
from normalisation.lrn import BETA, SHAPE, inputs
from support.networks import normal

from lrpjax import Composite, PlanError, lrp, plan, rules

pytestmark = pytest.mark.usefixtures("x64")

X, R = inputs(), normal(*SHAPE, seed=2)

ONE_BY_ONE = "α1.5β0.5, uniform"
TAYLOR = {
    "ε": {},
    "ε, uniform": {"offset": "uniform", "epsilon": 0.01},
    "α2β1": {"alpha": 2.0, "beta": 1.0},
    ONE_BY_ONE: {"offset": "uniform", "alpha": 1.5, "beta": 0.5, "epsilon": 1e-3},
}
#: Sums whose elements are known one diagonal at a time; a matrix's are not.
DIAGONALS = ("windows", "slices", "spatial")


def expected(forms, relevance_of):
    flat = lambda layer: relevance_of(layer, X.ravel(), R.ravel()).reshape(SHAPE)
    return {name: flat(layer) for name, (_, layer) in forms.items()}


def check(forms, options):
    """Explain all forms with Taylor rules of these options, and compare."""
    functions = {name: f for name, (f, _) in forms.items()}
    made = {name: rules.Taylor(**given) for name, given in options.items()}
    each = {
        rule: expected(forms, lambda *args, given=given: formulas.taylor(*args, **given))
        for rule, given in options.items()
    }
    turned = {name: {rule: each[rule][name] for rule in options} for name in forms}
    agree(explain_all(functions, made, X, R), turned)


@pytest.mark.parametrize("family", SUMS)
def test_every_way_to_sum_gives_the_formulas_relevance(family):
    fitting = {n: o for n, o in TAYLOR.items() if family in DIAGONALS or n != ONE_BY_ONE}
    check(SUMS[family], fitting)


@pytest.mark.parametrize("family", REST)
def test_every_way_to_write_the_rest_gives_the_formulas_relevance(family):
    check(REST[family], {"ε": {}})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_formulas_are_the_functions_themselves(family):
    """So that the matrices are those of the forms."""
    for f, layer in FAMILIES[family].values():
        found = np.asarray(f(X))
        np.testing.assert_allclose(found.ravel(), layer.output(X.ravel()), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1, 4, 10, 17, 26])
def test_any_linear_program_may_stand_inside(seed):
    """Windows, cumulative sums, slices and scales after each other, with weights of both signs."""
    program = draw(seed)
    x, r = (normal(*program.shape, seed=seed + i) for i in (70, 71))
    matrix = matrix_of(program)
    assert (matrix != 0).any(1).all(), "no window is empty"
    k = 1.0 + max(0.0, -(np.minimum(matrix, 0) @ x.ravel() ** 2).min())
    f = lambda x: x / (k + program.function(x * x)) ** BETA
    layer = formulas.Layer(matrix, k, BETA)
    made = {name: rules.Taylor(**given) for name, given in TAYLOR.items()}
    found = explain_all({"f": f}, made, x, r)["f"]
    for name, given in TAYLOR.items():
        wanted = formulas.taylor(layer, x.ravel(), r.ravel(), **given).reshape(x.shape)
        agree({name: found[name]}, {name: wanted}, rtol=1e-9)


def test_other_rules_on_local_normalisations():
    """The normaliser held constant, scale and shift included; and the layer looked through."""
    forms = FAMILIES["constants"]
    made = {
        "constant": rules.ConstantNormaliser(),
        "constant, ε = 0.3": rules.ConstantNormaliser(0.3),
        "pass": rules.Pass(),
    }
    constant = expected(forms, formulas.constant_normaliser)
    larger = expected(forms, functools.partial(formulas.constant_normaliser, epsilon=0.3))
    each = {
        name: {"constant": constant[name], "constant, ε = 0.3": larger[name], "pass": R}
        for name in forms
    }
    agree(explain_all({name: f for name, (f, _) in forms.items()}, made, X, R), each)


def test_any_epsilon_alpha_and_beta():
    """Several at once, on a layer with a scale and a shift, which takes its share."""
    f, layer = FAMILIES["constants"]["scale and shift"]
    epsilons, alphas = np.array([0.0, 1e-9, 1e-3, 0.1, 2.0]), np.array([1.0, 1.5, 2.0, 4.0, 2.0])

    def explain(epsilon, alpha):
        by_epsilon, by_sign = rules.Taylor(epsilon=epsilon), rules.Taylor("center", epsilon, alpha)
        start = lambda y: jnp.asarray(R)
        return [
            lrp(f, Composite(normalisation=rule))(X, target=start) for rule in (by_epsilon, by_sign)
        ]

    found = jax.jit(jax.vmap(explain))(epsilons, alphas)
    for i, (epsilon, alpha) in enumerate(zip(epsilons, alphas, strict=True)):
        flat = (layer, X.ravel(), R.ravel(), "center", epsilon)
        agree(found[0][i].ravel(), formulas.taylor(*flat))
        agree(found[1][i].ravel(), formulas.taylor(*flat, alpha, alpha - 1))


def test_a_matrix_may_be_an_argument():
    """Trained weights are arguments of the program, not constants."""
    f = lambda w, k, x: x / jnp.sqrt(k + x**2 @ w)
    for matrix in (GAMMA, SIGNED):
        found = lrp(f, argnums=2)(matrix.T, FLOOR, X, target=lambda y: jnp.asarray(R))
        agree(np.asarray(found).ravel(), formulas.taylor(gdn_layer(matrix), X.ravel(), R.ravel()))


@pytest.mark.parametrize("family", ["matrices", "trained"])
def test_uniform_shares_by_sign_need_a_window(family):
    """Of a matrix the messages are never told apart one by one."""
    composite = Composite(normalisation=rules.Taylor("uniform", beta=1.0))
    for f, _ in FAMILIES[family].values():
        with pytest.raises(PlanError, match="local window"):
            plan(f, composite, X)
