"""What cannot be explained on many devices says so."""

import jax
import jax.numpy as jnp
import pytest
from devices import networks as n
from devices.meshes import mesh
from devices.programs import COLUMNS, ROWS, SPLIT, mapped, two_layers
from jax import P, lax

from lrpjax import PlanError, UnsupportedPrimitiveError, lrp, plan


def test_without_check_vma_nobody_knows_what_devices_hold_alike():
    program = mapped(lambda x: x @ n.W1, in_specs=P("data"), check_vma=False)
    with pytest.raises(UnsupportedPrimitiveError, match="check_vma=False"):
        lrp(program)(n.X)


def test_a_tap_inside_has_no_one_shape():
    program = mapped(two_layers, in_specs=SPLIT)
    explained = lambda x: program(x, n.W1, n.B1, n.W2, n.B2)
    with pytest.raises(PlanError, match="inside a shard_map, where taps have no one shape"):
        lrp(explained, taps=("dot_general_0",))(n.X)


def test_a_tap_outside_is_as_ever():
    program = mapped(lambda x, w: lax.psum(x @ w, "model"), in_specs=(P("data", "model"), ROWS))
    explained = lambda x: program(x, n.W1) @ n.W2
    _, tapped = lrp(explained, "epsilon", taps=("dot_general_1",))(n.X)
    expected = lrp(lambda x: x @ n.W1 @ n.W2, "epsilon", taps=("dot_general_1",))(n.X)[1]
    assert tapped["dot_general_1"] == pytest.approx(expected["dot_general_1"])


def test_a_softmax_over_devices_is_none():
    def body(x):
        exponentials = jnp.exp(x - lax.pmax(lax.stop_gradient(x.max(-1, keepdims=True)), "model"))
        return exponentials / lax.psum(exponentials.sum(-1, keepdims=True), "model")

    split = P("data", "model")
    with pytest.raises(UnsupportedPrimitiveError, match="'div'"):
        plan(mapped(body, in_specs=split, out_specs=split), None, n.X)


def test_a_maximum_over_devices_is_not_known():
    program = mapped(lambda x: lax.pmax(x, "model"), in_specs=P("data", "model"))
    with pytest.raises(UnsupportedPrimitiveError, match="'pmax'"):
        plan(program, None, n.X)


def test_a_shard_map_in_another_says_that_jax_cannot_differentiate_it():
    """JAX 0.10 and 0.12 differentiate no shard_map inside a shard_map."""
    inner = jax.shard_map(
        two_layers,
        in_specs=(P(), COLUMNS, ROWS, ROWS, P()),
        out_specs=P(),
        axis_names={"model"},
    )
    specs = (P("data"), P(), P(), P(), P())
    outer = jax.shard_map(
        inner, mesh=mesh(), in_specs=specs, out_specs=P("data"), axis_names={"data"}
    )
    explained = lambda x: outer(x, n.W1, n.B1, n.W2, n.B2)
    assert jax.jit(explained)(n.X) == pytest.approx(n.mlp(n.X)), "JAX itself runs it"
    with pytest.raises(UnsupportedPrimitiveError, match="shard_map"):
        lrp(explained)(n.X)
