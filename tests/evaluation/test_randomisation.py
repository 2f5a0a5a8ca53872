"""The cascading randomisation test: which layers, what they become, and what is measured."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.nets import IMAGES, LinenResidual, linen_residual, nnx_residual
from flax import nnx
from support.networks import Block, linen_net, normal

from lrpjax import PlanError, lrp, targets
from lrpjax.evaluation.attributions import gradient
from lrpjax.evaluation.localisation import centre_gaussian
from lrpjax.evaluation.randomisation import Randomisation, cascade, parameter_randomisation
from lrpjax.evaluation.similarity import cosine

XS = jnp.asarray(IMAGES, jnp.float32)
RUNS = []


class Tied(nnx.Module):
    """Names against the order of the dataflow, a layer used twice, and one that nothing uses."""

    def __init__(self, rngs):
        self.z_first = nnx.Linear(4, 6, rngs=rngs)
        self.m_twice = nnx.Linear(6, 6, rngs=rngs)
        self.k_between = nnx.Linear(6, 6, rngs=rngs)
        self.a_last = nnx.Linear(6, 3, rngs=rngs)
        self.b_unused = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        RUNS.append(1)
        x = nnx.tanh(self.m_twice(nnx.tanh(self.z_first(x))))
        return self.a_last(nnx.tanh(self.m_twice(nnx.tanh(self.k_between(x)))))


@functools.cache
def tied():
    return Tied(nnx.Rngs(0))


VECTORS = jnp.asarray(normal(5, 4, seed=450), jnp.float32)


def parameters(model):
    """All arrays of a model by path, as NumPy."""
    paths = jax.tree_util.tree_flatten_with_path(nnx.state(model))[0]
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(v) for p, v in paths}


def names(stages):
    return [stage.layer.partition("#")[0] for stage in stages]


# ---------------------------------------------------------------- the layers


def test_layers_come_from_the_output_down_whatever_their_names():
    stages = cascade(tied(), VECTORS)
    assert names(stages) == ["a_last", "m_twice", "k_between", "z_first"]


def test_linen_bound_or_not_and_nnx_have_the_same_layers():
    module, variables = linen_residual()
    for stages in (
        cascade(module, variables, XS),
        cascade(module.bind(variables), XS),
        cascade(nnx_residual(), XS),
    ):
        assert names(stages) == ["head", "branch", "stem"]


def test_layers_within_remat_keep_their_order():
    for remat in (False, True):
        module, variables, images = linen_net(remat)
        assert names(cascade(module, variables, images)) == ["head", "block/inner", "stem"]


class Gated(nn.Module):
    """A weight that is computed from parameters, and a primitive that LRP has no rule for."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(1.0), (4, 3))
        x = jax.lax.cumlogsumexp(nn.Dense(4, name="below")(x), axis=1)
        return x @ (kernel / jnp.linalg.norm(kernel))


def test_any_network_can_be_randomised():
    module = Gated()
    variables = module.init(jax.random.key(0), VECTORS)
    assert names(cascade(module, variables, VECTORS)) == ["kernel", "below"]


# ---------------------------------------------------------------- the weights


def test_each_stage_changes_one_more_layer_and_the_model_stays():
    model = nnx_residual()
    before = parameters(model)
    owners = {"head": {"head"}, "branch": {"branch", "branch_norm"}, "stem": {"stem", "stem_norm"}}
    lost, last = set(), before
    for stage in cascade(model, XS):
        lost |= owners[stage.layer]
        now = parameters(stage.fun)
        for name, value in now.items():
            layer, leaf = name.split("/")[:2]
            changes = layer in lost and leaf in ("kernel", "bias", "scale")
            assert (value != before[name]).any() == changes, name
            if layer not in owners[stage.layer]:
                np.testing.assert_array_equal(value, last[name])
        last = now
    for name, value in parameters(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_gaussian_has_the_arrays_own_statistics():
    model = nnx.Linear(200, 100, rngs=nnx.Rngs(0))
    values = 3.0 + 2.0 * np.asarray(normal(200, 100, seed=451)) ** 2
    model.kernel[...] = jnp.asarray(values, jnp.float32)
    (stage,) = cascade(model, jnp.ones((1, 200)))
    drawn = np.asarray(stage.fun.kernel[...])
    assert drawn.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(20000))
    assert drawn.std() == pytest.approx(values.std(), rel=4 / np.sqrt(40000))
    skew = ((drawn - drawn.mean()) ** 3).mean() / drawn.std() ** 3
    assert abs(skew) < 4 * np.sqrt(6 / 20000)  # the values' own is about 2.8
    assert abs(np.corrcoef(drawn.ravel(), values.ravel())[0, 1]) < 4 / np.sqrt(20000)


