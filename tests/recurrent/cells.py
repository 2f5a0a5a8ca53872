"""Recurrent cells and their relevance in plain NumPy float64, unrolled, from the formulas.

Nothing here imports lrpjax. Arrays are [batch, features], sequences [batch, time, features]. The
weights of a cell are a dict of its gates, each `(Wx, bx, Wh, bh)`: input kernel [D, H] with bias,
recurrent kernel [H, H] with bias.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import oracle


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


# ---------------------------------------------------------------- what a product's factors get


def half(gate, signal, r, epsilon):
    return r / 2, r / 2


def all_to_signal(gate, signal, r, epsilon):
    return np.zeros_like(r), r


def proportional(gate, signal, r, epsilon):
    c = oracle.quotient(r, gate + signal, epsilon)
    return gate * c, signal * c


def absolute(gate, signal, r, epsilon):
    return tuple(oracle.add_ratio([gate, signal], r))


@dataclasses.dataclass
class Rules:
    """The ε-rule for layers and sums, one rule for products; what they absorb is added up.

    With `redistributes`, bias and stabiliser are given to the inputs in equal parts, as Arras et
    al. do with a bias factor of 1, so that nothing is absorbed.
    """

    product_rule: callable = all_to_signal
    epsilon: float = 1e-6
    redistributes: bool = False
    bias: float = 0.0
    stabiliser: float = 0.0

    def dense(self, x, kernel, bias, r):
        """Relevance of x for z = x W + b."""
        z = x @ kernel + bias
        c = oracle.quotient(r, z, self.epsilon)
        even = self._left_over(bias * c, r - z * c, len(kernel))
        return x * (c @ kernel.T) + even.sum(-1, keepdims=True)

    def add(self, a, b, r):
        """Relevance of both terms of a sum."""
        c = oracle.quotient(r, a + b, self.epsilon)
        even = self._left_over(0.0 * c, r - (a + b) * c, 2)
        return a * c + even, b * c + even

    def product(self, gate, signal, r):
        """Relevance of a gate and of what it lets through."""
        shares = self.product_rule(gate, signal, r, self.epsilon)
        self.stabiliser += (r - sum(shares)).sum()
        return shares

    def activate(self, y, y_at_zero, r):
        """Relevance of z for y = f(z); f(0) takes its share, as a bias does."""
        given = oracle.pass_share(y, y_at_zero, r, 1e-6)
        if y_at_zero:
            c = oracle.quotient(r, y, 1e-6)
            self.bias += (y_at_zero * c).sum()
            self.stabiliser += (r - y * c).sum()
        return given

    def _left_over(self, bias, stabiliser, inputs):
        if self.redistributes:
            return (bias + stabiliser) / inputs
        self.bias += bias.sum()
        self.stabiliser += stabiliser.sum()
        return np.zeros_like(stabiliser)


# ---------------------------------------------------------------- cells


class Preactivation:
    """z = (x Wx + bx) + (h Wh + bh)."""

    def __init__(self, weights, x, h):
        self.weights, self.x, self.h = weights, x, h
        wx, bx, wh, bh = weights
        self.from_x, self.from_h = x @ wx + bx, h @ wh + bh
        self.z = self.from_x + self.from_h

    def relevance(self, r, rules):
        """Of x and of h."""
        wx, bx, wh, bh = self.weights
        rx, rh = rules.add(self.from_x, self.from_h, r)
        return rules.dense(self.x, wx, bx, rx), rules.dense(self.h, wh, bh, rh)


class Simple:
    """h' = tanh(z)."""

    gates = ("n",)
    carries = 1

    def __init__(self, weights, carry, x):
        (h,) = carry
        self.n = Preactivation(weights["n"], x, h)
        self.h = np.tanh(self.n.z)
        self.carry = (self.h,)

    def relevance(self, carry, rules):
        """Relevance of the last carry and of x, from that of the new carry."""
        (r,) = carry
        rx, rh = self.n.relevance(rules.activate(self.h, 0.0, r), rules)
        return (rh,), rx


