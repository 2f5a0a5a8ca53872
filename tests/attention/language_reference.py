"""The language model of attention.language_model in NumPy, explaining itself token by token.

As attention.reference: each layer returns its output and the way back to its input.
"""

from functools import partial

import numpy as np
from attention import formulas
from attention.language_model import DEPTH, HEADS, SHARING, angles
from support.networks import largest


def explain(p, ids, rule):
    """Logits of every token and the relevance of each id of one text, [t].

    Args:
        p: what attention.language_model.parameters gives.
        ids: [t].
        rule: "attn_lrp" or "cp_lrp"; both share SwiGLU's product in halves.
    """
    steps, x = [], p["embed"][ids]
    for block in (p[i] for i in range(len(p)) if i in p):
        for branch in (partial(_attention, rule=rule), _swiglu):
            y, back = branch(block, x)
            steps.append((x, y, back))
            x = x + y
    normed = formulas.rms_norm(x, p["norm"])
    logits = normed @ p["head"]
    r = formulas.rms_norm_back(x, p["norm"], _dense(normed, p["head"], largest(logits)))
    for x, y, back in reversed(steps):
        to_x, to_y = formulas.residual(x, y, r)
        r = to_x + back(to_y)
    return logits, r.sum(-1)


def _attention(p, x, rule):
    normed = formulas.rms_norm(x, p["norm1"])
    q, k, v = (_heads(normed @ p[name]) for name in ("query", "key", "value"))
    turned_q, turned_k = _rotated(q), _rotated(k)
    mask = np.tri(len(x), dtype=bool)
    heads = [
        formulas.Head(turned_q[h], turned_k[h // SHARING], v[h // SHARING], mask, DEPTH**-0.5)
        for h in range(HEADS)
    ]
    mixed = _joined([head.output for head in heads])

    def back(r):
        to_mixed = _heads(_dense(mixed, p["out"], r))
        to_q, to_k, to_v = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
        for h, head in enumerate(heads):
            to_q[h], of_k, of_v, _, _ = getattr(head, rule)(to_mixed[h])
            to_k[h // SHARING] += of_k  # all query heads of a group share them
            to_v[h // SHARING] += of_v
        given = {"query": _unrotated(q, to_q), "key": _unrotated(k, to_k), "value": to_v}
        r = sum(_dense(normed, p[name], _joined(to)) for name, to in given.items())
        return formulas.rms_norm_back(x, p["norm1"], r)

    return mixed @ p["out"], back


def _swiglu(p, x):
    normed = formulas.rms_norm(x, p["norm2"])
    z, up = normed @ p["gate"], normed @ p["up"]
    opened = z / (1 + np.exp(-z))
    hidden = opened * up

    def back(r):
        to_opened, to_up = formulas.product_uniform(opened, up, _dense(hidden, p["down"], r))
        r = _dense(normed, p["gate"], to_opened) + _dense(normed, p["up"], to_up)
        return formulas.rms_norm_back(x, p["norm2"], r)

    return hidden @ p["down"], back


def _dense(x, w, r):
    return formulas.dense(x, w, 0.0, r)


def _rotated(x):
    """[h, t, depth], each token's features turned by its position's angles."""
    cos, sin = angles(x.shape[1])
    return x * cos + _crossed(x) * sin


def _crossed(x):
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([-second, first], axis=-1)


def _unrotated(x, r):
    """The ε-rule on the sum of both parts; what the second gets goes where it came from."""
    cos, sin = angles(x.shape[1])
    straight, across = formulas.residual(x * cos, _crossed(x) * sin, r)
    return straight + np.roll(across, DEPTH // 2, axis=-1)


def _heads(a):
    """[t, h·depth] -> [h, t, depth]."""
    return a.reshape(len(a), -1, DEPTH).swapaxes(0, 1)


def _joined(heads):
    """[h, t, depth] -> [t, h·depth]."""
    heads = np.stack(heads)
    return heads.swapaxes(0, 1).reshape(heads.shape[1], -1)