def test_a_permutation_keeps_the_values_but_not_their_places():
    stages = list(cascade(tied(), VECTORS, method="permutation"))
    before, after = parameters(tied()), parameters(stages[-1].fun)
    for name, value in after.items():
        np.testing.assert_array_equal(np.sort(value.ravel()), np.sort(before[name].ravel()))
    assert (after["z_first/kernel/value"] != before["z_first/kernel/value"]).any()


def test_seeds_repeat():
    seeds = [0, 0, 1, jax.random.key(1)]
    drawn = [parameters(next(iter(cascade(tied(), VECTORS, seed=s))).fun) for s in seeds]
    first, same, other, key = (d["a_last/kernel/value"] for d in drawn)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(other, key)
    assert (first != other).any()


# ---------------------------------------------------------------- the test


def test_maps_are_compared_to_the_originals_for_the_originals_class():
    model, labels = tied(), jnp.argmax(tied()(VECTORS), 1)
    test = parameter_randomisation(lrp, model, VECTORS, similarity=cosine, seed=4)
    original = lrp(model)(VECTORS, target=labels)
    other_class = False
    for row, stage in zip(test.similarity, cascade(model, VECTORS, seed=4), strict=True):
        found = np.asarray(lrp(stage.fun)(VECTORS, target=labels))
        products = (np.asarray(original) * found).sum(1)
        sizes = np.linalg.norm(original, axis=1) * np.linalg.norm(found, axis=1)
        np.testing.assert_allclose(row, products / sizes, rtol=1e-4)
        other_class |= bool((jnp.argmax(stage.fun(VECTORS), 1) != labels).any())
    assert other_class and test.similarity.shape == (4, 5)
    assert test.similarity.min() < 0.9


def test_a_map_that_knows_nothing_of_the_model_fails_the_test():
    module, variables = linen_residual()
    blind = parameter_randomisation(centre_gaussian, module, variables, XS)
    np.testing.assert_allclose(blind.similarity, 1.0, rtol=1e-6)
    seeing = parameter_randomisation(gradient, module.bind(variables), XS)
    assert seeing.similarity[-1].mean() < 0.5


def test_bound_or_not_is_the_same_test():
    module = Block(4)
    variables = module.init(jax.random.key(0), VECTORS)
    of = lambda model, *args: parameter_randomisation(
        gradient, model, *args, target=targets.one_hot(2), method="permutation"
    )
    unbound = of(module, variables, VECTORS)
    np.testing.assert_array_equal(
        of(module.bind(variables), VECTORS).similarity, unbound.similarity
    )
    assert unbound.layers == ("inner",) and np.nanmin(unbound.similarity) < 0.99


def test_all_stages_run_one_program():
    traces = []

    def attribution(model):
        def attribute(x, target):
            found = lrp(model, "epsilon")(x, target=target)
            traces.append(len(RUNS))
            return found

        return attribute

    for seed in range(2):
        parameter_randomisation(attribution, tied(), VECTORS, target=1, seed=seed)
    original, *stages = traces[:5]
    assert stages == [original] * 4, "what the original compiled serves all stages"
    assert len(set(traces[5:])) == 1 and traces[5] <= original + 1, "but for the plan"


def test_the_table_has_a_row_for_each_layer_and_counts_what_is_undefined():
    test = Randomisation(("last", "first"), np.array([[0.5, 1.0], [0.25, np.nan]]))
    rows = [line.split() for line in str(test).splitlines()[2:]]
    assert rows == [["last", "0.750", "0.250", "0"], ["first", "0.250", "0.000", "1"]]
    assert str(Randomisation(("dead",), np.array([[np.nan]]))).split()[-1] == "1"


# ---------------------------------------------------------------- errors


class Bare(nn.Module):
    """No parameters."""

    @nn.compact
    def __call__(self, x):
        return 2.0 * x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cascade(jnp.sin, VECTORS), TypeError, "nnx.Module or a Linen"),
        (lambda: cascade(LinenResidual()), TypeError, "variables"),
        (lambda: cascade(tied(), VECTORS, method="zero"), ValueError, "gaussian, permutation"),
        (lambda: cascade(Bare(), {}, VECTORS), PlanError, "no trained parameter"),
        (lambda: parameter_randomisation(gradient, tied(), VECTORS, target=3), PlanError, "range"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
