"""What only the backward pass needs is made there, without changing any number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.compiling import as_users_do
from support.networks import normal

from lrpjax import Composite, lrp, lrp_vjp, rules
from lrpjax.rewrite import late

KERNELS = [jnp.asarray(normal(3, 3, 8, 8, seed=700 + i) / 8, jnp.float32) for i in range(6)]
IMAGES = jnp.asarray(normal(4, 16, 16, 8, seed=720), jnp.float32)

RULES = {
    "ZPlus": rules.ZPlus(),
    "Gamma": rules.Gamma(0.25),
    "AlphaBeta": rules.AlphaBeta(2.0, 1.0),
    "ZBox": rules.ZBox(-3.0, 3.0),
    "Epsilon": rules.Epsilon(),
}


@pytest.fixture
def on_one_cpu(monkeypatch):
    """Explanations as on a machine with one device; this suite simulates several."""
    jax.clear_caches()
    monkeypatch.setattr(late, "_on_one_cpu", lambda: True)


@pytest.fixture
def at_once(monkeypatch):
    """Explanations as on any other machine."""

    def switch(on):
        jax.clear_caches()
        monkeypatch.setattr(late, "_on_one_cpu", lambda: not on)

    return switch


def convnet(kernels, x):
    for kernel in kernels:
        x = jax.nn.relu(
            jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )
    return x.mean((1, 2))


def explain(rule):
    return lambda kernels, x: lrp(convnet, rule, argnums=1)(kernels, x, target=1)


def temporary(function, *arguments):
    compiled = as_users_do(function, *arguments)
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", RULES)
def test_relevance_is_the_same_to_the_last_bit(name, at_once):
    found = {}
    for on in (True, False):
        at_once(on)
        with jax.disable_jit():
            found[on] = np.asarray(explain(RULES[name])(KERNELS[:2], IMAGES))
    assert np.abs(found[True]).max() > 0
    np.testing.assert_array_equal(found[True], found[False])


def test_reversed_kernels_do_not_wait(at_once):
    """Small images and wide kernels: what a transposed convolution copies outweighs the rest."""
    kernels = [jnp.asarray(normal(3, 3, 64, 64, seed=730 + i) / 24, jnp.float32) for i in range(6)]
    images = jnp.asarray(normal(1, 6, 6, 64, seed=740), jnp.float32)
    sizes = {}
    for on in (True, False):
        at_once(on)
        sizes[on] = temporary(explain(rules.Epsilon()), kernels, images)
    assert sizes[False] < sizes[True] - 3 * kernels[0].nbytes


@pytest.mark.parametrize("name", ["ZPlus", "AlphaBeta"])
def test_memory_is_less_for_it(name, at_once):
    sizes = {}
    for on in (True, False):
        at_once(on)
        sizes[on] = temporary(explain(RULES[name]), KERNELS, IMAGES)
    assert sizes[False] < 0.75 * sizes[True]


@pytest.mark.usefixtures("on_one_cpu")
def test_flat_in_front_holds_nothing_more():
    """Its quotient by constants is not merged into what it is made of."""
    flat = Composite(conv=rules.ZPlus(), first=rules.Flat())
    plus = temporary(explain(rules.ZPlus()), KERNELS, IMAGES)
    assert temporary(explain(flat), KERNELS, IMAGES) < 1.05 * plus


@pytest.mark.usefixtures("on_one_cpu")
def test_many_explanations_of_one_input_share_its_maps():
    def many(kernels, x):
        _, relevance_of = lrp_vjp(convnet, rules.ZPlus(), kernels, x, argnums=1)
        return jax.vmap(relevance_of)(jnp.arange(4))

    def convolutions(function):
        text = as_users_do(function, KERNELS, IMAGES).as_text()
        return sorted(
            line.split(" convolution(")[0].split("f32[")[1].split(",")[0]
            for line in text.splitlines()
            if " convolution(" in line
        )

    batch, single = str(len(IMAGES)), convolutions(explain(rules.ZPlus()))
    assert set(single) == {batch}
    found = convolutions(many)
    assert len(found) == len(single)
    assert found.count(batch) == 2 * len(KERNELS), "the layers' own maps, and their positive parts"
    each = np.stack(
        [lrp(convnet, rules.ZPlus(), argnums=1)(KERNELS, IMAGES, target=i) for i in range(4)]
    )
    np.testing.assert_allclose(jax.jit(many)(KERNELS, IMAGES), each, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("on_one_cpu")
def test_a_nan_in_one_example_stays_there():
    x = IMAGES.at[0].set(jnp.nan)
    relevance = np.asarray(jax.jit(explain(rules.ZPlus()))(KERNELS[:2], x))
    assert np.isnan(relevance[0]).any()
    alone = jax.jit(explain(rules.ZPlus()))(KERNELS[:2], IMAGES)
    np.testing.assert_allclose(relevance[1:], np.asarray(alone)[1:], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("on_one_cpu")
def test_it_can_be_mapped_and_differentiated():
    composite = Composite(conv=rules.ZPlus())
    loss = lambda x: (lrp(convnet, composite, argnums=1)(KERNELS[:2], x, target=1) ** 2).sum()
    x, direction = (jnp.asarray(normal(1, 8, 8, 8, seed=s), jnp.float32) for s in (730, 731))
    slope = jnp.vdot(jax.grad(loss)(x), direction)
    step = 1e-2
    quotient = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, quotient, rtol=2e-2)
    single = lambda image: lrp(convnet, composite, argnums=1)(KERNELS[:2], image[None], target=1)[0]
    mapped = jax.vmap(single)(IMAGES)
    whole = lrp(convnet, composite, argnums=1)(KERNELS[:2], IMAGES, target=1)
    np.testing.assert_allclose(mapped, whole, rtol=1e-4, atol=1e-7)
