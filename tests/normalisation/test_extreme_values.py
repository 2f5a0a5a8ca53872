"""Zeros, lone values, tiny and huge ones, and narrow dtypes: finite relevance, never NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from normalisation import forms, formulas, lrn
from support.networks import normal

from lrpjax import Composite, lrp, rules

C = lrn.C
FUNCTIONS = {
    "window": forms.WINDOWS["reduce_window"],
    "cumsum": forms.CUMULATIVE["cumsum"],
    "matrix": forms.MATRICES["banded matrix"],
    "trained": forms.TRAINED["GDN"],
}
RULES = {
    "no ε": rules.Taylor(epsilon=0.0),
    "uniform": rules.Taylor("uniform"),
    "α2β1": rules.Taylor(beta=1.0),
    "constant": rules.ConstantNormaliser(),
}
layer_norm, rms_norm = nnx.LayerNorm(C, rngs=nnx.Rngs(0)), nnx.RMSNorm(C, rngs=nnx.Rngs(0))


def lone(size, dtype):
    x = np.zeros(lrn.SHAPE)
    x[..., 3] = size
    return jnp.asarray(x, dtype)


def extremes(dtype):
    """Arrays that tempt a division: their squares are zero, subnormal or almost too large."""
    large = float(jnp.sqrt(jnp.finfo(dtype).max)) / 16
    wide = normal(*lrn.SHAPE, seed=50)
    sizes = {"zeros": 0.0, "tiny": 1 / large, "tinier": 1 / large**1.5, "large": large}
    arrays = {f"{name}, lone": lone(size, dtype) for name, size in sizes.items()}
    arrays |= {name: jnp.asarray(size * wide, dtype) for name, size in sizes.items()}
    arrays["one large among small"] = arrays["large, lone"] + arrays["tiny"]
    return arrays


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_relevance_is_finite(dtype):
    arrays = extremes(dtype)
    stacked = jnp.stack(list(arrays.values()))
    r = normal(*lrn.SHAPE, seed=51)

    @jax.jit
    def explained(xs):
        start = lambda y: jnp.asarray(r, y.dtype)
        composites = {name: Composite(normalisation=rule) for name, rule in RULES.items()}
        each = {name: f for name, (f, _) in FUNCTIONS.items()}
        return {
            name: {
                rule: jax.vmap(lambda x, f=f, c=c: lrp(f, c)(x, target=start))(xs)
                for rule, c in composites.items()
            }
            for name, f in each.items()
        }

    found = explained(stacked)
    wrong = [
        (name, rule, case)
        for name, each in found.items()
        for rule, relevance in each.items()
        for case, part in zip(arrays, relevance, strict=True)
        if part.dtype != dtype or not np.isfinite(np.asarray(part, np.float32)).all()
    ]
    assert not wrong, wrong


def test_squares_that_overflow_leave_no_relevance(x64):
    """Where Σx² is infinite the output is 0, and so is what it gives."""
    x = normal(*lrn.SHAPE, seed=52)
    x[0] *= 1e200
    f, _ = FUNCTIONS["window"]
    for rule in (rules.Taylor(), rules.Taylor(beta=1.0), rules.ConstantNormaliser()):
        found = np.asarray(lrp(f, Composite(normalisation=rule))(x, target=lambda y: y))
        assert np.isfinite(found).all(), rule


def test_zeros_get_none_and_lone_values_all(x64):
    """By the center offset; ε takes what is under it."""
    f, _ = FUNCTIONS["window"]
    x = np.asarray(lone(2.0, np.float64))
    found = np.asarray(
        lrp(f, Composite(normalisation=rules.Taylor(epsilon=0.0)))(x, target=lambda y: y)
    )
    np.testing.assert_allclose(found, np.asarray(f(x)), rtol=1e-12)
    assert not found[..., [0, 1, 2, 4, 5, 6, 7]].any()
    nothing = lrp(f)(np.zeros(lrn.SHAPE), target=lambda y: jnp.ones_like(y))
    assert not np.asarray(nothing).any()


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2), (jnp.float16, 2e-3)]
)
def test_narrow_dtypes_are_explained_in_float32(dtype, rtol):
    """Only the input, the output and the result are rounded."""
    x = jnp.asarray(lrn.inputs(seed=53), dtype)
    r = jnp.asarray(normal(*lrn.SHAPE, seed=54), dtype)
    f, layer = FUNCTIONS["window"]
    wide = lambda a: np.asarray(a, np.float64).ravel()
    for rule, options in ((rules.Taylor(), {}), (rules.Taylor(beta=1.0), {"alpha": 2, "beta": 1})):
        found = lrp(f, Composite(normalisation=rule))(x, target=lambda y: r)
        assert found.dtype == dtype
        expected = formulas.taylor(layer, wide(x), wide(r), **options)
        np.testing.assert_allclose(
            wide(found), expected, rtol=rtol, atol=rtol * np.abs(expected).max()
        )


def test_layers_over_whole_axes_survive_constant_rows(x64):
    """A row whose variance is nothing, rows of zeros, and large ones."""
    x = np.concatenate([np.zeros((1, C)), np.full((1, C), 3.0), 1e100 * normal(2, C, seed=55)])
    r = normal(4, C, seed=56)
    for layer in (layer_norm, rms_norm):
        for rule in (rules.ConstantNormaliser(), rules.Taylor(), rules.Taylor("uniform")):
            composite = Composite(normalisation=rule)
            found = np.asarray(lrp(layer, composite)(x, target=lambda y: jnp.asarray(r, y.dtype)))
            assert np.isfinite(found).all(), (layer, rule)
