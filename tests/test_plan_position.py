"""Which layers are first and last: by dataflow, not by the order they are written in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import normal
from support.planning import units

X = normal(2, 4, seed=130).astype(np.float32)
P = {name: normal(4, 4, seed=131 + i).astype(np.float32) for i, name in enumerate("abcd")}


def positions(f, *args):
    """The names of the first and of the last layers."""
    found = units(f, *args)
    first = {u.layer for u in found if u.first}
    last = {u.layer for u in found if u.last}
    return first, last


relu = jax.nn.relu

CASES = {
    "a chain": (lambda x, p: relu(relu(x @ p["a"]) @ p["b"]) @ p["c"], {"a"}, {"c"}),
    "one layer": (lambda x, p: x @ p["a"], {"a"}, {"a"}),
    "two towers": (lambda x, p: relu(x @ p["a"]) @ p["c"] + relu(x[::-1] @ p["b"]) @ p["d"],
                   {"a", "b"}, {"c", "d"}),
    "a head that also sees the raw input": (
        lambda x, p: jnp.concatenate([relu(x @ p["a"]), x]) @ p["b"], {"a"}, {"b"}),
    "a skip around everything": (
        lambda x, p: relu(x @ p["a"]) @ p["b"] + x, {"a"}, {"b"}),
    "a residual block": (
        lambda x, p: (lambda y: relu(y + relu(y @ p["b"]) @ p["c"]) @ p["d"])(relu(x @ p["a"])),
        {"a"}, {"d"}),
    "two heads, one deeper": (
        lambda x, p: (lambda y: (y @ p["b"], relu(y @ p["c"]) @ p["d"]))(relu(x @ p["a"])),
        {"a"}, {"b", "d"}),
    "an early exit": (
        lambda x, p: (lambda y: jnp.concatenate([y, relu(y) @ p["b"]]))(x @ p["a"]),
        {"a"}, {"b"}),
    "pooling and scaling before": (
        lambda x, p: relu(jnp.tanh(x * 2.0).cumsum(1) @ p["a"]) @ p["b"], {"a"}, {"b"}),
    "through a remat": (
        lambda x, p: jax.checkpoint(lambda y: relu(y @ p["b"]))(relu(x @ p["a"])) @ p["c"],
        {"a"}, {"c"}),
    "first and last in remats": (
        lambda x, p: jax.checkpoint(lambda y: y @ p["b"])(
            jax.checkpoint(lambda y: relu(y @ p["a"]))(x)), {"a"}, {"b"}),
    "shared by two": (lambda x, p: relu(x @ p["a"]) @ p["a"], {"a"}, {"a#2"}),
}  # fmt: skip


@pytest.mark.smoke
@pytest.mark.parametrize("name", CASES)
def test_first_and_last(name):
    f, first, last = CASES[name]
    assert positions(f, X, P) == (first, last)


def test_the_order_of_definition_does_not_matter():
    """The second tower is written first, and the last layer's weights come first."""

    def f(x, p):
        other = x @ p["d"]
        y = relu(x @ p["b"])
        z = relu(y @ p["a"])
        return z + other

    assert positions(f, X, P) == ({"b", "d"}, {"a", "d"})


def test_aux_is_no_output_that_hides_the_last_layer():
    f = lambda x, p: (lambda z: (z, relu(z) @ p["b"]))(x @ p["a"])
    last = {u.layer for u in units(f, X, P, has_aux=True) if u.last}
    assert "a" in last


def test_a_layer_on_another_input_is_not_first():
    """Only paths from the explained input count."""
    f = lambda x, other, p: x @ p["a"] + relu(other @ p["b"]) @ p["c"]
    assert positions(f, X, X, P) == ({"a"}, {"a"})


def test_a_layer_behind_a_stop_is_no_last_layer_in_between():
    f = lambda x, p: relu(x @ p["a"]) + 0.0 * jax.lax.stop_gradient(relu(x @ p["a"]) @ p["b"])
    _, last = positions(f, X, P)
    assert "a" in last
