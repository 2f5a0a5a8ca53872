"""What kinds of units a function falls into."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.networks import conv, normal
from support.planning import kinds, units

from lrpjax import plan
from lrpjax.plan import Plan

X = normal(2, 4, seed=90).astype(np.float32)
IMAGE = normal(2, 6, 6, 2, seed=91).astype(np.float32)
W, V = normal(4, 4, seed=92).astype(np.float32), normal(4, 4, seed=93).astype(np.float32)
KERNEL = normal(3, 3, 2, 4, seed=94).astype(np.float32)
ARRAY = normal(4, seed=95).astype(np.float32)
MASK = np.array([True, False, True, False])

ONE = {
    "dense": ("dense", lambda x: x @ W),
    "dense, weights first": ("dense", lambda x: W @ x.T),
    "einsum": ("dense", lambda x: jnp.einsum("bi,ij->bj", x, W)),
    "matrix-vector": ("dense", lambda x: x @ ARRAY),
    "sum": ("pool", lambda x: x.sum(1)),
    "mean": ("pool", lambda x: x.mean(0)),
    "cumsum": ("pool", lambda x: jnp.cumsum(x, 1)),
    "scale by an array": ("scale", lambda x: x * ARRAY),
    "scale by a number": ("scale", lambda x: 3.0 * x),
    "division": ("scale", lambda x: x / 2.0),
    "negation": ("scale", lambda x: -x),
    "shift": ("shift", lambda x: x + ARRAY),
    "scale and shift": ("shift", lambda x: (x - ARRAY) * 2.0 + 1.0),
    "residual": ("add", lambda x: x + x[:, ::-1]),
    "difference": ("add", lambda x: x - x[:, ::-1]),
    "twice itself is a function of each element": ("elementwise", lambda x: x + x),
    "relu": ("elementwise", jax.nn.relu),
    "maximum with a constant": ("elementwise", lambda x: jnp.maximum(x, 0.2)),
    "a function's own where": ("elementwise", lambda x: jnp.where(x > 0, x, 0.1 * x)),
    "maximum of two": ("max", lambda x: jnp.maximum(x, x[:, ::-1])),
    "minimum of two": ("max", lambda x: jnp.minimum(x, x[:, ::-1])),
    "reduce_max": ("max", lambda x: x.max(1)),
    "reduce_min": ("max", lambda x: x.min(1)),
    "cummax": ("max", lambda x: lax.cummax(x, axis=1)),
    "sort": ("max", lambda x: jnp.sort(x, 1)),
    "top_k": ("max", lambda x: lax.top_k(x, 2)[0]),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", ONE)
def test_one_unit(name):
    kind, f = ONE[name]
    assert kinds(f, X) == [kind]


ROUTES = {
    "identity": lambda x: x,
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "slice": lambda x: x[:, 1:3],
    "strided": lambda x: x[::2, ::-1],
    "concatenate": lambda x: jnp.concatenate([x, x], 1),
    "stack": lambda x: jnp.stack([x, x]),
    "split": lambda x: jnp.split(x, 2, 1)[0],
    "pad": lambda x: jnp.pad(x, 1),
    "pad with a number": lambda x: jnp.pad(x, 1, constant_values=2.0),
    "broadcast": lambda x: jnp.broadcast_to(x, (3, 2, 4)),
    "tile": lambda x: jnp.tile(x, 2),
    "gather": lambda x: x[:, np.array([0, 2, 2])],
    "take": lambda x: jnp.take(x, jnp.array([1, 0]), axis=0),
    "a mask": lambda x: jnp.where(MASK, x, 0.0),
    "select of two": lambda x: jnp.where(MASK, x, x[:, ::-1]),
    "cast": lambda x: x.astype(jnp.float16).astype(jnp.float32),
    "roll": lambda x: jnp.roll(x, 1, 1),
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (0, 1), (2, 2)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, x[:1], (1, 0)),
    "squeeze": lambda x: jnp.squeeze(x[:1], 0),
}


@pytest.mark.parametrize("name", ROUTES)
def test_routes_are_no_more_than_routes(name):
    found = plan(ROUTES[name], None, X).units
    assert {unit.kind for unit in found} <= {"route"}
    assert all(type(unit.rule).__name__ == "Routing" for unit in found)


def test_convolutions_and_pooling():
    def f(x):
        x = nn.max_pool(jax.nn.relu(conv(x, KERNEL)), (2, 2), (2, 2))
        return nn.avg_pool(x, (3, 3))

    found = [kind for kind in kinds(f, IMAGE) if kind != "scale"]
    assert found == ["conv", "elementwise", "max", "pool"]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: nn.avg_pool(x, (2, 2)),
        lambda x: nn.avg_pool(x, (2, 2), padding="SAME", count_include_pad=False),
        lambda x: x.mean((1, 2)),
        lambda x: x.sum((1, 2)) / 36.0,
    ],
)
def test_the_count_of_a_mean_folds_into_the_sum(f):
    assert kinds(f, IMAGE) == ["pool"]


# ---------------------------------------------------------------- sums


def operands(unit):
    return len(unit.inputs)


def test_a_chain_of_sums_is_one_sum():
    (found,) = [u for u in units(lambda x: x + x @ W + jnp.tanh(x), X) if u.kind == "add"]
    assert operands(found) == 3


def test_a_sum_that_others_read_ends_a_chain():
    def f(x):
        inner = x + x @ W
        return inner @ W + inner + x

    found = [u for u in units(f, X) if u.kind == "add"]
    assert [operands(u) for u in found] == [2, 3]


def test_a_sum_with_its_sign_and_a_constant():
    def f(x):
        return (x @ W - jnp.tanh(x)) - (ARRAY - x)

    (found,) = [u for u in units(f, X) if u.kind == "add"]
    assert operands(found) == 3


def test_the_bias_of_a_dense_layer_is_the_layers_in_a_residual_sum():
    found = units(lambda x: x + (x @ W + ARRAY), X)
    assert [u.kind for u in found] == ["dense", "add"]
    assert operands(found[1]) == 2


# ---------------------------------------------------------------- stops


def test_stop_gradient_stops_relevance():
    f = lambda x: x @ W + lax.stop_gradient(x @ V)
    found = units(f, X)
    assert sorted(u.kind for u in found) == ["add", "dense", "stop"]
    (stop,) = [u for u in found if u.kind == "stop"]
    assert type(stop.rule).__name__ == "Stop" and stop.inputs == ()


def test_a_comparison_with_another_value_is_no_path_of_relevance():
    f = lambda x: jnp.where(x @ V > 0, x @ W, 0.0)
    found = units(f, X)
    assert [u.kind for u in found if u.kind == "dense"] == ["dense"], "x @ V is only computed"


def test_what_only_feeds_an_integer_is_no_unit_of_relevance():
    table = normal(4, 3)
    f = lambda x: x @ W + 0.0 * jnp.asarray(table)[jnp.argmax(x, -1)].sum()
    assert [u.kind for u in units(f, X) if u.kind in ("dense", "pool")] == ["dense"]


def test_what_nothing_uses_is_no_part_of_the_plan():
    def f(x):
        jnp.tanh(x)
        lax.scan(lambda c, _: (c * x, None), x, None, 3)
        return x @ W

    assert kinds(f, X) == ["dense"]


def test_an_output_that_is_a_constant_stops_visibly():
    f = lambda x: (x @ W, jnp.ones(3) * ARRAY[0])
    assert kinds(f, X) == ["dense", "stop"]


# ---------------------------------------------------------------- calls and regions


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, lambda f: jax.jit(jax.checkpoint(f))])
def test_calls_are_looked_into(wrap):
    block = wrap(lambda x: x + jax.nn.relu(x @ W + ARRAY))
    assert kinds(lambda x: block(block(x)), X) == ["dense", "elementwise", "add"] * 2


def test_a_custom_derivative_around_layers_is_looked_into():
    @jax.custom_vjp
    def layer(x):
        return jax.nn.relu(x @ W + ARRAY)

    layer.defvjp(lambda x: (layer(x), x), lambda x, g: (g,))
    assert kinds(lambda x: layer(x) @ V, X) == ["dense", "elementwise", "dense"]


def test_constants_are_computed_without_a_unit():
    def f(x, w):
        normed = w / jnp.sqrt((w**2).sum(0) + 1e-3)
        return x @ jnp.tanh(normed)

    assert kinds(f, X, W) == ["dense"]


def test_a_plan_computes_nothing():
    def f(x, w):
        assert isinstance(x, jax.core.Tracer)
        return x @ w

    shapes = (jax.ShapeDtypeStruct((2, 1 << 15), np.float32),) * 2
    planned = plan(lambda x, w: f(x, w.T), None, *shapes)
    assert isinstance(planned, Plan)
    (unit,) = [u for u in planned.units if u.kind == "dense"]
    assert unit.outputs[0].shape == (2, 2) and unit.inputs[0].shape == (2, 1 << 15)


def test_units_say_their_shapes():
    (unit,) = units(lambda x: x @ W[:, :3] + ARRAY[:3], X)
    assert [value.shape for value in unit.inputs] == [(2, 4)]
    assert [value.shape for value in unit.outputs] == [(2, 3)]
    assert unit.outputs[0].dtype == np.float32
