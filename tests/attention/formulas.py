"""Relevance through a transformer's layers in plain NumPy, float64, one head after the other.

Nothing here imports lrpjax: each function is written from the published formula. r is the
relevance that arrives at the outputs, S(z) = z + ε·sign(z), and ε is 10⁻⁶ throughout.

AttnLRP: Achtibat et al. 2024. CP-LRP: Ali et al. 2022.
"""

from dataclasses import dataclass

import numpy as np
from oracle import quotient

EPSILON = 1e-6


def dense(x, w, b, r):
    """The ε-rule on z = xw + b: x [n, in], w [in, out], b [out], r [n, out]."""
    return x * (quotient(r, x @ w + b, EPSILON) @ w.T)


def residual(a, b, r):
    """The ε-rule on a + b: what each of them gets."""
    share = quotient(r, a + b, EPSILON)
    return a * share, b * share


def layer_norm(x, scale, shift, small=1e-6):
    """scale ⊙ (x − mean) / √(variance + small) + shift along the last axis."""
    return (x @ _centring(x)) * scale * _falling(x, small) + shift


def layer_norm_back(x, scale, shift, r, small=1e-6):
    """The ε-rule on y = αCx + shift: α, one over the deviation, is held constant."""
    slope = scale * _falling(x, small)
    share = quotient(r, (x @ _centring(x)) * slope + shift, EPSILON)
    return x * ((share * slope) @ _centring(x))


def rms_norm(x, scale, small=1e-6):
    """scale ⊙ x / √(mean x² + small) along the last axis."""
    return x * scale / np.sqrt((x**2).mean(-1, keepdims=True) + small)


def rms_norm_back(x, scale, r, small=1e-6):
    """The ε-rule on y = αx, one input for each output."""
    y = rms_norm(x, scale, small)
    return y * quotient(r, y, EPSILON)


def _centring(x):
    """C = I − 11ᵀ/n."""
    n = x.shape[-1]
    return np.eye(n) - 1 / n


def _falling(x, small):
    return 1 / np.sqrt(x.var(-1, keepdims=True) + small)


def gelu(x):
    """Its approximation by a tangent hyperbolic, which JAX takes by default."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x, mask=True, axis=-1):
    """exp(x) / Σ exp(x); 0 where the mask is false."""
    kept = np.where(mask, x, -np.inf)
    e = np.exp(kept - kept.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_taylor(x, s, r, mask=True, axis=-1):
    """R = x ⊙ (r − s Σr), 0 for masked logits."""
    kept = np.broadcast_to(mask, x.shape) & ~np.isneginf(x)
    return np.where(kept, x, 0) * np.where(kept, r - s * r.sum(axis, keepdims=True), 0)


def product_uniform(a, b, r):
    """Half of the relevance of a·b to each."""
    return r / 2, r / 2


def product_proportional(a, b, r, epsilon=EPSILON):
    """To a what a / S(a + b) says, to b the same."""
    share = quotient(r, a + b, epsilon)
    return a * share, b * share


def product_absolute(a, b, r):
    """To a what |a| / (|a| + |b|) says; half to each where both are 0."""
    total = np.abs(a) + np.abs(b)
    to_a = np.where(total == 0, 0.5, np.abs(a) / np.where(total == 0, 1, total))
    return to_a * r, (1 - to_a) * r


def contraction(subscripts, a, b, r, epsilon=EPSILON):
    """What a and b get of o = einsum(a, b) by the ε-rule, each as if the other were constant."""
    left, right, out = subscripts.replace("->", ",").split(",")
    share = quotient(r, np.einsum(subscripts, a, b), epsilon)
    to_a = a * np.einsum(f"{out},{right}->{left}", share, b)
    return to_a, b * np.einsum(f"{out},{left}->{right}", share, a)


def matmul_uniform(a, b, r):
    """Half to each operand of o = a @ b: R_A = A ⊙ (r / 2S(o)) Bᵀ."""
    half = quotient(r, a @ b, EPSILON) / 2
    return a * (half @ b.T), b * (a.T @ half)


def matmul_value_only(a, b, r):
    """All to the right operand: R(b_i) = Σ_j b_i a_ji / S(o_j) r_j."""
    return np.zeros_like(a), b * (a.T @ quotient(r, a @ b, EPSILON))


@dataclass(frozen=True)
class Head:
    """One attention head: softmax(scale · q kᵀ) v.

    Attributes:
        q, k, v: [t, d], [s, d], [s, d].
        mask: [t, s], true where a token is seen.
        scale: of the scores; 1 where q carries it already.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    mask: np.ndarray
    scale: float

    @property
    def scores(self):
        return self.q @ self.k.T

    @property
    def weights(self):
        return softmax(self.scores * self.scale, self.mask)

    @property
    def output(self):
        return self.weights @ self.v

    def attn_lrp(self, r):
        """Relevance of q, k, v, the weights and the scores, by AttnLRP."""
        to_weights, to_v = matmul_uniform(self.weights, self.v, r)
        to_scores = softmax_taylor(self.scores * self.scale, self.weights, to_weights, self.mask)
        to_q, to_k = matmul_uniform(self.q, self.k.T, to_scores)
        return to_q, to_k.T, to_v, to_weights, to_scores

    def cp_lrp(self, r):
        """The same by CP-LRP: all of it to v."""
        to_weights, to_v = matmul_value_only(self.weights, self.v, r)
        zero = np.zeros_like(to_weights)
        return np.zeros_like(self.q), np.zeros_like(self.k), to_v, zero, zero
