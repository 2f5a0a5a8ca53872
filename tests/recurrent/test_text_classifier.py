"""A bidirectional classifier of token ids, linen and NNX, from ids to each token's relevance."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from recurrent import cells, flax_cells
from recurrent.flax_cells import H
from support.ledgers import check
from support.networks import close, normal

from lrpjax import audit, lrp, plan

WORDS, E, CLASSES = 11, 5, 2
TABLE = normal(WORDS, E, seed=480)
FORTH = flax_cells.weights("lstm", seed=481, features=E)
BACK = flax_cells.weights("lstm", seed=521, features=E)
HEAD, BIAS = normal(2 * H, CLASSES, seed=561), normal(CLASSES, seed=562)
IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0], [7, 0, 0, 0, 0]])
LENGTHS = np.array([5, 3, 1])
TARGET = np.array([1, 0, 1])


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


class LinenClassifier(nn.Module):
    @nn.compact
    def __call__(self, ids, lengths):
        rnn = lambda name: nn.RNN(flax_cells.linen_cell("lstm", name=name))
        x = nn.Embed(WORDS, E, param_dtype=jnp.float64, name="embed")(ids)
        both = nn.Bidirectional(rnn("forth"), rnn("back"), return_carry=True)
        ((_, forth), (_, back)), _ = both(x, seq_lengths=lengths)
        return nn.Dense(CLASSES, name="head")(jnp.concatenate([forth, back], -1))


class NnxClassifier(nnx.Module):
    def __init__(self):
        self.embed = nnx.Embed(WORDS, E, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        rnn = lambda weights: flax_cells.nnx_rnn("lstm", weights, features=E)
        self.both = nnx.Bidirectional(rnn(FORTH), rnn(BACK), return_carry=True)
        self.head = nnx.Linear(2 * H, CLASSES, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        self.embed.embedding[...] = TABLE
        self.head.kernel[...], self.head.bias[...] = HEAD, BIAS

    def __call__(self, ids, lengths):
        ((_, forth), (_, back)), _ = self.both(self.embed(ids), seq_lengths=lengths)
        return self.head(jnp.concatenate([forth, back], -1))


def linen_classifier():
    """(module, variables)"""
    module = LinenClassifier()
    named = {"embed": {"embedding": TABLE}, "head": {"kernel": HEAD, "bias": BIAS}}
    for name, weights in (("forth", FORTH), ("back", BACK)):
        named[name] = flax_cells.linen_parameters("lstm", weights)
    parameters = jax.tree.map(jnp.asarray, named)
    shapes = jax.eval_shape(module.init, jax.random.key(0), IDS, LENGTHS)["params"]
    assert jax.tree.structure(shapes) == jax.tree.structure(parameters)
    return module, {"params": parameters}


def by_hand():
    """Logits, and relevance of the embedded tokens [n, time, E] for the targets."""
    rules = cells.Rules(epsilon=1e-3)
    x = TABLE[IDS]
    forth = cells.run(cells.Lstm, FORTH, x)
    back = cells.run(cells.Lstm, BACK, cells.flip(x, LENGTHS))
    ends = np.eye(IDS.shape[1])[LENGTHS - 1][:, :, None]
    last = [(cells.outputs(steps) * ends).sum(1) for steps in (forth, back)]
    features = np.concatenate(last, -1)
    logits = features @ HEAD + BIAS
    start = np.where(np.arange(CLASSES) == TARGET[:, None], logits, 0.0)
    parts = np.split(rules.dense(features, HEAD, BIAS, start), 2, -1)
    starts = [ends * part[:, None] for part in parts]
    to_forth = cells.relevance(forth, starts[0], rules)[1]
    to_back = cells.relevance(back, starts[1], rules)[1]
    return logits, to_forth + cells.unflip(to_back, LENGTHS)


@pytest.mark.parametrize("style", ["linen", "nnx"])
def test_tokens_get_the_relevance_of_the_unrolled_network(style):
    """And a tap of a layer in the loop has an axis of time."""
    logits, relevance = by_hand()
    preset = "lstm_signal_takes_all"
    if style == "linen":
        module, variables = linen_classifier()
        model = module.bind(variables)
    else:
        model = NnxClassifier()
    close(model(IDS, LENGTHS), logits)
    taps = ["forth/ig" if style == "linen" else "both/forward_rnn/cell/ig", "head"]
    found, tapped = lrp(model, preset, taps=taps)(IDS, LENGTHS, target=TARGET)
    assert found.shape == IDS.shape and found.dtype == jnp.float64
    close(found, relevance.sum(-1), rtol=1e-9)
    assert not np.any(np.asarray(found)[np.arange(IDS.shape[1]) >= LENGTHS[:, None]])
    assert [tapped[name].shape for name in taps] == [(5, 3, H), (3, CLASSES)]
    seen = np.any(np.asarray(tapped[taps[0]]), -1)
    assert np.array_equal(seen, np.arange(5)[:, None] < LENGTHS)


def test_the_ledger_of_the_classifier_closes_and_its_layers_have_names():
    model, logits = NnxClassifier(), by_hand()[0]
    ledger = audit(model, "lstm_signal_takes_all", IDS, LENGTHS, target=TARGET)
    check(ledger, 1e-12)
    assert ledger.start == pytest.approx(logits[np.arange(3), TARGET].sum())
    dense = {u.layer for u in plan(model, None, IDS, LENGTHS).units if u.kind == "dense"}
    gates = ("ii", "hi", "if_", "hf", "ig", "hg", "io", "ho")
    rnns = ("both/forward_rnn", "both/backward_rnn")
    assert dense == {"head", *(f"{rnn}/cell/{gate}" for rnn in rnns for gate in gates)}
