"""What an explanation costs in convolutions and products, counted in the optimised program.

The counts are those of docs/design.md, Speed: forward and backward together, where the gradient
takes 2 for each layer. N: the input is known not to be negative, so half of the work is left out.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.compiling import as_users_do
from support.networks import normal

from lrpjax import Composite, lrp, lrp_vjp, plan, rules

KERNELS = [jnp.asarray(normal(3, 3, 4, 4, seed=300 + i), jnp.float32) for i in range(3)]
WEIGHTS = [jnp.asarray(normal(8, 8, seed=310 + i), jnp.float32) for i in range(3)]
IMAGES = jnp.asarray(normal(2, 8, 8, 4, seed=320), jnp.float32)
ROWS = jnp.asarray(normal(2, 8, seed=321), jnp.float32)

#: Applications of the linear map by layer: (input of any sign, N).
COSTS = {
    "Epsilon": (rules.Epsilon(), 2, 2),
    "Zero": (rules.Zero(), 2, 2),
    "ZPlus": (rules.ZPlus(), 3, 3),  # any sign: x⁺ and x⁻ are stacked in one call of double width
    "Gamma": (rules.Gamma(0.25), 5, 4),
    "AlphaBeta": (rules.AlphaBeta(2.0, 1.0), 5, 5),
    "AlphaBeta, β = 0": (rules.AlphaBeta(1.0, 0.0), 3, 3),  # what doesn't count isn't computed
    "WSquare": (rules.WSquare(), 3, 3),
}


def convnet(kernels, x):
    for kernel in kernels[:-1]:
        x = jax.nn.relu(conv(x, kernel))
    return conv(x, kernels[-1]).mean((1, 2))


def conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def mlp(weights, x):
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ weights[-1]


NETWORKS = {
    "convolution": (convnet, KERNELS, IMAGES),
    "dot": (mlp, WEIGHTS, ROWS),
}


def count(function, operation, *arguments):
    text = as_users_do(function, *arguments).as_text()
    return len(re.findall(rf" {operation}\(", text))


@pytest.mark.parametrize("operation", NETWORKS)
@pytest.mark.parametrize("name", COSTS)
def test_a_rule_applies_the_linear_map_no_more_often_than_it_must(operation, name):
    """The first layer's input has any sign, that of the other two is rectified."""
    network, weights, x = NETWORKS[operation]
    rule, signed, nonnegative = COSTS[name]
    explain = lambda weights, x: lrp(network, rule, argnums=1)(weights, x, target=1)
    assert count(explain, operation, weights, x) == signed + 2 * nonnegative


@pytest.mark.parametrize("operation", NETWORKS)
def test_the_gradient_itself_takes_two_for_each_layer(operation):
    network, weights, x = NETWORKS[operation]
    logits = lambda weights, x: network(weights, x)[:, 1].sum()
    gradient = lambda weights, x: jax.value_and_grad(logits, argnums=1)(weights, x)
    assert count(gradient, operation, weights, x) == 6


@pytest.mark.parametrize("operation", NETWORKS)
def test_rules_that_need_no_weights_run_without_them(operation):
    """Flat: one transposed sum of ones; on a dense layer nothing but a mean."""
    network, weights, x = NETWORKS[operation]
    composite = Composite(conv=rules.Epsilon(), dense=rules.Epsilon(), first=rules.Flat())
    explain = lambda weights, x: lrp(network, composite, argnums=1)(weights, x, target=1)
    text = as_users_do(explain, weights, x).as_text()
    wide = [line for line in text.splitlines() if f" {operation}(" in line]
    assert len(wide) == 6 + (operation == "convolution") - (operation == "dot")
    if operation == "convolution":
        assert sum(",8,1]" in line.split(" convolution(")[0] for line in wide) == 2


