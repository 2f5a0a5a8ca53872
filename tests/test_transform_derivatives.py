"""The value's derivative is the model's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import B1, B2, W1, W2, close, convnet, linen_net, mlp, normal

from lrpjax import value_and_lrp

X = normal(4, seed=31)
WEIGHTS = {"w": W1, "b": B1, "head": W2}


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Finite differences need the digits."""


def value(f, *args, composite=None):
    return value_and_lrp(f, composite)(*args)[0]


# ---------------------------------------------------------------- the value and its derivative


@jax.custom_jvp
def doubled_slope(x):
    """A relu whose author says that its derivative is 2, at zero too."""
    return jnp.maximum(x, 0.0)


doubled_slope.defjvps(lambda t, y, x: 2.0 * t * (x >= 0))


@jax.custom_jvp
def layer_of_one(x):
    """A whole layer whose author says that its derivative is three times the true one."""
    return jax.nn.relu(x @ W1 + B1) @ W2


layer_of_one.defjvps(lambda t, y, x: 3.0 * (t @ W1) @ W2)


@jax.custom_vjp
def layer_of_two(x):
    """The same with a rule for its cotangent: five times that of the first layer."""
    return jax.nn.relu(x @ W1 + B1) @ W2


layer_of_two.defvjp(lambda x: (layer_of_two(x), None), lambda _, g: (5.0 * (g @ W2.T) @ W1.T,))


@jax.custom_vjp
def clipped_gradient(x):
    """Gradient clipping: an identity for the value."""
    return x * 1.0


clipped_gradient.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))


FUNCTIONS = {
    "mlp": mlp,
    "relu, custom derivative": lambda x: doubled_slope(x @ W1) @ W2,
    "a whole layer, custom jvp": lambda x: layer_of_one(x) + B2,
    "a whole layer, custom vjp": lambda x: layer_of_two(x) + B2,
    "a layer inside a custom call inside jit": lambda x: jax.jit(layer_of_two)(2.0 * x) + B2,
    "clipped gradient": lambda x: clipped_gradient(x @ W1) @ W2,
    "stop_gradient": lambda x: jax.lax.stop_gradient(x @ W1) + (x * x) @ W1,
    "max and abs": lambda x: jnp.maximum(jnp.abs(x), 0.3) @ W1,
    "sort": lambda x: jnp.sort(x) @ W1,
    "remat": jax.checkpoint(mlp),
    "log_softmax of a constant too": lambda x: x @ W1 * jax.nn.log_softmax(B1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_value_and_its_gradient_are_the_models_own(name):
    f = FUNCTIONS[name]
    close(value(f, X), f(X), rtol=1e-12)
    mine, own = (jax.vjp(g, X)[1](np.ones(f(X).shape))[0] for g in (lambda x: value(f, x), f))
    close(mine, own, rtol=1e-12)


ZEROS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "custom derivative": doubled_slope,
    "leaky_relu": jax.nn.leaky_relu,
    "abs": jnp.abs,
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "clip": lambda x: jnp.clip(x, 0.0, 1.0),
    "where": lambda x: jnp.where(x > 0, x, 0.0),
    "silu": jax.nn.silu,
}


@pytest.mark.parametrize("name", ZEROS)
def test_also_where_a_kink_is_hit_exactly(name):
    """Inlining a relu would make its gradient at 0 one half instead of 0."""
    f = lambda x: ZEROS[name](x @ np.eye(4)) @ (1.0 + np.arange(4.0))
    x = np.array([0.0, 1.0, -1.0, 6.0])
    gradient = jax.grad(lambda x: value(f, x))(x)
    np.testing.assert_array_equal(gradient, jax.grad(f)(x))


def test_the_gradient_for_the_weights_is_the_models_own():
    f = lambda x, p: jax.nn.relu(x @ p["w"] + p["b"]) @ p["head"]
    loss = lambda g: lambda p: jnp.sum(g(X, p) ** 2)
    mine = jax.grad(loss(lambda x, p: value(f, x, p)))(WEIGHTS)
    close(mine, jax.grad(loss(f))(WEIGHTS), rtol=1e-12)


def test_the_gradient_for_the_weights_of_a_linen_network_is_its_own():
    module, variables, x = linen_net()
    loss = lambda g: lambda v: jnp.sum(g(v, x) ** 2)
    mine = jax.jit(jax.grad(loss(lambda v, x: value_and_lrp(module)(v, x)[0])))(variables)
    own = jax.jit(jax.grad(loss(module.apply)))(variables)
    close(mine["params"], own["params"], rtol=1e-9)


def test_weights_behind_a_stop_gradient_keep_their_gradient():
    f = lambda x, w: jax.lax.stop_gradient(x) @ w + x @ W1
    mine = jax.grad(lambda w: value(f, X, w).sum())(W1)
    close(mine, jax.grad(lambda w: f(X, w).sum())(W1), rtol=1e-12)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_arguments_that_stay_have_no_derivative(transform):
    """The square root's at zero is infinite: times no change it would be NaN."""
    scales = np.array([0.0, 1.0, 2.0])
    f = lambda x, m: layer_of_one(x)[:3] * jnp.sqrt(m)
    mine = transform(lambda x: value(f, x, scales))(X)
    close(mine, transform(lambda x: f(x, scales))(X), rtol=1e-12)


def test_what_has_no_derivative_may_stand_on_an_argument_that_stays():
    def doubled(m):
        return jax.pure_callback(
            lambda a: np.asarray(a) * 2, jax.ShapeDtypeStruct(m.shape, m.dtype), m
        )

    scales = jnp.array([0.0, 1.0, 2.0])
    f = lambda x, m: layer_of_one(x)[:3] * doubled(m)
    for own, mine in zip(
        (f(X, scales), jax.grad(lambda x: f(x, scales).sum())(X)),
        (value(f, X, scales), jax.grad(lambda x: value(f, x, scales).sum())(X)),
        strict=True,
    ):
        close(mine, own, rtol=1e-12)


def test_the_gradient_of_aux_is_the_models_own():
    f = lambda x: (mlp(x), doubled_slope(x @ W1))
    mine = jax.jacrev(lambda x: value_and_lrp(f, has_aux=True)(x)[0][1])(X)
    close(mine, jax.jacrev(lambda x: f(x)[1])(X), rtol=1e-12)


@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "epsilon_alpha2_beta1", "deep_taylor"])
def test_rules_do_not_change_the_value(composite):
    x = normal(2, 8, 8, 2, seed=33)
    close(value(convnet, x, composite=composite), jax.jit(convnet)(x), rtol=1e-12)
    score = lambda x: value(convnet, x, composite=composite)[:, 1].sum()
    own = jax.jit(jax.grad(lambda x: convnet(x)[:, 1].sum()))(x)
    close(jax.jit(jax.grad(score))(x), own, rtol=1e-11)
