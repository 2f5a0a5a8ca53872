"""Small programs with loops, each a function of a scan and an input: `lax.scan`, or one unrolled.

The unrolled scan is Python; a network written with it has no loop at all, and is explained by what
every other test of the package covers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from support.networks import normal

from lrpjax import Composite, rules, value_and_lrp

T, D = 4, 3
X = normal(T, D, seed=600)
W, U = normal(D, D, seed=601) / np.sqrt(D), normal(D, D, seed=602) / np.sqrt(D)
B = 0.5 * normal(D, seed=603)
WS = normal(T, D, D, seed=604) / np.sqrt(D)

#: Without ε it makes no difference whether a constant first carry folds into a bias.
EXACT = Composite(dense=rules.Zero(), add=rules.Zero(), shift=rules.Zero(), pool=rules.Zero())


def unrolled(f, init, xs=None, length=None, reverse=False, unroll=1):
    """What `lax.scan` does, in Python."""
    length = length if xs is None else len(jax.tree.leaves(xs)[0])
    carry, results = init, [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        carry, results[t] = f(carry, jax.tree.map(lambda a: a[t], xs))
    if not length:
        return carry, None
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *results)


def step(c, a):
    """A recurrent step that returns its carry too."""
    h = jnp.tanh(c @ W + a @ U + B)
    return h, h


# ---------------------------------------------------------------- what goes round


def trees_go_in_and_out(scan, x):
    def body(c, s):
        h = jnp.tanh(c["h"] @ s["b"][0] + s["a"] @ U + B)
        return {"h": h, "n": c["n"] + s["b"][1]}, {"y": 2.0 * h, "z": (s["a"],)}

    c, ys = scan(body, {"h": jnp.zeros(D), "n": 0}, {"a": x, "b": (WS, jnp.arange(T))})
    return c["h"].sum() + (ys["y"] @ U).sum() + c["n"] * ys["z"][0].sum()


def in_reverse(scan, x):
    return scan(step, jnp.ones(D), x, reverse=True)[1]


def two_rounds_at_once(scan, x):
    return scan(step, jnp.ones(D), x, unroll=2)[1]


def all_rounds_at_once(scan, x):
    return scan(step, x[0], x, unroll=True)[1]


def a_length_only(scan, x):
    return scan(lambda c, _: (jnp.tanh(c @ W + B), None), x[0], length=3)[0]


def a_counter_in_the_carry(scan, x):
    """It picks weights, and steps of the input."""
    x = jnp.asarray(x)

    def body(c, _):
        i, h = c
        return (i + 1, jnp.tanh(h @ jnp.asarray(WS)[i] + x[i] + B)), None

    return scan(body, (0, x[0]), length=T)[0][1]


def a_carry_that_is_live_from_the_third_round(scan, x):
    def body(c, a):
        p, q, r = c
        return (q @ W, r @ U, jnp.tanh(a)), p

    return scan(body, (jnp.ones(D),) * 3, x)[1]


def a_carry_that_dies(scan, x):
    def body(c, a):
        h, k = c
        return (jnp.tanh(h @ W + k + a @ U), jnp.ones(D)), None

    h, k = scan(body, (x[1] @ W, x[0] @ U), x)[0]
    return h @ W + k


def carries_that_change_places(scan, x):
    def body(c, a):
        h, k = c
        return (k @ W, jax.nn.relu(h @ U + a @ W)), h

    return scan(body, (x[0], x[1]), x)


def a_carry_that_leads_nowhere(scan, x):
    def body(c, a):
        h, k = c
        return (jnp.tanh(h @ W + a @ U), k * h + a), None

    return scan(body, (x[0], x[1]), x)[0][0]


def a_carry_that_passes_through(scan, x):
    return scan(lambda c, a: (c, c @ W + a @ U), x[0], x)[1]


def one_value_in_two_carries(scan, x):
    def body(c, a):
        h = jnp.tanh(c[0] @ W + c[1] @ U + a @ U)
        return (h, h), None

    h, k = scan(body, (x[0], x[1]), x)[0]
    return h @ W + k @ U


def no_carry(scan, x):
    return scan(lambda c, a: (None, jnp.tanh(a @ W)), None, x)[1] @ U


def slices_come_out_as_they_are(scan, x):
    return scan(lambda c, a: (c, a), 0, x)[1] @ W


def one_round(scan, x):
    return scan(lambda c, _: (jnp.tanh(c @ W), None), x[0] @ U, length=1)[0]


def no_round(scan, x):
    return scan(lambda c, _: (c @ W, None), jnp.tanh(x[0] @ U), length=0)[0]


def live_values_from_outside(scan, x):
    """The same in every round: their relevance adds up."""
    skip = jnp.tanh(x[0] @ W)
    return scan(lambda c, w: (jax.nn.relu(c @ w + B) + skip, None), x[1], WS)[0]


def a_loop_over_what_a_loop_made(scan, x):
    ys = scan(lambda c, a: (c, jnp.tanh(a @ U)), 0, x, reverse=True)[1]
    return scan(step, jnp.zeros(D), ys)[0]


# ---------------------------------------------------------------- what a round does


def only_the_first_rounds_count(scan, x):
    def body(c, a):
        i, h = c
        return (i + 1, jnp.where(i < 2, jnp.tanh(h @ W + a @ U), h)), None

    return scan(body, (0, jnp.zeros(D)), x)[0][1]


def done_when_the_input_says_so(scan, x):
    def body(c, a):
        done, h = c
        new = jnp.tanh(h @ W + a @ U)
        return (done | (new.sum() > 1), jnp.where(done, h, new)), None

    return scan(body, (False, jnp.zeros(D)), x)[0][1]


def weights_are_explained_too(scan, x):
    """Products of two live values in every round."""
    return scan(lambda c, a: (jnp.tanh(c * (a @ W) + a), None), x[0], x)[0]


def attention_and_a_normalisation(scan, x):
    def body(c, w):
        q, k, v = c @ w, c @ W, c @ U
        c = c + jax.nn.softmax(q @ k.T) @ v
        return (c - c.mean(-1, keepdims=True)) / jnp.sqrt(c.var(-1, keepdims=True) + 0.1), None

    return scan(body, x, WS[:2])[0]


def a_buffer_is_filled(scan, x):
    x = jnp.asarray(x)

    def body(c, i):
        last = lax.dynamic_index_in_dim(c, jnp.maximum(i - 1, 0), keepdims=False)
        return c.at[i].set(jnp.tanh(last @ W + x[i] @ U + B)), None

    return scan(body, jnp.zeros((T, D)), jnp.arange(T))[0]


def loops_in_a_loop(scan, x):
    def layer(h, w):
        return scan(lambda c, a: ((c := jnp.tanh(c @ w + a @ U + B)), c), jnp.ones(D), h)[
            1
        ] + h, None

    return scan(layer, x, WS[:2])[0]


FORMS = {
    f.__name__.replace("_", " "): f
    for f in (
        trees_go_in_and_out,
        in_reverse,
        two_rounds_at_once,
        all_rounds_at_once,
        a_length_only,
        a_counter_in_the_carry,
        a_carry_that_is_live_from_the_third_round,
        a_carry_that_dies,
        carries_that_change_places,
        a_carry_that_leads_nowhere,
        a_carry_that_passes_through,
        one_value_in_two_carries,
        no_carry,
        slices_come_out_as_they_are,
        one_round,
        no_round,
        live_values_from_outside,
        a_loop_over_what_a_loop_made,
        only_the_first_rounds_count,
        done_when_the_input_says_so,
        weights_are_explained_too,
        attention_and_a_normalisation,
        a_buffer_is_filled,
        loops_in_a_loop,
    )
}


def looped(form):
    """A form with `lax.scan`."""
    return lambda x: FORMS[form](lax.scan, x)


def plain(form):
    """A form without a loop."""
    return lambda x: FORMS[form](unrolled, x)


def all_looped(x, forms=FORMS):
    """The outputs of every form."""
    return {form: FORMS[form](lax.scan, x) for form in forms}


def started(seed):
    """Relevance of both signs at every floating-point output."""

    def start(outputs):
        draw = lambda y: jnp.asarray(normal(*y.shape, seed=seed), y.dtype)
        return jax.tree.map(draw, outputs)

    return start


def both(f, g, composite, *args, seed=610, **options):
    """The values of two functions and their relevance for the same start, in one program."""

    @jax.jit
    def explain(*args):
        each = (value_and_lrp(function, composite, **options) for function in (f, g))
        return [explained(*args, target=started(seed)) for explained in each]

    return explain(*args)
