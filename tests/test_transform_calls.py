"""The call boundary: what traces again and what doesn't, and calls inside the function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.networks import W1, close, normal

from lrpjax import Composite, lrp, lrp_vjp, presets, rules, targets, value_and_lrp

X = normal(5, 4, seed=50).astype(np.float32)
SQUARE = normal(4, 4, seed=51).astype(np.float32)


class Counted:
    """A function of arrays that counts how often Python runs it."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x, scale=1.0, double=False):
        self.calls += 1
        return jax.nn.relu(x @ SQUARE * scale) @ W1.astype(np.float32) * (2.0 if double else 1.0)


def traces(f, repeat):
    """How often `f` runs in `repeat`, after a first call of it has been compiled."""
    repeat()
    before = f.calls
    repeat()
    return f.calls - before


SAME = {
    "lrp built afresh": lambda f, i: lrp(f)(X),
    "value_and_lrp built afresh": lambda f, i: value_and_lrp(f)(X),
    "a preset built afresh": lambda f, i: lrp(f, presets.epsilon(1e-3 + i))(X),
    "another epsilon": lambda f, i: lrp(f, rules.Epsilon(10.0**-i))(X),
    "another gamma of a pattern": lambda f, i: lrp(
        f, Composite(layers={"dot_general_0": rules.Gamma(float(i))})
    )(X),
    "another target": lambda f, i: lrp(f)(X, target=i),
    "another numpy target": lambda f, i: lrp(f)(X, target=np.full(5, i)),
    "another jax target": lambda f, i: lrp(f)(X, target=jnp.full(5, i)),
    "another named target": lambda f, i: lrp(f)(X, target=targets.contrastive(i)),
    "other numbers": lambda f, i: lrp(f)(X + i),
    "another number by keyword": lambda f, i: lrp(f)(X, scale=float(i)),
    "the same flag": lambda f, i: lrp(f)(X, double=True),
    "lrp_vjp afresh": lambda f, i: lrp_vjp(f, None, X)[1](i),
}


@pytest.mark.parametrize("name", SAME)
def test_does_not_trace_again(name):
    f, i = Counted(), iter(range(10))
    assert traces(f, lambda: SAME[name](f, next(i))) == 0
    assert f.calls >= 1


OTHER = {
    "another shape": lambda f, i: lrp(f)(X[: i + 1]),
    "another flag": lambda f, i: lrp(f)(X, double=bool(i)),
    "another kind of rule": lambda f, i: lrp(f, [rules.Epsilon(), rules.ZPlus()][i])(X),
    "another dtype": lambda f, i: lrp(f)(X.astype([np.float32, np.float16][i])),
}


@pytest.mark.parametrize("name", OTHER)
def test_traces_again(name):
    """The counter counts: these must be new programs."""
    f, i = Counted(), iter(range(10))
    assert traces(f, lambda: OTHER[name](f, next(i))) >= 1


@pytest.mark.smoke
def test_lrp_vjp_runs_the_model_once_for_many_starts():
    f = Counted()
    _, relevance_of = lrp_vjp(f, None, X)
    after = f.calls
    for start in (0, 1, np.arange(5), targets.one_hot(2), jnp.ones((5, 6))):
        relevance_of(start)
    assert f.calls == after


def test_changing_an_nnx_modules_weights_does_not_trace_again():
    runs = []

    class Model(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(4, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            runs.append(1)
            return self.linear(x)

    model = Model()
    lrp(model)(X)
    before = len(runs)
    model.linear.kernel[...] = model.linear.kernel[...] + 1.0
    lrp(model)(X)
    assert len(runs) == before


def test_two_equal_bound_modules_share_a_program_and_not_their_weights():
    first, second = (nnx.Linear(4, 3, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    one, other = lrp(first, "epsilon")(X), lrp(second, "epsilon")(X)
    close(one, lrp(lambda x: x @ first.kernel[...] + first.bias[...], "epsilon")(X), 1e-5)
    close(other, lrp(lambda x: x @ second.kernel[...] + second.bias[...], "epsilon")(X), 1e-5)


# ---------------------------------------------------------------- calls inside the function


def block(x):
    """A residual block with one bias-free layer."""
    return x + jax.nn.relu(x @ SQUARE)


CALLS = {
    "jit": jax.jit(block),
    "jit of jit": jax.jit(lambda x: jax.jit(block)(x)),
    "remat": jax.checkpoint(block),
    "remat with a policy": jax.checkpoint(
        block, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    ),
    "remat of jit": jax.checkpoint(jax.jit(block)),
    "jit of remat": jax.jit(jax.checkpoint(block)),
    "remat of remat": jax.checkpoint(lambda x: jax.checkpoint(block)(x)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_used_twice_is_as_if_it_were_written_out(name):
    """The two calls share one sub-program, and must not share its values."""
    call = CALLS[name]
    for composite in (None, "excitation_backprop"):
        expected = lrp(lambda x: block(block(x)), composite)(X)
        close(lrp(lambda x: call(call(x)), composite)(X), expected, rtol=1e-5)
    close(
        jax.jit(jax.vmap(lrp(lambda x: call(call(x)))))(X), lrp(lambda x: block(block(x)))(X), 1e-5
    )


def test_remat_with_the_weights_as_arguments():
    layer = lambda w, x: jax.nn.relu(x @ w)
    expected = lrp(lambda w, x: layer(w, layer(w, x)), argnums=1)(SQUARE, X)
    inside = jax.checkpoint(layer, static_argnums=())
    close(lrp(lambda w, x: inside(w, inside(w, x)), argnums=1)(SQUARE, X), expected, rtol=1e-5)


def test_a_shared_call_with_two_outputs_of_which_one_is_used():
    pair = jax.jit(lambda x: (jax.nn.relu(x @ SQUARE), jnp.tanh(x)))
    expected = lrp(lambda x: jax.nn.relu(x @ SQUARE) @ SQUARE + jnp.tanh(x))(X)
    actual = lrp(lambda x: pair(x)[0] @ SQUARE + pair(x)[1])(X)
    close(actual, expected, rtol=1e-5)
