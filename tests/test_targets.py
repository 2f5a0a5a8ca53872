"""Where relevance starts: every target against NumPy.

The model is the identity, so that the relevance of its input is the start itself.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import close, normal

from lrpjax import PlanError, lrp, rules, targets

SHAPES = [(4,), (3, 4), (2, 3, 4)]


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


identity = lrp(lambda x: x)


# ---------------------------------------------------------------- the formulas, for one position


def logit(z, t):
    return np.where(np.arange(z.size) == t, z, 0.0)


def one_hot(z, t):
    return np.where(np.arange(z.size) == t, 1.0, 0.0)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def softmax_gradient(z, t):
    p = softmax(z)
    return np.array([p[t] * (1 - p[t]) if n == t else -p[t] * p[n] for n in range(z.size)])


def contrastive(z, t):
    return np.array([z[t] if n == t else -z[t] / (z.size - 1) for n in range(z.size)])


def log_odds(z, t):
    """z ⊙ ∂η/∂z with the derivative taken by central differences of η itself."""

    def eta(z):
        p = softmax(z)
        return np.log(p[t]) - np.log(p.sum() - p[t])

    step = 1e-5
    return z * [(eta(z + d) - eta(z - d)) / (2 * step) for d in step * np.eye(z.size)]


FORMULAS = {
    "logit": (targets.logit, logit, 1e-12),
    "one_hot": (targets.one_hot, one_hot, 1e-12),
    "softmax_gradient": (targets.softmax_gradient, softmax_gradient, 1e-12),
    "contrastive": (targets.contrastive, contrastive, 1e-12),
    "log_odds": (targets.log_odds, log_odds, 1e-8),
    "a plain index": (lambda index: index, logit, 1e-12),
}


def everywhere(formula, z, index):
    """The formula at every leading position."""
    flat = z.reshape(-1, z.shape[-1])
    index = np.broadcast_to(index, z.shape[:-1]).ravel()
    return np.stack([formula(a, int(t)) for a, t in zip(flat, index, strict=True)]).reshape(z.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_one_index_for_all_positions(name, shape):
    make, formula, rtol = FORMULAS[name]
    z = normal(*shape, seed=70)
    expected = everywhere(formula, z, 2)
    close(identity(z, target=make(2)), expected, rtol)
    close(identity(z, target=make(-2)), expected, rtol)
    close(identity(z, target=make(jnp.asarray(2))), expected, rtol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_an_index_for_every_position(name, shape):
    make, formula, rtol = FORMULAS[name]
    z = normal(*shape, seed=71)
    index = np.random.default_rng(72).integers(0, 4, shape[:-1])
    expected = everywhere(formula, z, index)
    close(identity(z, target=make(index)), expected, rtol)
    close(identity(z, target=make(index - 4)), expected, rtol)
    close(jax.jit(lambda z, i: identity(z, target=make(i)))(z, index), expected, rtol)


@pytest.mark.smoke
@pytest.mark.parametrize("name", FORMULAS)
def test_without_an_index_it_is_the_largest_output(name):
    make, formula, rtol = FORMULAS[name]
    z = normal(2, 3, 4, seed=73)
    close(identity(z, target=make(None)), everywhere(formula, z, z.argmax(-1)), rtol)


def test_no_target_is_the_largest_logit():
    z = normal(2, 3, 4, seed=73)
    close(identity(z), everywhere(logit, z, z.argmax(-1)))


def test_only_one_of_equal_logits_is_where_relevance_starts():
    np.testing.assert_array_equal(identity(np.array([1.0, 5.0, 5.0])), [0.0, 5.0, 0.0])


def test_all_outputs_start_with_themselves():
    z = normal(2, 3, seed=74)
    np.testing.assert_array_equal(identity(z, target=targets.all_outputs()), z)


def test_log_odds_of_a_sure_prediction_stay_finite():
    z = np.array([900.0, -900.0, 0.0])
    close(identity(z, target=targets.log_odds(0)), np.array([900.0, 0.0, 0.0]))
    close(identity(z, target=targets.log_odds(1)), np.array([-900.0, -900.0, 0.0]))


@pytest.mark.parametrize("make", [targets.logit, targets.one_hot, targets.contrastive])
def test_a_single_class_is_no_division_by_zero(make):
    assert float(identity(np.array([2.0]), target=make(0))[0]) in (1.0, 2.0)


# ---------------------------------------------------------------- kinds of indices


@pytest.mark.parametrize("classes", [3, 300])
@pytest.mark.parametrize(
    "index",
    [2, np.int64(2), np.array(2, np.uint8), np.int8(-1), jnp.int16(2), jnp.uint8(2), jnp.int8(-1)],
    ids=["int", "int64", "uint8 array", "negative int8", "jax int16", "jax uint8", "jax int8"],
)
def test_any_integer_type_will_do(index, classes):
    z = 1.0 + np.arange(classes)
    place = classes - 1 if int(index) < 0 else 2
    np.testing.assert_array_equal(identity(z, target=index), logit(z, place))
    np.testing.assert_array_equal(identity(z, target=targets.one_hot(index)), one_hot(z, place))


def test_a_list_of_indices():
    z = normal(2, 3, seed=75)
    close(identity(z, target=[2, 0]), everywhere(logit, z, [2, 0]))
    close(identity(z, target=targets.logit([2, 0])), everywhere(logit, z, [2, 0]))


@pytest.mark.parametrize("named", [False, True], ids=["plain", "named"])
@pytest.mark.parametrize(
    "index", [4, -5, 100, np.array([0, 4]), np.array([-5, 0]), [0, 4]], ids=str
)
def test_python_and_numpy_indices_out_of_range_are_refused(index, named):
    with pytest.raises(PlanError, match="out of range"):
        identity(normal(2, 4), target=targets.contrastive(index) if named else index)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_jax_index_out_of_range_gives_nan_where_it_is(name):
    """It is never synced to be looked at, and never silently zero."""
    make, formula, rtol = FORMULAS[name]
    z = normal(3, 4, seed=76)
    for index in (jnp.array([1, 4, 3]), jnp.array([1, -5, 3])):
        relevance = np.asarray(identity(z, target=make(index)))
        assert np.isnan(relevance[1]).all()
        close(relevance[[0, 2]], everywhere(formula, z[[0, 2]], [1, 3]), rtol)
        traced = jax.jit(lambda z, i: identity(z, target=make(i)))(z, index)
        np.testing.assert_array_equal(np.isnan(traced), np.isnan(relevance))


def test_nan_comes_through_a_layer():
    w = normal(4, 3)
    relevance = lrp(lambda x: jax.nn.relu(x @ w))(normal(2, 4), target=jnp.array([0, 7]))
    assert np.isfinite(relevance[0]).all() and np.isnan(relevance[1]).all()


@pytest.mark.parametrize("named", [False, True], ids=["plain", "named"])
@pytest.mark.parametrize("index", [np.arange(3), np.zeros((2, 1), int), jnp.arange(4)], ids=str)
def test_an_index_of_the_wrong_shape_is_refused(index, named):
    with pytest.raises(PlanError, match="shape"):
        identity(normal(2, 4), target=targets.one_hot(index) if named else index)


@pytest.mark.parametrize(
    "target", [1.0, np.ones(2), jnp.ones(2), True, np.array([True, False]), "tabby", 1j, object()]
)
def test_what_is_no_index_is_refused(target):
    with pytest.raises(PlanError, match="target"):
        identity(normal(2, 4), target=target)
    with pytest.raises(PlanError, match="target"):
        identity(normal(2, 4), target=targets.logit(target))


# ---------------------------------------------------------------- outputs of other shapes


@pytest.mark.parametrize("target", [None, 0, -1, targets.all_outputs(), lambda z: z])
def test_a_scalar_output_starts_with_itself(target):
    w, x = normal(4), normal(4, seed=77)
    close(lrp(lambda x: x @ w, rules.Zero())(x, target=target), x * w)


@pytest.mark.parametrize(
    ("target", "message"),
    [(1, "range"), (targets.one_hot(0), "scalar"), (targets.log_odds(), "scalar")],
)
def test_a_scalar_output_has_no_other_classes(target, message):
    with pytest.raises(PlanError, match=message):
        lrp(lambda x: x.sum())(normal(4), target=target)


def both(x):
    return {"a": 1.0 * x, "b": (x[:2],)}


@pytest.mark.parametrize("target", [0, np.array(0), targets.logit(0), targets.contrastive(0)])
def test_an_index_needs_one_array_of_outputs(target):
    with pytest.raises(PlanError, match="2"):
        lrp(both)(normal(4), target=target)


def test_one_array_in_a_container_is_one_array():
    z = normal(4, seed=78)
    close(lrp(lambda x: {"only": x})(z, target=1), logit(z, 1))


def test_outputs_of_several_leaves_start_with_a_function_or_all():
    z = normal(4, seed=79)
    expected = z + np.append(z[:2], [0.0, 0.0])
    close(lrp(both)(z, target=targets.all_outputs()), expected)
    doubled = lrp(both)(z, target=lambda out: jax.tree.map(lambda leaf: 2.0 * leaf, out))
    close(doubled, 2.0 * expected)


# ---------------------------------------------------------------- a start of one's own


def test_a_function_of_the_outputs_gives_the_start():
    z = normal(2, 4, seed=80)
    start = lambda out: jnp.where(out > 0, out**2, 0.0)
    close(identity(z, target=start), np.where(z > 0, z**2, 0.0))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda z: z[0], "shape"),
        (lambda z: 1.0, "shape"),
        (lambda z: (z, z), "structure"),
        (lambda z: {"z": z}, "structure"),
    ],
)
def test_a_start_has_the_outputs_structure_and_shape(start, message):
    with pytest.raises(PlanError, match=message):
        identity(normal(2, 4), target=start)


def test_the_start_has_the_outputs_dtype():
    z = jnp.asarray(normal(4), jnp.bfloat16)
    for target in (targets.softmax_gradient(1), targets.log_odds(1), lambda z: np.ones(4)):
        assert identity(z, target=target).dtype == jnp.bfloat16


def test_without_an_index_every_array_of_outputs_starts_at_its_largest():
    x = np.array([3.0, 1.0, 2.0, -1.0], np.float32)
    relevance = lrp(both)(x)
    np.testing.assert_allclose(relevance, [2 * 3.0, 0, 0, 0])
