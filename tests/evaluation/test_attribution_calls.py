"""Baselines are called as LRP is: any kind of model, no second trace, clear errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import compilations, operations
from support.compiling import as_users_do
from support.networks import Block, CountingNnxNet, NnxNet, close, mlp, normal

from lrpjax import PlanError
from lrpjax.evaluation.attributions import (
    gradient,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    smoothgrad,
)

XS = normal(3, 4, seed=400)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- models and calls


def test_every_kind_of_model_is_explained_as_it_is():
    module, kernel, bias = Block(4), normal(4, 4, seed=409), 1.0 + normal(4, seed=410)
    variables = {"params": {"inner": {"kernel": kernel, "bias": bias}}}
    active = XS + XS @ kernel + bias > 0
    expected = active[:, :1] * (np.eye(4)[0] + kernel[:, 0])
    close(gradient(module)(variables, XS, target=0), expected)
    close(gradient(module.bind(variables))(XS, target=0), expected)
    close(gradient(lambda x: module.apply(variables, x))(XS, target=0), expected)


def test_an_nnx_module_keeps_its_state():
    """It counts its calls, and each is in another trace."""
    model = CountingNnxNet()
    model.eval()
    mean, var = (np.asarray(v[...]) for v in (model.norm.mean, model.norm.var))
    w1, w2 = (np.asarray(layer.kernel[...], float) for layer in (model.first, model.last))
    hidden = (XS @ w1 - mean) / np.sqrt(var + 1e-5)
    expected = ((hidden > 0) * w2[:, 1] / np.sqrt(var + 1e-5)) @ w1.T
    close(gradient(model)(XS, target=1), expected, rtol=1e-6)
    close(smoothgrad(model, samples=2, noise_level=0.0)(XS, target=1), expected, rtol=1e-6)
    assert model.calls[...] == 0


METHODS = {
    "gradient": lambda f, i: gradient(f),
    "gradient × input": lambda f, i: gradient_times_input(f),
    "smoothgrad": lambda f, i: smoothgrad(f, samples=2, noise_level=0.1 * (i + 1), seed=i),
    "integrated gradients": lambda f, i: integrated_gradients(f, steps=2, baseline=1.0 * i),
    "occlusion": lambda f, i: occlusion(f, window=(2,), axes=(1,), value=1.0 * i),
}


class Counted(NnxNet):
    """A network that notes when Python runs it."""

    runs = 0

    def __call__(self, x):
        Counted.runs += 1
        return super().__call__(x)


@pytest.mark.parametrize("name", METHODS)
def test_a_second_call_traces_and_compiles_nothing(name):
    models, xs = [Counted(seed) for seed in range(2)], [jnp.asarray(XS), jnp.asarray(XS + 1)]
    for model in models:
        model.eval()
    results = [METHODS[name](models[0], 0)(xs[0], target=0)]
    before = Counted.runs
    methods = METHODS[name](models[1], 1)  # making the key of a seed is a program of its own
    with compilations() as compiled:
        results.append(methods(xs[1], target=2))
    assert (Counted.runs, len(compiled)) == (before, 0)
    assert np.abs(results[0] - results[1]).max() > 0


@pytest.mark.parametrize("name", ["gradient", "occlusion"])
def test_vmap_over_examples_is_a_batch(name):
    if name == "occlusion":
        one, batch = (occlusion(mlp, window=(2,), axes=(a,)) for a in (0, 1))
    else:
        one = batch = METHODS[name](mlp, 0)
    index = jnp.array([2, 0, 1])
    expected = batch(XS, target=index)
    close(jax.vmap(lambda x, t: one(x, target=t))(XS, index), expected)
    close(jax.jit(lambda x, t: batch(x, target=t))(XS, index), expected)


def test_aux_and_several_arguments():
    f = lambda x, y, scale: ((x * y).sum(keepdims=True) * scale, {"x": x})
    attribute = gradient(f, argnums=(0, 1), has_aux=True)
    (dx, dy), aux = attribute(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]), scale=2.0)
    close((dx, dy, aux["x"]), (np.array([6.0, 8.0]), np.array([2.0, 4.0]), np.array([1.0, 2.0])))


def test_attributions_have_the_inputs_dtype():
    x = jnp.asarray(XS, jnp.bfloat16)
    for name in ("smoothgrad", "occlusion"):
        assert METHODS[name](mlp, 0)(x).dtype == jnp.bfloat16, name


def test_a_gradient_costs_one_forward_and_one_backward_pass():
    """Two dots each, though the target's class is looked up first."""
    assert operations(gradient(mlp), jnp.asarray(XS))["dot"] == 4


def test_windows_that_are_left_over_are_no_second_program():
    dots = [
        operations(occlusion(mlp, window=(1,), axes=(1,), windows_at_a_time=n), jnp.asarray(XS))
        for n in (2, 3)
    ]
    assert dots[0] == dots[1] and dots[0]["dot"] > 0


def test_memory_does_not_grow_with_samples():
    def temporary(samples):
        compiled = as_users_do(smoothgrad(mlp, samples=samples), x)
        return compiled.memory_analysis().temp_size_in_bytes

    x = jnp.ones((64, 4))
    few, many = temporary(2), temporary(64)
    assert 0 < many < few + x.nbytes


# ---------------------------------------------------------------- errors


def test_integers_have_no_gradient():
    table = normal(7, 3, seed=408)
    for method in (gradient, smoothgrad, integrated_gradients):
        with pytest.raises(PlanError, match="no gradient"):
            method(lambda ids: jnp.asarray(table)[ids].sum(0))(np.array([1, 2]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: smoothgrad(mlp, samples=0), "samples"),
        (lambda: smoothgrad(mlp, samples=True), "samples"),
        (lambda: smoothgrad(mlp, noise_level=-0.1), "noise_level"),
        (lambda: smoothgrad(mlp, noise_level=np.nan), "noise_level"),
        (lambda: integrated_gradients(mlp, steps=2.5), "steps"),
        (lambda: occlusion(mlp, window=(0,), axes=(1,)), "window"),
        (lambda: occlusion(mlp, window=(2,), stride=(3,), axes=(1,)), "gaps"),
        (lambda: occlusion(mlp, window=(2, 2), axes=(1,)), "per axis"),
        (lambda: occlusion(mlp, window=(2, 2), axes=(1, 1)), "per axis"),
        (lambda: occlusion(mlp, window=(2,), axes=(1,), windows_at_a_time=0), "at_a_time"),
    ],
)
def test_options_are_checked_where_they_are_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        (integrated_gradients(mlp, baseline=np.ones(3)), (XS,), "broadcast"),
        (integrated_gradients(mlp, baseline={"x": 0.0}), (XS,), "structure"),
        (occlusion(mlp, window=(2,), axes=(0,)), (XS,), "batch"),
        (occlusion(mlp, window=(2,), axes=(2,)), (XS,), "axes"),
        (occlusion(mlp, window=(1, 1), axes=(1, -1)), (XS,), "twice"),
        (occlusion(lambda p: mlp(p[0] + p[1]), window=(2,), axes=(1,)), ((XS, XS),), "one array"),
        (gradient(mlp), (XS > 0,), "bool"),
        (gradient(lambda x: x > 0), (XS,), "floating"),
        (gradient(mlp, has_aux=True), (XS,), "pair"),
        (gradient(lambda x: (x, x)), (XS, 1), "argument"),
    ],
)
def test_what_does_not_fit_the_program_is_a_plan_error(method, args, message):
    if message == "argument":
        with pytest.raises(TypeError, match=message):
            method(*args)
        return
    with pytest.raises(PlanError, match=message):
        method(*args)
