"""Values that are sent elsewhere: mixtures of experts, graph networks, sorting, scattering.

Wherever a program moves values by indices, the same program with constant matrices is explained
alike; the indices are those of the input at hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from control_flow.programs import both, started
from jax import lax
from support.ledgers import check
from support.networks import close, normal

from lrpjax import Composite, UnsupportedPrimitiveError, audit, lrp, rules

N, D, E, K = 6, 3, 4, 2
X = normal(N, D, seed=700)
W, U = normal(D, D, seed=701), normal(D, D, seed=702)
ROUTER, UP, DOWN = normal(D, E, seed=703), normal(E, D, D, seed=704), normal(E, D, D, seed=705)
ZERO = rules.Zero()
EXACT = Composite(dense=ZERO, add=ZERO, pool=ZERO, shift=ZERO, attention=rules.ValueOnly(0.0))


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


# ---------------------------------------------------------------- mixtures of experts


def softmax_of_the_largest(x):
    """Weights [n, k] of the chosen experts [n, k]."""
    logits, experts = lax.top_k(x @ ROUTER, K)
    return jax.nn.softmax(logits), experts


def renormalised_softmax(x):
    weights, experts = lax.top_k(jax.nn.softmax(x @ ROUTER), K)
    return weights / weights.sum(-1, keepdims=True), experts


def gathered(route, x):
    """Each token takes the weights of its experts."""
    weights, experts = route(x)
    h = jax.nn.relu(jnp.einsum("nd,nkdf->nkf", x, jnp.asarray(UP)[experts]))
    y = jnp.einsum("nkf,nkfd->nkd", h, jnp.asarray(DOWN)[experts])
    return (weights[..., None] * y).sum(1)


def sorted_by_expert(route, x):
    """Tokens are sorted by expert, computed, and added up where they came from."""
    weights, experts = route(x)
    order = jnp.argsort(experts.ravel())
    token, expert = jnp.repeat(jnp.arange(N), K)[order], experts.ravel()[order]
    h = jax.nn.relu(jnp.einsum("md,mdf->mf", x[token], jnp.asarray(UP)[expert]))
    y = jnp.einsum("mf,mfd->md", h, jnp.asarray(DOWN)[expert])
    return jnp.zeros_like(x).at[token].add(weights.ravel()[order][:, None] * y)


def one_hot(route, x):
    """Every token sees every expert, and most of them with weight zero."""
    weights, experts = route(x)
    mix = (jax.nn.one_hot(experts, E) * weights[..., None]).sum(1)
    h = jax.nn.relu(jnp.einsum("nd,edf->nef", x, UP))
    return jnp.einsum("ne,neg->ng", mix, jnp.einsum("nef,efg->neg", h, DOWN))


def with_capacity(route, x):
    """Dispatched to places in the experts' buffers by a one-hot product, and combined by one."""
    weights, experts = route(x)
    chosen = jax.nn.one_hot(experts, E)
    place = jnp.cumsum(chosen.reshape(-1, E), 0).reshape(N, K, E).astype(int) - 1
    dispatch = chosen[..., None] * jax.nn.one_hot(place, N * K)
    buffers = jnp.einsum("nkec,nd->ecd", dispatch, x)
    h = jax.nn.relu(jnp.einsum("ecd,edf->ecf", buffers, UP))
    y = jnp.einsum("ecf,efd->ecd", h, DOWN)
    combine = (dispatch * weights[..., None, None]).sum(1)
    return jnp.einsum("nec,ecd->nd", combine, y)


def in_a_loop(route, x):
    """One expert after another, those who were not chosen masked."""
    weights, experts = route(x)

    def body(out, expert):
        e, up, down = expert
        mine = ((experts == e) * weights).sum(-1, keepdims=True)
        return out + mine * (jax.nn.relu(x @ up) @ down), None

    return lax.scan(body, jnp.zeros_like(x), (jnp.arange(E), jnp.asarray(UP), jnp.asarray(DOWN)))[0]