class Lstm:
    """c' = f c + i g, h' = o tanh(c'); the carry is (c, h)."""

    gates = ("i", "f", "g", "o")
    carries = 2

    def __init__(self, weights, carry, x):
        self.c, h = carry
        self.pre = {name: Preactivation(weights[name], x, h) for name in self.gates}
        functions = {"i": sigmoid, "f": sigmoid, "g": np.tanh, "o": sigmoid}
        self.y = {name: functions[name](self.pre[name].z) for name in self.gates}
        self.kept, self.new = self.y["f"] * self.c, self.y["i"] * self.y["g"]
        self.t = np.tanh(self.kept + self.new)
        self.h = self.y["o"] * self.t
        self.carry = (self.kept + self.new, self.h)

    def relevance(self, carry, rules):
        rc, rh = carry
        r = {}
        r["o"], rt = rules.product(self.y["o"], self.t, rh)
        kept, new = rules.add(self.kept, self.new, rc + rules.activate(self.t, 0.0, rt))
        r["f"], rc = rules.product(self.y["f"], self.c, kept)
        r["i"], r["g"] = rules.product(self.y["i"], self.y["g"], new)
        rx, rh = 0.0, 0.0
        for name, at_zero in (("i", 0.5), ("f", 0.5), ("g", 0.0), ("o", 0.5)):
            through = rules.activate(self.y[name], at_zero, r[name])
            to_x, to_h = self.pre[name].relevance(through, rules)
            rx, rh = rx + to_x, rh + to_h
        return (rc, rh), rx


class Gru:
    """n = tanh(x Wx + bx + r (h Wh + bh)), h' = (1 - z) n + z h."""

    gates = ("r", "z", "n")
    carries = 1

    def __init__(self, weights, carry, x):
        (self.last,) = carry
        self.pre = {name: Preactivation(weights[name], x, self.last) for name in self.gates}
        self.r, self.z = sigmoid(self.pre["r"].z), sigmoid(self.pre["z"].z)
        self.reset = self.r * self.pre["n"].from_h
        self.n = np.tanh(self.pre["n"].from_x + self.reset)
        self.new, self.kept = (1 - self.z) * self.n, self.z * self.last
        self.h = self.new + self.kept
        self.carry = (self.h,)

    def relevance(self, carry, rules):
        new, kept = rules.add(self.new, self.kept, *carry)
        r_not_z, rn = rules.product(1 - self.z, self.n, new)
        rz, rh = rules.product(self.z, self.last, kept)
        n = self.pre["n"]
        wx, bx, wh, bh = n.weights
        from_x, reset = rules.add(n.from_x, self.reset, rules.activate(self.n, 0.0, rn))
        rr, from_h = rules.product(self.r, n.from_h, reset)
        rx, rh = rules.dense(n.x, wx, bx, from_x), rh + rules.dense(n.h, wh, bh, from_h)
        through_z = rules.activate(self.z, 0.5, rz) + rules.activate(1 - self.z, 0.5, r_not_z)
        through_r = rules.activate(self.r, 0.5, rr)
        for pre, through in ((self.pre["z"], through_z), (self.pre["r"], through_r)):
            to_x, to_h = pre.relevance(through, rules)
            rx, rh = rx + to_x, rh + to_h
        return (rh,), rx


CELLS = {"lstm": Lstm, "gru": Gru, "simple": Simple}


# ---------------------------------------------------------------- sequences


def run(cell, weights, xs, carry=None):
    """All steps of a cell over xs [batch, time, features], from a zero carry by default."""
    hidden = len(weights[cell.gates[0]][2])
    carry = carry or (np.zeros((len(xs), hidden)),) * cell.carries
    steps = []
    for t in range(xs.shape[1]):
        steps.append(cell(weights, carry, xs[:, t]))
        carry = steps[-1].carry
    return steps


def outputs(steps):
    """[batch, time, hidden]."""
    return np.stack([step.h for step in steps], 1)


def relevance(steps, starts, rules, carries=None):
    """Relevance of the initial carry and of xs.

    `starts` [batch, time, hidden] is that of the outputs, `carries` that of each step's new carry,
    one such array for each of its parts.
    """
    carry = tuple(np.zeros_like(c) for c in steps[0].carry)
    to_x = []
    for t in reversed(range(len(steps))):
        if carries is not None:
            carry = tuple(r + given[:, t] for r, given in zip(carry, carries, strict=True))
        carry = (*carry[:-1], carry[-1] + starts[:, t])  # the output is the carry's last part, h
        carry, rx = steps[t].relevance(carry, rules)
        to_x.append(rx)
    return carry, np.stack(to_x[::-1], 1)


def flip(xs, lengths=None):
    """The first `lengths` steps of each example in reverse, what is behind them after that."""
    lengths = np.full(len(xs), xs.shape[1]) if lengths is None else lengths
    order = (np.arange(xs.shape[1])[::-1] + lengths[:, None]) % xs.shape[1]
    return np.take_along_axis(xs, order[:, :, None], 1)


def unflip(ys, lengths):
    """What `flip` did, undone."""
    lengths = np.full(len(ys), ys.shape[1]) if lengths is None else lengths
    order = (np.arange(ys.shape[1])[::-1] + lengths[:, None]) % ys.shape[1]
    out = np.empty_like(ys)
    np.put_along_axis(out, order[:, :, None], ys, 1)
    return out