@pytest.mark.parametrize("rule", [rules.Epsilon(), rules.ZPlus(), rules.Gamma(0.25)])
def test_passes_that_are_stopped_cost_nothing(rule):
    def network(weights, x):
        return mlp(weights, x) + mlp(weights, jax.lax.stop_gradient(x))

    explain = lambda weights, x: lrp(network, rule, argnums=1)(weights, x, target=1)
    alone = lambda weights, x: lrp(mlp, rule, argnums=1)(weights, x, target=1)
    forward = count(mlp, "dot", WEIGHTS, ROWS)
    assert count(explain, "dot", WEIGHTS, ROWS) <= count(alone, "dot", WEIGHTS, ROWS) + forward


def test_a_pointwise_convolution_is_a_product_in_the_backward_pass():
    """No transposed copy of its weights is made."""
    kernel = jnp.asarray(normal(1, 1, 4, 6, seed=330), jnp.float32)
    explain = lambda kernel, x: lrp(lambda k, x: conv(x, k).sum((1, 2)), "epsilon", argnums=1)(
        kernel, x
    )
    assert count(explain, "convolution", kernel, IMAGES) <= 1
    assert count(explain, "transpose", kernel, IMAGES) == 0


@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [((8, 8), (4, 4), (4, 4)), ((9, 11), (2, 3), (3, 4)), ((7, 7), (1, 1), (2, 2))],
    ids=["patches", "gaps and a rest", "1×1 with a stride"],
)
def test_windows_that_do_not_overlap_are_a_product_in_the_backward_pass(size, kernel, strides):
    """No zeros are put between the positions of a stride."""
    x = jnp.asarray(normal(2, *size, 3, seed=331), jnp.float32)
    weights = jnp.asarray(normal(*kernel, 3, 5, seed=332), jnp.float32)

    def patches(weights, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, weights, strides, "VALID", dimension_numbers=numbers)
        return y.reshape(len(x), -1)

    rule = rules.AlphaBeta(2.0, 1.0)
    explain = lambda weights, x: lrp(patches, rule, argnums=1)(weights, x, target=3)
    assert count(explain, "convolution", weights, x) <= 1
    matrix = jax.jacobian(lambda x: patches(weights, x[None])[0])(x[0]).reshape(-1, x[0].size)
    dense = lrp(lambda x: x.reshape(len(x), -1) @ matrix.T, rule)(x, target=3)
    np.testing.assert_allclose(explain(weights, x), dense, rtol=1e-5, atol=1e-6)


def test_max_pooling_needs_no_index_arrays():
    def pooled(x):
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        ).sum((1, 2))

    text = jax.jit(lrp(pooled)).lower(IMAGES).compile().as_text()
    assert "scatter(" not in text
    assert len(re.findall(r" reduce-window\(", text)) == 1


def test_ten_starts_take_one_forward_pass_and_one_wide_backward_pass():
    def explain(weights, x):
        _, relevance_of = lrp_vjp(convnet, "epsilon_plus", weights, x, argnums=1)
        return jax.vmap(relevance_of)(jnp.arange(4))

    single = lambda w, x: lrp(convnet, "epsilon_plus", argnums=1)(w, x, target=0)
    assert count(explain, "convolution", KERNELS, IMAGES) == count(
        single, "convolution", KERNELS, IMAGES
    )


def test_the_plan_of_a_deep_network_grows_with_its_depth_and_not_its_square():
    """Counted in calls of the planner's own functions, which is exact; seconds are not."""
    import cProfile
    import pstats

    def calls(depth):
        weights = [jnp.eye(2)] * depth
        profile = cProfile.Profile()
        profile.runcall(plan, mlp, "epsilon_plus", weights, jnp.ones((1, 2)), argnums=1)
        return pstats.Stats(profile).total_calls

    shallow, deep = calls(32), calls(128)
    assert np.log(deep / shallow) / np.log(4) < 1.2


def test_a_beta_of_0_that_is_differentiated_is_computed():
    """The slope of relevance by β: minus the negative part's share."""

    def explained(beta):
        rule = rules.AlphaBeta(1.0 + beta, beta)
        return lrp(lambda x: x @ WEIGHTS[0], rule)(ROWS, target=1)[0, 0]

    step = 1e-2
    slope = (explained(step) - explained(0.0)) / step  # it is linear in β
    np.testing.assert_allclose(jax.grad(explained)(0.0), slope, rtol=1e-2)
    assert abs(slope) > 1e-3
