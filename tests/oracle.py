"""The rules of layer-wise relevance propagation once more, in plain NumPy on explicit matrices.

Nothing here imports lrpjax: every function is written from the published formula, in float64, for
an affine layer z = Wx + b held as a dense matrix W [out, in] and a bias b [out]. Inputs x are
[in], the relevance r that arrives at the layer's outputs is [out], and each rule returns the
relevance of the inputs, [in].
"""

from dataclasses import dataclass

import jax
import numpy as np

EPSILON = 1e-6


@dataclass(frozen=True)
class Affine:
    """An affine layer z = Wx + b, and which inputs each output is connected to.

    Attributes:
        W: the matrix, float64 [out, in].
        b: the bias, float64 [out].
        connected: 1.0 where an input lies in an output's window, whatever the weight's value,
            float64 [out, in].
    """

    W: np.ndarray
    b: np.ndarray
    connected: np.ndarray


def dense_matrix(f, shape):
    """The matrix [out, in] and bias [out] of an affine JAX function of one array of this shape."""
    origin = np.zeros(shape)
    bias = np.asarray(f(origin), np.float64)
    jacobian = np.asarray(jax.jit(jax.jacfwd(f))(origin), np.float64)
    return jacobian.reshape(bias.size, origin.size), bias.ravel()


def affine(f, shape, connectivity=None):
    """The affine layer of a JAX function; `connectivity` is the same layer with weights of one."""
    matrix, bias = dense_matrix(f, shape)
    ones = matrix if connectivity is None else dense_matrix(connectivity, shape)[0]
    return Affine(matrix, bias, (ones != 0).astype(np.float64))


def stabilise(z, epsilon):
    """S(z) = z + ε·sign(z), with sign(0) = +1."""
    return z + epsilon * np.where(z < 0, -1.0, 1.0)


def quotient(r, z, epsilon):
    """r / S(z); relevance at a denominator of exactly zero is dropped."""
    denominator = stabilise(z, epsilon)
    dead = denominator == 0
    return np.where(dead, 0.0, r / np.where(dead, 1.0, denominator))


def _positive(a):
    return np.maximum(a, 0.0)


def _negative(a):
    return np.minimum(a, 0.0)


def _parts(layer, x):
    """What each input adds to each output, [out, in]: the positive and the negative products."""
    up, down = _positive(layer.W), _negative(layer.W)
    xp, xm = _positive(x), _negative(x)
    return xp * up + xm * down, xp * down + xm * up


def epsilon(layer, x, r, epsilon=EPSILON):
    """R = x ⊙ Wᵀ[r / S(Wx + b)]."""
    return x * (layer.W.T @ quotient(r, layer.W @ x + layer.b, epsilon))


def zero(layer, x, r):
    """The ε-rule without ε; where z = 0 the relevance is dropped."""
    return epsilon(layer, x, r, 0.0)


def gamma(layer, x, r, gamma=0.25, epsilon=EPSILON):
    """Signed γ: outputs z ≥ 0 favour the products that raise them, z < 0 those that lower them."""
    z = layer.W @ x + layer.b
    raising, lowering = _parts(layer, x)
    products = layer.W * x
    messages_up = products + gamma * raising
    messages_down = products + gamma * lowering
    sum_up = z + gamma * raising.sum(1) + gamma * _positive(layer.b)
    sum_down = z + gamma * lowering.sum(1) + gamma * _negative(layer.b)
    messages = np.where((z >= 0)[:, None], messages_up, messages_down)
    return messages.T @ quotient(r, np.where(z >= 0, sum_up, sum_down), epsilon)


def zplus(layer, x, r, epsilon=EPSILON):
    """(x⁺W⁺ + x⁻W⁻) / S(its sum + b⁺)."""
    raising, _ = _parts(layer, x)
    return raising.T @ quotient(r, raising.sum(1) + _positive(layer.b), epsilon)


def alpha_beta(layer, x, r, alpha=2.0, beta=1.0, epsilon=EPSILON):
    """α times the share of the positive products less β times that of the negative ones."""
    raising, lowering = _parts(layer, x)
    up = raising.T @ quotient(r, raising.sum(1) + _positive(layer.b), epsilon)
    down = lowering.T @ quotient(r, lowering.sum(1) + _negative(layer.b), epsilon)
    return alpha * up - beta * down


def flat(layer, x, r):
    """Each output spreads its relevance evenly over the inputs it is connected to."""
    return layer.connected.T @ quotient(r, layer.connected.sum(1), 0.0)


def wsquare(layer, x, r, epsilon=EPSILON):
    """W² / S(ΣW² + b²)."""
    squares = layer.W**2
    return squares.T @ quotient(r, squares.sum(1) + layer.b**2, epsilon)


def zbox(layer, x, r, low=-1.0, high=1.0, epsilon=EPSILON):
    """(xW − lW⁺ − hW⁻) / S(its sum); the bounds are scalars or [in]."""
    messages = layer.W * x - _positive(layer.W) * low - _negative(layer.W) * high
    return messages.T @ quotient(r, messages.sum(1), epsilon)


def pass_share(y, y_at_zero, r, epsilon=EPSILON):
    """(f(x) − f(0)) / S(f(x)) of the relevance where f(0) ≠ 0, all of it elsewhere; any shape."""
    return np.where(y_at_zero != 0, (y - y_at_zero) * quotient(r, y, epsilon), r)


def shift(scale, offset, x, r, epsilon=EPSILON):
    """y = s⊙x + b: the input's share s⊙x / S(y) of the relevance; any shape."""
    return scale * x * quotient(r, scale * x + offset, epsilon)


def add_epsilon(operands, r, epsilon=EPSILON):
    """The share a / S(Σ) of every operand, constants among them; an operand carries its sign."""
    share = quotient(r, sum(operands), epsilon)
    return [operand * share for operand in operands]


def add_ratio(operands, r):
    """Each operand's |a| / Σ|a| of the relevance, an even part where all are zero."""
    total = sum(np.abs(operand) for operand in operands)
    even = 1.0 / len(operands)
    safe = np.where(total == 0, 1.0, total)
    return [np.where(total == 0, even, np.abs(operand) / safe) * r for operand in operands]


def add_even(operands, r):
    """1/n of the relevance to each of the n operands."""
    return [r / len(operands) for _ in operands]
