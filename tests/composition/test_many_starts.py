"""Many questions to one network: targets mapped over, functions as targets, one forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composition.counting import compilations, operations
from composition.nets import CLASSES, IMAGES, linen_residual, nnx_residual
from support.networks import close, mlp, mlp_output, mlp_relevances, normal

from lrpjax import lrp, lrp_vjp, targets

X = normal(5, 4, seed=73)
EVERY = jnp.arange(CLASSES)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def at(index):
    """The start of a logit's own, in NumPy."""
    return lambda z: np.where(np.arange(z.shape[-1]) == index, z, 0.0)


# ---------------------------------------------------------------- targets under vmap


def test_targets_may_be_mapped_over():
    loop = np.stack([mlp_relevances(X, at(i)) for i in range(3)])
    explain = lambda i: lrp(mlp)(X, target=i)
    close(jax.vmap(explain)(jnp.arange(3)), loop)
    close(jax.vmap(explain)(jnp.arange(-3, 0, dtype=jnp.int8)), loop)
    rows = np.array([[0, 2, 1, 1, 0], [2, 2, 0, 1, 1]])
    picked = np.stack([[loop[i, n] for n, i in enumerate(row)] for row in rows])
    close(jax.vmap(explain)(rows), picked)
    close(jax.vmap(lambda x, i: lrp(mlp)(x, target=i))(X, rows[0]), picked[0])


def test_named_targets_may_be_mapped_over():
    """Contrastive: z at the target, and -z_t / (C - 1) elsewhere."""

    def start(index):
        share = lambda z: np.full_like(z, -z[index] / 2)
        return lambda z: np.where(np.arange(3) == index, z[index], share(z))

    explain = lambda i: lrp(mlp)(X, target=targets.contrastive(i))
    loop = np.stack([mlp_relevances(X, start(i)) for i in range(3)])
    close(jax.vmap(explain)(jnp.arange(3)), loop)
    close(jax.vmap(lambda t: lrp(mlp)(X, target=t))(targets.contrastive(jnp.arange(3))), loop)


def test_functions_of_the_outputs_may_be_targets_under_vmap():
    """One that is the same for all, and ones that see what is mapped over."""
    squares = np.stack([mlp_relevances(x[None], np.square)[0] for x in X])
    close(jax.vmap(lambda x: lrp(mlp)(x, target=jnp.square))(X), squares)
    indices, weights = np.array([2, 0, 1, 1, 2]), normal(5, 3, seed=74)

    def explain(x, index, weight):
        chosen = lambda z: jnp.where(jnp.arange(3) == index, weight * z, 0.0)
        return lrp(mlp)(x, target=chosen)

    start = lambda i, w: lambda z: np.where(np.arange(3) == i, w * z, 0.0)
    each = zip(X, indices, weights, strict=True)
    loop = np.stack([mlp_relevances(x[None], start(i, w))[0] for x, i, w in each])
    close(jax.vmap(explain)(X, indices, weights), loop)
    close(jax.jit(jax.vmap(explain))(X, indices, weights), loop)


def test_a_function_as_target_is_differentiated_through():
    """Relevance is linear in where it starts: R(t·z) = t·R(z)."""
    explain = lambda t: lrp(mlp)(X, target=lambda z: t * z)
    close(jax.jacrev(explain)(jnp.asarray(2.0)), mlp_relevances(X, lambda z: z))


# ---------------------------------------------------------------- one forward pass


@pytest.mark.parametrize("composite", ["epsilon", "default"])
def test_ten_classes_share_one_forward_pass(composite):
    """Counted in the optimised programs: only the pull back is done for the ten, and batched."""
    module, variables = linen_residual()
    forward = operations(module.apply, variables, IMAGES)
    assert forward == {"convolution": 2, "dot": 1}

    def ten(variables, x):
        out, relevance_of = lrp_vjp(module, composite, variables, x)
        return out, jax.vmap(relevance_of)(EVERY)

    one = operations(lambda v, x: lrp(module, composite)(v, x, target=1), variables, IMAGES)
    assert operations(ten, variables, IMAGES) == one
    assert operations(lambda v, x: lrp_vjp(module, composite, v, x), variables, IMAGES) == forward
    _, relevance_of = lrp_vjp(module, composite, variables, IMAGES)
    assert operations(lambda f: jax.vmap(f)(EVERY), relevance_of) == one - forward


def test_the_count_sees_ten_forward_passes_where_there_are_ten():
    module, variables = linen_residual()

    def ten(variables, xs):
        return [lrp_vjp(module, "epsilon", variables, x)[1](1) for x in xs]

    xs = normal(10, *IMAGES.shape[1:], seed=75)
    assert operations(ten, variables, xs) == {"convolution": 40, "dot": 20}


def test_ten_classes_at_once_are_ten_explanations():
    model = nnx_residual()
    loop = np.stack([lrp(model)(IMAGES, target=i) for i in range(CLASSES)])
    out, relevance_of = lrp_vjp(model, None, IMAGES)
    close(out, model(IMAGES))
    close(jax.vmap(relevance_of)(EVERY), loop)
    close(jax.lax.map(relevance_of, EVERY), loop)
    close(np.stack([relevance_of(i) for i in range(CLASSES)]), loop)


def test_relevance_of_is_linear_and_has_a_jacobian():
    """The matrix of starts to relevance, by jacfwd, is relevance of the unit starts."""
    out, relevance_of = lrp_vjp(mlp, None, X[0])
    unit = np.eye(3)
    columns = np.stack([mlp_relevances(X[:1], lambda z, e=e: e)[0] for e in unit], -1)
    close(jax.jacfwd(relevance_of)(jnp.asarray(mlp_output(X[0]))), columns)
    close(jax.jacrev(relevance_of)(out), columns)


def test_one_program_pulls_back_every_index():
    _, relevance_of = lrp_vjp(mlp, None, X)
    relevance_of(0)
    with compilations() as compiled:
        for start in (1, 2, -1):
            jax.block_until_ready(relevance_of(start))
    assert compiled == []
