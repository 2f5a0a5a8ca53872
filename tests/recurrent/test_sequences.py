"""What Flax's RNN layers do with sequences: axes, order, lengths, carries, both directions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from recurrent import cells, flax_cells
from recurrent.flax_cells import D, H
from support.networks import close, normal

from lrpjax import lrp

BATCH, TIME = 3, 5
X = normal(BATCH, TIME, D, seed=410)
STARTS = normal(BATCH, TIME, H, seed=411)
LENGTHS = np.array([5, 2, 3])
WEIGHTS = {cell: flax_cells.weights(cell, seed=420) for cell in cells.CELLS}
OTHER = flax_cells.weights("simple", seed=440)


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def model_of(cell, style, **options):
    """f(x, **call options) -> what the layer returns."""
    if style == "nnx":
        return flax_cells.as_function(flax_cells.nnx_rnn(cell, WEIGHTS[cell], **options))
    module, variables = flax_cells.linen_rnn(cell, WEIGHTS[cell], **options)
    return lambda x, **kw: module.apply(variables, x, **kw)


def given(*arrays):
    """A start of these relevances, whatever the outputs."""
    return lambda out: jax.tree.unflatten(jax.tree.structure(out), list(map(jnp.asarray, arrays)))


def by_hand(cell, xs, starts, carries=None):
    steps = cells.run(cells.CELLS[cell], WEIGHTS[cell], xs)
    return cells.relevance(steps, starts, cells.Rules(), carries)[1]


def backwards(starts, lengths=None, kept=False):
    """Relevance of X through a layer that reads it in reverse."""
    starts = cells.unflip(starts, lengths) if kept else starts
    return cells.unflip(by_hand("simple", cells.flip(X, lengths), starts), lengths)


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_axes_and_orders(style):
    swap = lambda a: np.ascontiguousarray(np.swapaxes(a, 0, 1))
    simple = lambda **options: model_of("simple", style, **options)
    functions = {
        "time first": simple(time_major=True),
        "reversed": simple(reverse=True),
        "reversed and back": simple(reverse=True, keep_order=True),
        "reversed in lengths": lambda x: simple(reverse=True)(x, seq_lengths=LENGTHS),
        "reversed in lengths and back": lambda x: simple(reverse=True)(
            x, seq_lengths=LENGTHS, keep_order=True
        ),
        "two rounds at once": simple(unroll=2),
    }

    @jax.jit
    def explain(x):
        start = given(STARTS)
        turned = lrp(functions["time first"])(x.swapaxes(0, 1), target=given(swap(STARTS)))
        others = {n: lrp(f)(x, target=start) for n, f in functions.items() if n != "time first"}
        return {"time first": turned, **others}

    close(
        explain(X),
        {
            "time first": swap(by_hand("simple", X, STARTS)),
            "reversed": backwards(STARTS),
            "reversed and back": backwards(STARTS, kept=True),
            "reversed in lengths": backwards(STARTS, LENGTHS),
            "reversed in lengths and back": backwards(STARTS, LENGTHS, kept=True),
            "two rounds at once": by_hand("simple", X, STARTS),
        },
        rtol=1e-9,
    )


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_the_last_carry_of_each_example(style):
    """That of its own length: what is behind it gets nothing at all."""
    model = model_of("lstm", style)
    parts = [normal(BATCH, H, seed=450 + i) for i in range(2)]
    ends = np.arange(TIME) == LENGTHS[:, None] - 1
    carries = tuple(ends[:, :, None] * part[:, None] for part in parts)
    expected = by_hand("lstm", X, np.zeros_like(STARTS), carries)
    f = lambda x: model(x, seq_lengths=LENGTHS, return_carry=True)[0]
    relevance = lrp(f)(X, target=given(*parts))
    close(relevance, expected, rtol=1e-9)
    padding = np.arange(TIME) >= LENGTHS[:, None]
    assert not np.any(np.asarray(relevance)[padding]) and padding.sum() == 5


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_outputs_and_the_last_carry_together(style):
    """Without lengths the carry is that of the last step; as auxiliary output it starts none."""
    model = model_of("gru", style, return_carry=True)
    last = normal(BATCH, H, seed=452)
    carries = np.where(np.arange(TIME)[:, None] == TIME - 1, last[:, None], 0.0)
    relevance = lrp(model)(X, target=given(last, STARTS))
    close(relevance, by_hand("gru", X, STARTS, (carries,)), rtol=1e-9)
    swapped = lambda x: model(x)[::-1]
    relevance, aux = lrp(swapped, has_aux=True)(X, target=given(STARTS))
    close(relevance, by_hand("gru", X, STARTS), rtol=1e-9)
    close(aux, model(X)[0])


def bidirectional(style, w, v):
    if style == "nnx":
        rnn = lambda weights: flax_cells.nnx_rnn("simple", weights)
        return flax_cells.as_function(nnx.Bidirectional(rnn(w), rnn(v)))
    rnn = lambda: nn.RNN(flax_cells.linen_cell("simple"))
    parameters = {
        name: {"cell": flax_cells.linen_parameters("simple", weights)}
        for name, weights in (("forward_rnn", w), ("backward_rnn", v))
    }
    module = nn.Bidirectional(rnn(), rnn())
    return lambda x, **kw: module.apply({"params": parameters}, x, **kw)


@pytest.mark.parametrize("style", ["linen", "nnx"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_both_directions(style, lengths):
    model = bidirectional(style, WEIGHTS["simple"], OTHER)
    starts = normal(BATCH, TIME, 2 * H, seed=453)
    forth = cells.run(cells.Simple, WEIGHTS["simple"], X)
    back = cells.run(cells.Simple, OTHER, cells.flip(X, lengths))
    turned = cells.flip(cells.outputs(back), lengths)
    close(model(X, seq_lengths=lengths), np.concatenate([cells.outputs(forth), turned], -1))
    rules = cells.Rules()
    of_back = cells.relevance(back, cells.unflip(starts[..., H:], lengths), rules)[1]
    of_forth = cells.relevance(forth, starts[..., :H], rules)[1]
    expected = of_forth + cells.unflip(of_back, lengths)
    relevance = lrp(model)(X, target=given(starts), seq_lengths=lengths)
    close(relevance, expected, rtol=1e-9)
