"""Explanations of normalisations under JAX's transformations: grad, jit, vmap, and warm calls."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import compilations, operations
from composition.derivatives import check_derivative
from flax import nnx
from normalisation import forms
from normalisation.lrn import inputs, neighbours
from support.compiling import as_users_do
from support.networks import close, normal

from lrpjax import Composite, lrp, lrp_vjp, rules, value_and_lrp

C = 6
RULES = {
    "ε": rules.Taylor(epsilon=0.01),
    "uniform": rules.Taylor("uniform", epsilon=0.01),
    "α2β1": rules.Taylor(beta=1.0, epsilon=0.01),
    "uniform, α2β1": rules.Taylor("uniform", 0.01, 1.5, 0.5),
    "constant": rules.ConstantNormaliser(0.01),
}


def lrn(k, alpha, x):
    """Five neighbours along the last axis."""
    total = neighbours(x * x, (1,) * (x.ndim - 1) + (5,))
    return x / (k + alpha * total) ** 0.75


def gdn(w, x):
    return x * (1.0 + x**2 @ w**2) ** -0.5


def layer_norm(scale, bias, x):
    average, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return scale * (x - average) / jnp.sqrt(variance + 0.1) + bias


X, R = normal(3, C, seed=60), normal(3, C, seed=61)
SCALE, BIAS, W = normal(C, seed=62), normal(C, seed=63), 0.3 * normal(C, C, seed=64)
CASES = {
    "lrn": (lrn, (2.0, 0.3), tuple(RULES)),
    "gdn": (gdn, (W,), ("ε", "uniform", "α2β1", "constant")),
    "layer_norm": (layer_norm, (SCALE, BIAS), ("ε", "uniform", "constant")),
}


def composite_of(rule):
    return Composite(normalisation=rule)


def explained(f, rule, parameters, x, r):
    """Relevance of the last argument."""
    explain = lrp(f, composite_of(rule), argnums=len(parameters))
    return explain(*parameters, x, target=lambda y: r)


@pytest.mark.parametrize("name", CASES)
def test_relevance_is_differentiable(name, x64):
    """In the input, the parameters, the start, and ε, α and β."""
    f, parameters, fitting = CASES[name]

    def relevances(parameters, x, r, each):
        return jnp.stack([explained(f, each[rule], parameters, x, r) for rule in fitting])

    numbers = {rule: RULES[rule] for rule in fitting}
    check_derivative(relevances, (parameters, X, R, numbers), rtol=1e-5)


def test_zeros_are_differentiable_too(x64):
    """A gradient through relevance has no NaN where an input, or a whole window, is zero."""
    x = X.copy()
    x[0, 2:4] = 0
    x[1] = 0
    for rule in (RULES["ε"], RULES["uniform"], RULES["constant"]):
        slope = jax.grad(lambda x, rule=rule: (R * explained(lrn, rule, (2.0, 0.3), x, R)).sum())
        assert np.isfinite(np.asarray(slope(x))).all(), rule


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_explain_a_batch_is_a_loop(name, x64):
    f, parameters, fitting = CASES[name]

    def ways(rule):
        one = lambda x, r: explained(f, rule, parameters, x[None], r[None])[0]
        mapped = jax.vmap(functools.partial(f, *parameters), 1, 1)
        inside = lrp(mapped, composite_of(rule))
        _, relevance_of = lrp_vjp(functools.partial(f, *parameters), composite_of(rule), X)
        return {
            "the batch": explained(f, rule, parameters, X, R),
            "vmap": jax.vmap(one)(X, R),
            "vmap of the last axis": jax.vmap(one, (1, 1), 1)(X.T, R.T).T,
            "lrp of vmap": inside(X[:, None], target=lambda y: R[:, None])[:, 0],
            "lrp_vjp": relevance_of(jnp.asarray(R)),
        }

    found = jax.jit(lambda: {rule: ways(RULES[rule]) for rule in fitting})()
    for rule in fitting:
        loop = [explained(f, RULES[rule], parameters, X[i : i + 1], R[i : i + 1]) for i in range(3)]
        expected = np.concatenate(loop)
        close(found[rule], dict.fromkeys(found[rule], expected))


def test_without_jit_it_is_the_same(x64):
    for name, (f, parameters, fitting) in CASES.items():
        compiled = explained(f, RULES[fitting[0]], parameters, X, R)
        with jax.disable_jit():
            close(explained(f, RULES[fitting[0]], parameters, X, R), compiled)
        assert np.asarray(compiled).any(), name


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_output_is_the_functions_own_to_the_bit(dtype):
    x = jnp.asarray(inputs(), dtype)
    functions = {
        name: f for family in forms.FAMILIES.values() for name, (f, _) in list(family.items())[:3]
    }
    functions |= {
        "LayerNorm": nnx.LayerNorm(8, rngs=nnx.Rngs(0)),
        "GroupNorm": nnx.GroupNorm(8, 2, rngs=nnx.Rngs(0)),
    }
    own = jax.jit(lambda x: {name: f(x) for name, f in functions.items()})(x)
    both = jax.jit(lambda x: {name: value_and_lrp(f)(x)[0] for name, f in functions.items()})(x)
    for name in functions:
        assert own[name].dtype == both[name].dtype
        np.testing.assert_array_equal(np.asarray(own[name]), np.asarray(both[name]), err_msg=name)


def test_the_outputs_gradient_is_the_functions_own(x64):
    f = functools.partial(lrn, 2.0, 0.3)
    through = jax.grad(lambda x: (R * value_and_lrp(f)(x)[0]).sum())(X)
    close(through, jax.grad(lambda x: (R * f(x)).sum())(X))


def numbers(i, tree):
    """Other numbers of the same kind, on the device."""
    moved = jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.5 * i, jnp.float32), tree)
    return jax.block_until_ready(moved)


@pytest.mark.parametrize("name", CASES)
def test_other_numbers_are_the_same_program(name):
    """Other inputs, parameters, starts and rule values run what was compiled."""
    f, parameters, fitting = CASES[name]
    for rule in fitting:
        results = []
        for i in range(2):
            *changed, x, start = numbers(i, (*parameters, X, R))
            made = jax.tree.map(lambda leaf, i=i: leaf + 0.5 * i, RULES[rule])
            with compilations() as compiled:
                explain = lrp_vjp(f, composite_of(made), *changed, x, argnums=len(changed))
                results.append(jax.block_until_ready(explain[1](start)))
            assert (len(compiled) == 0) == (i == 1), "the first call compiles, the second does not"
        assert np.abs(results[0] - results[1]).max() > 1e-3


def test_the_cost_is_that_of_the_layer():
    """A matrix is applied a few times, and no array is as large as channels by channels."""
    channels = 256
    x = jnp.asarray(normal(2, channels, seed=65), jnp.float32)
    w = jnp.asarray(normal(channels, channels, seed=66) ** 2, jnp.float32)
    explain = lambda rule: lambda w, x: explained(gdn, rule, (w,), x, x)
    assert operations(gdn, w, x)["dot"] == 1
    assert operations(explain(rules.Taylor()), w, x)["dot"] <= 4
    assert operations(explain(rules.Taylor("uniform")), w, x)["dot"] <= 6
    window = lambda x: explained(lrn, rules.Taylor(), (2.0, 0.3), x, x)
    text = as_users_do(window, x).as_text()
    assert largest(text) <= 2 * x.size


def largest(text):
    """The number of elements of the largest array in a program."""
    shapes = re.findall(r"f32\[([\d,]+)\]", text)
    return max(int(np.prod([int(n) for n in shape.split(",")])) for shape in shapes)
