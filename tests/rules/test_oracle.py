"""The oracle itself, against numbers worked out by hand."""

import numpy as np
import oracle
import pytest

# One output: z = 2·3 − 1·4 + 0·5 + 1 = 3, products 6 and −4; the third input has no weight.
LAYER = oracle.Affine(np.array([[2.0, -1.0, 0.0]]), np.array([1.0]), np.ones((1, 3)))
X, R = np.array([3.0, 4.0, 5.0]), np.array([6.0])

BY_HAND = {
    "zero": (oracle.zero(LAYER, X, R), [12.0, -8.0, 0.0]),
    "epsilon": (oracle.epsilon(LAYER, X, R, 1.0), [9.0, -6.0, 0.0]),
    "gamma": (oracle.gamma(LAYER, X, R, 1.0, 0.0), [7.2, -2.4, 0.0]),
    "zplus": (oracle.zplus(LAYER, X, R, 0.0), [36 / 7, 0.0, 0.0]),
    "alpha beta": (oracle.alpha_beta(LAYER, X, R, 2.0, 1.0, 0.0), [72 / 7, -6.0, 0.0]),
    "flat": (oracle.flat(LAYER, X, R), [2.0, 2.0, 2.0]),
    "wsquare": (oracle.wsquare(LAYER, X, R, 0.0), [4.0, 1.0, 0.0]),
    "zbox": (oracle.zbox(LAYER, X, R, 0.0, 6.0, 0.0), [4.5, 1.5, 0.0]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_layer_worked_out_by_hand(name):
    actual, expected = BY_HAND[name]
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


def test_a_negative_output_favours_what_lowers_it():
    """z = 6 − 8 = −2, products 6 and −8; with γ = 1 the messages are 6 and −16 over −10."""
    layer = oracle.Affine(np.array([[2.0, -2.0]]), np.zeros(1), np.ones((1, 2)))
    actual = oracle.gamma(layer, np.array([3.0, 4.0]), np.array([5.0]), 1.0, 0.0)
    np.testing.assert_allclose(actual, [-3.0, 8.0], rtol=1e-14)


def test_relevance_at_zero_is_dropped_without_epsilon_and_positive_with_it():
    np.testing.assert_array_equal(oracle.quotient(np.ones(2), np.array([0.0, 2.0]), 0.0), [0, 0.5])
    np.testing.assert_array_equal(
        oracle.stabilise(np.array([-1.0, 0.0, 1.0]), 0.5), [-1.5, 0.5, 1.5]
    )


def test_sums_by_hand():
    operands = [np.array([3.0, 0.0]), np.array([-1.0, 0.0])]
    relevance = np.array([4.0, 4.0])
    shares = oracle.add_epsilon(operands, relevance, 0.0)
    np.testing.assert_array_equal(shares, [[6.0, 0.0], [-2.0, 0.0]])
    np.testing.assert_array_equal(oracle.add_ratio(operands, relevance), [[3.0, 2.0], [1.0, 2.0]])
    np.testing.assert_array_equal(oracle.add_even(operands, relevance), [[2.0, 2.0], [2.0, 2.0]])


def test_the_dense_matrix_of_a_function():
    weights, bias = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 2.0])
    layer = oracle.affine(lambda x: x @ weights + bias, (2,), lambda x: x @ np.ones((2, 3)))
    np.testing.assert_array_equal(layer.W, weights.T)
    np.testing.assert_array_equal(layer.b, bias)
    np.testing.assert_array_equal(layer.connected, np.ones((3, 2)))