def by_hand(start):
    """The output, and the relevance of X where a softmax of the chosen is a constant gate."""
    logits = X @ ROUTER
    chosen = np.argsort(-logits, axis=1)[:, :K]
    exponentials = np.exp(np.take_along_axis(logits, chosen, 1))
    weights = exponentials / exponentials.sum(1, keepdims=True)
    h = np.maximum(np.einsum("nd,nkdf->nkf", X, UP[chosen]), 0.0)
    y = np.einsum("nkf,nkfd->nkd", h, DOWN[chosen])
    out = (weights[..., None] * y).sum(1)
    given = weights[..., None] * y * oracle.quotient(start, out, 0.0)[:, None]
    to_h = h * np.einsum("nkd,nkfd->nkf", oracle.quotient(given, y, 0.0), DOWN[chosen])
    through = oracle.quotient(to_h, np.einsum("nd,nkdf->nkf", X, UP[chosen]), 0.0)
    return out, X * np.einsum("nkf,nkdf->nd", through, UP[chosen])


DISPATCHES = (gathered, sorted_by_expert, one_hot, with_capacity, in_a_loop)


@pytest.mark.parametrize("dispatch", DISPATCHES, ids=lambda f: f.__name__.replace("_", " "))
def test_a_mixture_of_experts_by_default(dispatch):
    """The router's weights are gates, and the experts take all, however tokens get there."""
    start = np.asarray(started(706)(jnp.zeros((N, D))))
    out, relevance = by_hand(start)
    f = lambda x: dispatch(softmax_of_the_largest, x)
    close(f(X), out)
    close(lrp(f, EXACT)(X, target=lambda _: jnp.asarray(start)), relevance, rtol=1e-8)
    check(audit(f, None, X, target=started(706)), 1e-12)


def test_mixtures_of_experts_by_attn_lrp():
    """Half to the router, by the Taylor rule of its softmax: the same however tokens travel."""
    epsilon = rules.Epsilon(1e-9)
    composite = Composite(
        dense=epsilon,
        add=epsilon,
        pool=epsilon,
        product=rules.Uniform(1e-9),
        attention=rules.Uniform(1e-9),
        softmax=rules.SoftmaxTaylor(),
    )

    @jax.jit
    def explain(x):
        each = {f.__name__: f for f in DISPATCHES if f is not sorted_by_expert}
        f = lambda dispatch: lambda x: dispatch(softmax_of_the_largest, x)
        return {n: lrp(f(d), composite)(x, target=started(707)) for n, d in each.items()}

    found = explain(X)
    close(found, dict.fromkeys(found, found["gathered"]), rtol=1e-5)


def test_renormalised_routers_are_refused():
    """No rule says what v / Σv is; the softmax of the largest logits computes the same."""
    with pytest.raises(UnsupportedPrimitiveError, match="'div'"):
        lrp(lambda x: gathered(renormalised_softmax, x))(X)
    close(gathered(renormalised_softmax, X), gathered(softmax_of_the_largest, X), rtol=1e-8)


def test_a_switch_sends_each_token_to_one_expert():
    """By vmap of a switch: a select of all branches."""
    experts = [lambda r, e=e: jax.nn.relu(r @ UP[e]) @ DOWN[e] for e in range(E)]
    f = lambda x: jax.vmap(lambda r, e: lax.switch(e, experts, r))(x, jnp.argmax(x @ ROUTER, -1))
    chosen = np.argmax(X @ ROUTER, -1)
    assert len(set(chosen)) > 2
    g = lambda x: jnp.stack([experts[e](r) for e, r in zip(chosen, x, strict=True)])
    close(*both(f, g, EXACT, X), rtol=1e-9)


# ---------------------------------------------------------------- graph networks

SENDERS = np.array([0, 1, 2, 3, 3, 4, 5, 0])
RECEIVERS = np.array([1, 2, 0, 4, 5, 5, 0, 3])
SENT = np.eye(N)[SENDERS]
RECEIVED = np.eye(N)[RECEIVERS].T
DEGREE = np.maximum(RECEIVED.sum(1, keepdims=True), 1.0)


def total(messages):
    return jax.ops.segment_sum(messages, RECEIVERS, N)


def graph_layer(h):
    return jnp.tanh(RECEIVED @ (SENT @ h @ W) + h)


