"""Where relevance goes in networks with normalisations: ledgers, and values that others read."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from normalisation import forms, formulas, layers, lrn, sums
from normalisation.comparing import agree
from support.ledgers import check
from support.networks import normal
from support.planning import kinds

from lrpjax import Composite, audit, lrp, rules, targets

#: One form of every family, those with a scale, shift or matrix among them.
SAMPLE = {
    name: family[name][0]
    for family, name in (
        (sums.WINDOWS, "average pooling of what there is"),
        (sums.CUMULATIVE, "cumsum"),
        (sums.MATRICES, "banded matrix"),
        (sums.SLICES, "loop of slices"),
        (sums.SPATIAL, "window of what came before"),
        (forms.TRAINED, "GDN"),
        (forms.CONSTANTS, "scale and shift"),
        (forms.CONSTANTS, "scale in the normaliser"),
    )
}
LOCAL_RULES = {
    "ε": rules.Taylor(epsilon=0.1),
    "uniform": rules.Taylor("uniform"),
    "αβ": rules.Taylor(beta=1.0),
    "constant": rules.ConstantNormaliser(0.1),
    "pass": rules.Pass(),
}


def together(functions):
    """One function with all of their outputs."""
    return lambda x: {name: f(x) for name, f in functions.items()}


def started(seed):
    """Relevance of both signs at every output."""
    draw = lambda y: jnp.asarray(normal(*y.shape, seed=seed), y.dtype)
    return lambda outputs: jax.tree.map(draw, outputs)


@pytest.mark.parametrize("rule", LOCAL_RULES)
def test_the_ledger_closes_on_local_normalisations(rule, x64):
    composite = Composite(normalisation=LOCAL_RULES[rule])
    ledger = audit(together(SAMPLE), composite, lrn.inputs(seed=70), target=started(71))
    assert [row.unit for row in ledger.rows].count("normalisation") == len(SAMPLE)
    check(ledger, 1e-12)
    shifted = [row for row in ledger.rows if abs(row.bias) > 1e-3]
    assert len(shifted) == (0 if rule == "pass" else 2)


@pytest.mark.parametrize("family", ["linen", "by hand"])
def test_the_ledger_closes_on_normalisations_over_whole_axes(family, x64):
    functions = {name: f for name, (f, _) in layers.FAMILIES[family]().items()}
    x = normal(*layers.SHAPE, seed=72)
    for rule in (rules.ConstantNormaliser(0.1), rules.Taylor(epsilon=0.1)):
        ledger = audit(together(functions), Composite(normalisation=rule), x, target=started(73))
        check(ledger, 1e-12)
        assert max(abs(row.bias) for row in ledger.rows) > 0.1


def test_the_ledger_closes_in_single_precision():
    x = lrn.inputs(seed=74).astype(np.float32)
    for rule in ("ε", "αβ"):
        composite = Composite(normalisation=LOCAL_RULES[rule])
        check(audit(together(SAMPLE), composite, x, target=started(75)), 1e-6)
    centred = {"LayerNorm": layers.by_variance, "fast": layers.by_squares}
    check(audit(together(centred), None, x, target=started(76)), 1e-6)


def test_relevance_is_conserved_without_shifts(x64):
    """What ε does not take arrives: by the ε form, the αβ form, and through LayerNorm."""
    x = normal(*lrn.SHAPE, seed=77)
    for rule in (rules.Taylor(epsilon=0.0), rules.Taylor("uniform", epsilon=0.0)):
        ledger = audit(lrn.lrn, Composite(normalisation=rule), x, target=started(78))
        assert ledger.inputs == pytest.approx(ledger.start, rel=1e-9)
    for rule in (rules.ConstantNormaliser(0.0), rules.Taylor(epsilon=0.0)):
        composite = Composite(normalisation=rule)
        ledger = audit(layers.by_variance, composite, x, target=targets.all_outputs())
        assert ledger.inputs == pytest.approx(ledger.start, rel=1e-9)


def test_alpha_and_beta_that_do_not_conserve_are_accounted_for(x64):
    """Traced, so that no one could check them: α − β = 2."""
    x = normal(*lrn.SHAPE, seed=79)

    @jax.jit
    def relevance(alpha):
        rule = rules.Taylor(alpha=alpha, beta=1.0)
        return lrp(lrn.lrn, Composite(normalisation=rule))(x, target=started(80))

    one, two = relevance(2.0), relevance(3.0)
    assert np.isfinite(two).all() and np.abs(two - one).max() > 1e-3


# ---------------------------------------------------------------- inner values used elsewhere

X, R = normal(*layers.SHAPE, seed=81), normal(*layers.SHAPE, seed=82)
LAYER = layers.PLAIN
AVERAGE = LAYER.mean
FLAT, START = X.ravel(), R.ravel()


def by_pool(matrix, x, r):
    """The ε-rule on a sum or mean."""
    return oracle.epsilon(oracle.Affine(matrix, np.zeros(len(matrix)), matrix), x, r)


def given(f, *starts):
    """Relevance of X where outputs start with these."""
    start = lambda y: jax.tree.unflatten(
        jax.tree.structure(y),
        [jnp.asarray(s.reshape(l.shape)) for s, l in zip(starts, jax.tree.leaves(y), strict=True)],
    )
    return np.asarray(lrp(f)(X, target=start)).ravel()


def test_a_mean_that_is_added_back(x64):
    def f(x):
        average, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - average) / jnp.sqrt(variance + layers.E) + average

    assert sorted(kinds(f, X)) == ["add", "normalisation", "pool"]
    normalised, average = LAYER.output(FLAT), AVERAGE @ FLAT
    first, second = oracle.add_epsilon([normalised, average], START)
    # Eight outputs of the sum share one mean; the ε-rule divides by it once.
    rows = AVERAGE[:: layers.C]
    shared = second.reshape(-1, layers.C).sum(1)
    expected = formulas.constant_normaliser(LAYER, FLAT, first) + by_pool(rows, FLAT, shared)
    agree(given(f, START), expected)
    check(audit(f, None, X, target=targets.all_outputs()), 1e-12)


def test_a_sum_of_squares_that_is_an_output_too(x64):
    layer = lrn.LRN

    def f(x):
        total = lrn.neighbours(x * x)
        return x / (lrn.K + lrn.A * total) ** lrn.BETA, total

    assert sorted(kinds(f, X)) == ["elementwise", "normalisation", "pool"]
    second = normal(*layers.SHAPE, seed=83).ravel()
    expected = formulas.taylor(layer, FLAT, START) + by_pool(lrn.BAND, FLAT**2, second)
    agree(given(f, START, second), expected)
    check(audit(f, None, X, target=started(84)), 1e-12)


def test_a_centred_value_that_is_an_output_too(x64):
    def f(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * (jnp.mean(centred**2, -1, keepdims=True) + layers.E) ** -0.5, centred

    assert sorted(kinds(f, X)) == ["add", "normalisation", "pool"]
    second = normal(*layers.SHAPE, seed=85).ravel()
    shares = oracle.add_epsilon([FLAT, -(AVERAGE @ FLAT)], second)
    rows, shared = AVERAGE[:: layers.C], shares[1].reshape(-1, layers.C).sum(1)
    expected = formulas.constant_normaliser(LAYER, FLAT, START) + shares[0]
    agree(given(f, START, second), expected + by_pool(rows, FLAT, shared))
    check(audit(f, None, X, target=started(86)), 1e-12)


def test_two_layers_that_share_a_sum_of_squares(x64):
    """Divided by its root, and by itself: two units, one sum."""
    layer = lrn.LRN

    def f(x):
        d = lrn.K + lrn.A * lrn.neighbours(x * x)
        return x / d**lrn.BETA, x * SCALE / d

    assert kinds(f, X).count("normalisation") == 2
    second = normal(*layers.SHAPE, seed=87).ravel()
    other = formulas.Layer(layer.sums, layer.k, 1.0, layers.every(SCALE))
    expected = formulas.taylor(layer, FLAT, START) + formulas.taylor(other, FLAT, second)
    agree(given(f, START, second), expected)
    check(audit(f, None, X, target=started(88)), 1e-12)


SCALE = 1.0 + normal(layers.C, seed=89) ** 2


# ---------------------------------------------------------------- sums laid out otherwise than x

SIZE = 6
TURN = np.eye(SIZE * SIZE)[np.arange(SIZE * SIZE).reshape(SIZE, SIZE).T.ravel()]
NEAR = formulas.along((SIZE, SIZE), {1: formulas.window(SIZE, 1, 1)})
SQUARE = normal(SIZE, SIZE, seed=90)
SQUARE_START = normal(SIZE, SIZE, seed=91)
POSITIVE = normal(SIZE, SIZE, seed=92) ** 2
row = lambda u: lrn.neighbours(u, (1, 3))
ROWS = formulas.along((SIZE, SIZE), {1: formulas.full(SIZE)})
MIXED = formulas.along((SIZE, SIZE), {1: POSITIVE.T})

#: x / √(2 + the sum), and L.
TURNED = {
    "the squares are transposed": (lambda x: row(x.T * x.T), NEAR @ TURN),
    "the sum is transposed": (lambda x: row(x * x).T, TURN @ NEAR),
    "both are": (lambda x: row(x.T * x.T).T, TURN @ NEAR @ TURN),
    "rows on columns": (lambda x: (x * x).sum(1), TURN @ ROWS),
    "rows and columns": (
        lambda x: (x * x).sum(1, keepdims=True) + (x * x).sum(0, keepdims=True),
        ROWS + formulas.along((SIZE, SIZE), {0: formulas.full(SIZE)}),
    ),
    "along the flat array": (
        lambda x: row((x * x).reshape(4, 9)).reshape(SIZE, SIZE),
        formulas.along((4, 9), {1: formulas.window(9, 1, 1)}),
    ),
    "a window of a matrix": (lambda x: row(x * x @ POSITIVE), NEAR @ MIXED),
    "a matrix of a window": (lambda x: row(x * x) @ POSITIVE, MIXED @ NEAR),
    "a matrix of a matrix": (lambda x: x * x @ POSITIVE @ POSITIVE, MIXED @ MIXED),
    "blocks": (
        lambda x: jnp.repeat((x * x).reshape(SIZE, 2, 3).sum(-1), 3, axis=1),
        formulas.along((SIZE, SIZE), {1: formulas.blocks(SIZE, 2)}),
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_sum_in_another_layout_is_explained_rightly_or_not_by_taylor(name, x64):
    """The constant normaliser always fits; Taylor where it knows what an element counts itself."""
    total, matrix = TURNED[name]
    f = lambda x: x / jnp.sqrt(2 + total(x))
    layer = formulas.Layer(matrix, 2.0, 0.5)
    x, r = SQUARE.ravel(), SQUARE_START.ravel()
    agree(np.asarray(f(SQUARE)).ravel(), layer.output(x))

    def explain(rule):
        explained = lrp(f, Composite(normalisation=rule))
        return np.asarray(explained(SQUARE, target=lambda y: jnp.asarray(SQUARE_START))).ravel()

    agree(explain(rules.ConstantNormaliser()), formulas.constant_normaliser(layer, x, r))
    for rule, options in ((rules.Taylor(), {}), (rules.Taylor("uniform"), {"offset": "uniform"})):
        try:
            found = explain(rule)
        except ValueError as refused:
            assert "Taylor has no expansion here" in str(refused)
        else:
            agree(found, formulas.taylor(layer, x, r, **options))
