"""The transformer of attention.transformer in NumPy, explaining itself one example at a time.

Each layer is a function that returns its output and the way back: relevance of the output to
relevance of its input. All formulas are those of attention.formulas.
"""

from functools import partial

import numpy as np
from attention import formulas
from attention.transformer import DEPTH, HEADS, LAYERS, SCALE, WIDTH
from support.networks import largest


def explain(p, x, mask, rule, scaled="scores"):
    """Logits, relevance of x and what each head saw, starting with every token's largest logit.

    Args:
        p: as in attention.transformer.
        x, mask: of one example, [t, width] and [t, t].
        rule: "attn_lrp" or "cp_lrp".
        scaled: "scores", or "query" where 1/√d is part of the query's projection.

    Returns:
        The logits, the relevance, and {layer: {"query", "key", "value", "weights", "scores",
        "mixed"}: relevance, the head's axis first}.
    """
    steps, taps = [], {}
    for name in (f"layer{i}" for i in range(LAYERS)):
        layer, taps[name] = p[name], {}
        attend = partial(_attention, mask=mask, rule=rule, scaled=scaled)
        for branch in (partial(attend, taps=taps[name]), _mlp):
            y, back = branch(layer, x)
            steps.append((x, y, back))
            x = x + y
    logits, back = _head(p, x)
    r = back(largest(logits))
    for x, y, back in reversed(steps):
        to_x, to_y = formulas.residual(x, y, r)
        r = to_x + back(to_y)
    return logits, r, taps


def explain_all(p, xs, masks, rule, **options):
    """The same for a batch, stacked."""
    each = [explain(p, x, mask, rule, **options) for x, mask in zip(xs, masks, strict=True)]
    logits, relevance, taps = zip(*each, strict=True)
    stacked = {
        layer: {name: np.stack([tap[layer][name] for tap in taps]) for name in taps[0][layer]}
        for layer in taps[0]
    }
    return np.stack(logits), np.stack(relevance), stacked


def attention(p, x, mask, rule, taps, scaled="scores"):
    """An attention layer alone: x [t, width] -> its output, and the way back."""
    names = ("query", "key", "value")
    weights = {
        n: (p[n]["kernel"].reshape(WIDTH, WIDTH), p[n]["bias"].reshape(WIDTH)) for n in names
    }
    if scaled == "query":
        weights["query"] = tuple(w * SCALE for w in weights["query"])
    q, k, v = (_heads(x @ w + b) for w, b in weights.values())
    scale = SCALE if scaled == "scores" else 1.0
    heads = [formulas.Head(q[h], k[h], v[h], mask, scale) for h in range(HEADS)]
    mixed = _joined([head.output for head in heads])
    kernel, bias = p["out"]["kernel"].reshape(WIDTH, WIDTH), p["out"]["bias"]

    def back(r):
        to_mixed = _heads(formulas.dense(mixed, kernel, bias, r))
        given = [getattr(head, rule)(to) for head, to in zip(heads, to_mixed, strict=True)]
        stacked = map(np.stack, zip(*given, strict=True))
        found = dict(zip((*names, "weights", "scores"), stacked, strict=True))
        taps.update(found, mixed=to_mixed)
        return sum(formulas.dense(x, *weights[n], _joined(found[n])) for n in names)

    return mixed @ kernel + bias, back


def _attention(layer, x, **options):
    normed, norm_back = _norm(layer["norm1"], x)
    y, back = attention(layer["attention"], normed, **options)
    return y, lambda r: norm_back(back(r))


def _mlp(layer, x):
    normed, norm_back = _norm(layer["norm2"], x)
    up, down = ((layer[name]["kernel"], layer[name]["bias"]) for name in ("up", "down"))
    hidden = formulas.gelu(normed @ up[0] + up[1])

    def back(r):
        to_hidden = formulas.dense(hidden, *down, r)  # which the GELU passes on, as gelu(0) = 0
        return norm_back(formulas.dense(normed, *up, to_hidden))

    return hidden @ down[0] + down[1], back


def _norm(p, x):
    parts = x, p["scale"], p["bias"]
    return formulas.layer_norm(*parts), partial(formulas.layer_norm_back, *parts)


def _head(p, x):
    normed, norm_back = _norm(p["norm"], x)
    kernel, bias = p["head"]["kernel"], p["head"]["bias"]
    back = lambda r: norm_back(formulas.dense(normed, kernel, bias, r))
    return normed @ kernel + bias, back


def _heads(a):
    """[t, width] -> [heads, t, depth]."""
    return a.reshape(-1, HEADS, DEPTH).swapaxes(0, 1)


def _joined(heads):
    """[heads, t, depth] -> [t, width]."""
    return np.stack(heads).swapaxes(0, 1).reshape(-1, WIDTH)