#: {name: (by segments, by constant matrices)}
GRAPHS = {
    "sums of messages": (
        lambda x: total(jax.nn.relu(x[SENDERS] @ W)) @ U + x,
        lambda x: RECEIVED @ jax.nn.relu(SENT @ x @ W) @ U + x,
    ),
    "means of messages": (
        lambda x: total(x[SENDERS] @ W) / DEGREE,
        lambda x: RECEIVED @ (SENT @ x @ W) / DEGREE,
    ),
    "messages of both ends": (
        lambda x: total(jnp.tanh(x[SENDERS] @ W + x[RECEIVERS] @ U)),
        lambda x: RECEIVED @ jnp.tanh(SENT @ x @ W + RECEIVED.T @ x @ U),
    ),
    "maxima of messages": (
        lambda x: jax.ops.segment_max(x[SENDERS] @ W, RECEIVERS, N) @ U,
        lambda x: jnp.stack([(x[SENDERS] @ W)[n == RECEIVERS].max(0) for n in range(N)]) @ U,
    ),
    "three rounds in a loop": (
        lambda x: lax.fori_loop(0, 3, lambda _, h: jnp.tanh(total(h[SENDERS] @ W) + h), x),
        lambda x: graph_layer(graph_layer(graph_layer(x))),
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_network_is_its_matrices(name):
    segments, matrices = GRAPHS[name]
    close(*both(segments, matrices, EXACT, X), rtol=1e-8)
    check(audit(segments, None, X, target=started(708)), 1e-12)


# ---------------------------------------------------------------- scattering and sorting

PLACES = np.array([3, 1, 4, 0, 5, 8])
SPREAD = np.eye(9)[:, PLACES]
TWO = np.array([3, 1])
BACK = {3: 0, 1: 1}


def by_row(f):
    return jnp.stack([f(n) for n in range(N)])


#: {name: (by indices, without)}
MOVES = {
    "set into zeros": (
        lambda x: jnp.zeros((9, D)).at[PLACES].set(x @ W) @ U,
        lambda x: SPREAD @ (x @ W) @ U,
    ),
    "set into values": (
        lambda x: (x @ W).at[TWO].set(jnp.tanh(x[:2])) @ U,
        lambda x: by_row(lambda n: jnp.tanh(x[BACK[n]]) if n in TWO else x[n] @ W) @ U,
    ),
    "added to values": (
        lambda x: (x @ W).at[TWO].add(jnp.tanh(x[:2] @ U)),
        lambda x: by_row(lambda n: x[n] @ W + (jnp.tanh(x[BACK[n]] @ U) if n in TWO else 0.0)),
    ),
    "constants added to values": (
        lambda x: (x @ W).at[TWO].add(2.0),
        lambda x: x @ W + 2.0 * np.isin(np.arange(N), TWO)[:, None],
    ),
    "largest of two": (
        lambda x: (x @ W).at[TWO].max(0.0) @ U,
        lambda x: jnp.where(np.isin(np.arange(N), TWO)[:, None], jax.nn.relu(x @ W), x @ W) @ U,
    ),
    "gathered in sorted order": (
        lambda x: jnp.take_along_axis(x @ W, jnp.argsort(x @ W, 0), 0) * np.arange(N)[:, None],
        lambda x: jnp.sort(x @ W, 0) * np.arange(N)[:, None],
    ),
    "sorted by another column": (
        lambda x: lax.sort((x[:, 0], x @ W[:, 0]), num_keys=1)[1] * np.arange(N),
        lambda x: (x @ W[:, 0])[np.argsort(X[:, 0])] * np.arange(N),
    ),
    "the largest, in order": (
        lambda x: lax.top_k((x @ W).T, 2)[0] @ U[:2],
        lambda x: jnp.sort((x @ W).T, -1)[:, :-3:-1] @ U[:2],
    ),
    "the largest, by index": (
        lambda x: jnp.take_along_axis((x @ W).T, lax.top_k((x @ W).T, 2)[1], 1) @ U[:2],
        lambda x: lax.top_k((x @ W).T, 2)[0] @ U[:2],
    ),
    "bins of the input": (
        lambda x: (x @ W)[jnp.searchsorted(jnp.array([-1.0, 0.0, 1.0]), x[:, 0])],
        lambda x: (x @ W)[np.searchsorted([-1.0, 0.0, 1.0], X[:, 0])],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_values_that_move_by_indices(name):
    by_index, plain = MOVES[name]
    close(*both(by_index, plain, EXACT, X), rtol=1e-9)
