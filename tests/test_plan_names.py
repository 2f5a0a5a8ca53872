"""What layers are called: after their weights' modules, else their scope, else what they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.networks import LinenNet, NnxNet, conv, normal
from support.planning import layers, units

from lrpjax import plan

X = normal(2, 4, seed=120).astype(np.float32)
IMAGE = normal(2, 6, 6, 2, seed=121).astype(np.float32)
W, B = normal(4, 4, seed=122).astype(np.float32), normal(4, seed=123).astype(np.float32)
KERNEL = normal(3, 3, 2, 4, seed=124).astype(np.float32)


class Encoder(nn.Module):
    """Modules within modules."""

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = Layer(name=f"block_{i}")(x)
        return nn.Dense(3, name="head")(x)


class Layer(nn.Module):
    """A dense layer, its norm and a relu."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="query", use_bias=False)(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(x))


def init(module, x):
    return jax.eval_shape(module.init, jax.random.key(0), x)


def weighted(*args, **options):
    return [u.layer for u in units(*args, **options) if u.kind in ("conv", "dense")]


@pytest.mark.smoke
def test_linen_layers_have_their_modules_path_without_the_collection():
    module = Encoder()
    expected = ["block_0/query", "block_1/query", "head"]
    assert weighted(module, init(module, X), X) == expected
    assert weighted(lambda v, x: module.apply(v, x), init(module, X), X, argnums=1) == expected
    assert (
        weighted(
            lambda p, x: module.apply({"params": p["params"], "batch_stats": p["batch_stats"]}, x),
            init(module, X),
            X,
            argnums=1,
        )
        == expected
    )


def test_a_plain_tree_of_parameters_names_layers_too():
    p = {"encoder": {"attn": {"query": {"kernel": W, "bias": B}}}, "head": {"w": W}}

    def f(x, p):
        query = p["encoder"]["attn"]["query"]
        return jax.nn.relu(x @ query["kernel"] + query["bias"]) @ p["head"]["w"]

    assert weighted(f, X, p) == ["encoder/attn/query", "head"]
    assert weighted(lambda v, x: f(x, v["params"]), {"params": p}, X, argnums=1) == weighted(
        f, X, p
    )


def test_a_parameter_of_the_top_module_uses_its_leafs_name():
    assert weighted(lambda x, p: x @ p["kernel"], X, {"kernel": W}) == ["kernel"]
    assert weighted(lambda x, p: x @ p["params"]["kernel"], X, {"params": {"kernel": W}}) == [
        "kernel"
    ]
    assert layers(lambda x, p: jax.nn.relu(x) * p["scale"], X, {"scale": B})[1] == "scale"


def test_lists_of_layers_have_their_index():
    p = {"layers": [{"w": W}, {"w": W}]}
    f = lambda x, p: jax.nn.relu(x @ p["layers"][0]["w"]) @ p["layers"][1]["w"]
    assert weighted(f, X, p) == ["layers/0", "layers/1"]


def test_nnx_layers_have_their_attributes_path():
    class Stack(nnx.Module):
        def __init__(self):
            self.inner = NnxNet()
            self.inner.eval()
            self.blocks = nnx.List([nnx.Linear(3, 3, rngs=nnx.Rngs(i)) for i in range(2)])

        def __call__(self, x):
            x = self.inner(x)
            for block in self.blocks:
                x = nnx.relu(block(x))
            return x

    assert weighted(Stack(), X) == ["inner/first", "inner/last", "blocks/0", "blocks/1"]


def test_folded_modules_are_aliases():
    module = LinenNet()
    stem = units(module, init(module, IMAGE), IMAGE)[0]
    assert stem.layer == "stem" and "norm" in stem.aliases
    model = NnxNet()
    model.eval()
    first = units(model, X)[0]
    assert first.layer == "first" and "norm" in first.aliases


def test_a_repeated_use_gets_a_number():
    def f(x, p):
        for _ in range(3):
            x = jax.nn.relu(x @ p["shared"]["w"])
        return x

    assert weighted(f, X, {"shared": {"w": W}}) == ["shared", "shared#2", "shared#3"]


def test_a_computed_weight_is_named_after_the_module_that_holds_its_parameters():
    def f(x, p):
        v = p["norm_dense"]["v"]
        w = v / jnp.sqrt((v**2).sum(0)) * p["norm_dense"]["g"]
        return x @ w.T

    assert weighted(f, X, {"norm_dense": {"v": W, "g": B}}) == ["norm_dense"]


def test_a_cast_or_reshaped_weight_keeps_its_name():
    def f(x, p):
        w = p["a"]["w"].astype(jnp.bfloat16).reshape(2, 2, 4)
        return x @ w.reshape(4, 4).astype(jnp.float32)

    assert weighted(f, X, {"a": {"w": W}}) == ["a"]


def test_named_layers_keep_their_names_inside_jit_and_remat():
    p = {"a": {"w": W}, "b": {"w": W}}
    layer = jax.checkpoint(jax.jit(lambda x, q: jax.nn.relu(x @ q["w"])))
    assert weighted(lambda x, p: layer(layer(x, p["a"]), p["b"]), X, p) == ["a", "b"]


# ---------------------------------------------------------------- without named parameters


def test_without_named_parameters_layers_are_counted():
    f = lambda x: jax.nn.relu(x @ W) @ W
    assert weighted(f, X) == ["dot_general_0", "dot_general_1"]
    g = lambda x: jax.nn.relu(conv(x, KERNEL)).mean((1, 2)) @ W
    assert weighted(g, IMAGE) == ["conv_general_dilated_0", "dot_general_0"]


def test_a_bare_array_as_an_argument_has_no_name():
    assert weighted(lambda x, w: x @ w, X, W) == ["dot_general_0"]


def test_without_parameters_the_named_scope_counts():
    def f(x):
        with jax.named_scope("encoder"):
            y = jax.nn.relu(x @ W)
            with jax.named_scope("pool"):
                y = y.mean(-1)
        return y

    found = {u.kind: u.layer for u in units(f, X)}
    assert found["dense"] == "encoder" and found["pool"] == "encoder/pool"
    assert found["elementwise"].startswith("encoder")


def test_transforms_leave_no_trace_in_scopes():
    def f(x):
        with jax.named_scope("encoder"):
            return jnp.tanh(x)

    names = layers(jax.vmap(f), X)
    assert names == ["encoder"]


def test_else_a_unit_is_named_after_the_last_layer_and_what_it_is():
    p = {"first": {"w": W}, "second": {"w": W}}

    def f(x, p):
        return jnp.tanh(jax.nn.relu(x @ p["first"]["w"]) @ p["second"]["w"])

    names = layers(f, X, p)
    assert names[0] == "first" and names[1].startswith("first/")
    assert names[2] == "second" and names[3].startswith("second/")


def test_every_name_is_used_once():
    module = LinenNet()
    names = [u.layer for u in plan(module, None, init(module, IMAGE), IMAGE).units]
    assert len(names) == len(set(names)) and all(names)


def test_a_linen_units_scope_is_its_modules_path():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Activation(name="act")(nn.Dense(4, name="dense")(x))

    class Activation(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.tanh(x)

    module = Net()
    assert layers(module, init(module, X), X) == ["dense", "act"]
