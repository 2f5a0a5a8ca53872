"""Normalisation layers and their rules in plain NumPy: every message is an element of a matrix.

Nothing here imports lrpjax. A layer is written on flattened elements, in float64:

    y = s ⊙ c ⊙ (k + L c²)^−β + t,  c = x − Mx,

with L [n, n] (what output k takes of each square), M [n, n] (the mean that is subtracted), and
k, β, s, t [n]. `along` builds the matrices of an array's axes from one small matrix per axis.
The messages are those of Binder et al. 2016 (arXiv:1604.00825).
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np

EPSILON = 1e-6


def window(size, before, after, step=1):
    """Ones where element j is at most `before` places before k or `after` behind it: [k, j]."""
    matrix = np.zeros((size, size))
    for k in range(size):
        for places in range(-before, after + 1):
            if 0 <= k + step * places < size:
                matrix[k, k + step * places] = 1.0
    return matrix


def full(size):
    """Every output takes every element: [size, size]."""
    return np.ones((size, size))


def blocks(size, groups):
    """Every output takes the elements of its own group: [size, size]."""
    return np.kron(np.eye(groups), np.ones((size // groups, size // groups)))


def along(shape, matrices):
    """The matrix over all elements of an array: `matrices` along these axes, each element's own
    along the others; [n, n] with n the product of the shape."""
    positive = {axis % len(shape): matrix for axis, matrix in matrices.items()}
    return reduce(np.kron, [positive.get(a, np.eye(size)) for a, size in enumerate(shape)])


def mean(sums):
    """The mean over what a matrix of ones sums."""
    return sums / sums.sum(1, keepdims=True)


@dataclass(frozen=True)
class Layer:
    """y = s ⊙ c ⊙ (k + L c²)^−β + t with c = x − Mx, as the head of this file says.

    Attributes:
        sums: L.
        k, beta, scale, shift: numbers, or arrays [n].
        mean: M, or None where no mean is subtracted.
    """

    sums: np.ndarray
    k: np.ndarray | float = 1.0
    beta: np.ndarray | float = 0.5
    scale: np.ndarray | float = 1.0
    shift: np.ndarray | float = 0.0
    mean: np.ndarray | None = None

    @property
    def centring(self):
        """C = I − M: [n, n]."""
        identity = np.eye(len(self.sums))
        return identity if self.mean is None else identity - self.mean

    def power(self, total):
        """ν: of the sums [n], what c is multiplied with, the scale left out."""
        return (self.k + total) ** -self.beta

    def slope(self, total):
        """∂ν/∂S: [n] -> [n]."""
        return -self.beta * (self.k + total) ** (-self.beta - 1)

    def factor(self, x):
        """What c is multiplied with: [n]."""
        return self.scale * self.power(self.sums @ (self.centring @ x) ** 2)

    def output(self, x):
        """The layer itself: [n] -> [n]."""
        return (self.centring @ x) * self.factor(x) + self.shift

    def messages(self, x, offset="center"):
        """z[k, j]: what input j sends to output k by the expansion around a lone c_k."""
        c = self.centring @ x
        alone = self.scale * c * self.power(self.sums.diagonal() * c**2)
        rate = 2 * self.scale * c * self.slope(self.sums @ c**2)
        z = rate[:, None] * self.sums * c**2
        np.fill_diagonal(z, 0)
        members = self.sums != 0 if offset == "uniform" else np.eye(len(c))
        return z + alone[:, None] * members / members.sum(1, keepdims=True)


@dataclass(frozen=True)
class OfNorm(Layer):
    """The same with ν = 1/(√S + e): x over its norm and a little more.

    Attributes:
        e: what is added to the norm.
    """

    e: float = 0.0

    def power(self, total):
        return 1 / (np.sqrt(total) + self.e)

    def slope(self, total):
        root = np.sqrt(np.where(total == 0, 1.0, total))
        return np.where(total == 0, 0.0, -0.5 / root / (root + self.e) ** 2)


def quotient(r, z, epsilon):
    """r / (z + ε·sign(z)) with sign(0) = +1; relevance at a zero denominator is dropped."""
    denominator = z + epsilon * np.where(z < 0, -1.0, 1.0)
    dead = denominator == 0
    return np.where(dead, 0.0, r / np.where(dead, 1.0, denominator))


def taylor(layer, x, r, offset="center", epsilon=EPSILON, alpha=None, beta=None):
    """The Taylor rule: the ε-rule on the messages, or the αβ-rule where α and β are given.

    Where a mean is subtracted, the messages are to c, and the ε-rule goes from c to x.
    """
    z = layer.messages(x, offset)
    shift = np.broadcast_to(layer.shift, r.shape)
    if alpha is None:
        given = z.T @ quotient(r, z.sum(1) + shift, epsilon)
    else:
        up, down = np.maximum(z, 0), np.minimum(z, 0)
        plus = alpha * quotient(r, up.sum(1) + np.maximum(shift, 0), epsilon)
        minus = beta * quotient(r, down.sum(1) + np.minimum(shift, 0), epsilon)
        given = up.T @ plus - down.T @ minus
    if layer.mean is None:
        return given
    return x * (layer.centring.T @ quotient(given, layer.centring @ x, epsilon))


def constant_normaliser(layer, x, r, epsilon=EPSILON):
    """The ε-rule on y = Ax + t, A the centring scaled by what the normaliser is at x."""
    matrix = layer.factor(x)[:, None] * layer.centring
    return x * (matrix.T @ quotient(r, matrix @ x + layer.shift, epsilon))


def slow_lrn(x, r, size, b, c, epsilon=EPSILON):
    """One vector through y_k = x_k / (1 + b Σ x²)^c, in the paper's own parameters.

    An odd window; element by element, O(size · n).
    """
    n, half = len(x), size // 2
    relevance = np.zeros(n)
    for k in range(n):
        near = range(max(k - half, 0), min(k + half + 1, n))
        total = 1 + b * sum(x[i] ** 2 for i in near)
        z = {j: -2 * b * c * x[k] * x[j] ** 2 / total ** (c + 1) for j in near}
        z[k] = x[k] / (1 + b * x[k] ** 2) ** c
        whole = sum(z.values())
        whole += epsilon if whole >= 0 else -epsilon
        for j in near:
            relevance[j] += z[j] / whole * r[k]
    return relevance
