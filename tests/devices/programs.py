"""The functions of devices.networks as programs for eight devices."""

from functools import partial

import jax
import jax.numpy as jnp
from devices import networks as n
from devices.meshes import mesh, put
from jax import P, lax
from support.networks import conv

ROWS, COLUMNS, FEATURES = P("model"), P(None, "model"), P("data", "model")
SPLIT = (P("data"), COLUMNS, ROWS, ROWS, P())  # x, then W1, b1 by columns, W2 by rows, b2
DEVICES = 4  # along the axis "model"

mapped = partial(jax.shard_map, mesh=mesh(), out_specs=P("data"))


def two_layers(x, w1, b1, w2, b2):
    """Each device has some hidden neurons; the outputs are sums over devices."""
    return lax.psum(jax.nn.relu(x @ w1 + b1) @ w2, "model") + b2


def _mlp(body, in_specs=SPLIT, **options):
    program = mapped(body, in_specs=in_specs, **options)
    return lambda x: program(x, n.W1, n.B1, n.W2, n.B2)


# ---------------------------------------------------------------- where weights are split


def _rows_then_columns(x, w1, b1, w2, b2):
    return jax.nn.relu(lax.psum(x @ w1, "model") + b1) @ w2 + b2


def _mean(x, w1, b1, w2, b2):
    return lax.pmean(jax.nn.relu(x @ w1 + b1) @ (DEVICES * w2), "model") + b2


def _over_both_axes(x, w1, b1, w2, b2):
    return lax.psum(jax.nn.relu(x @ w1 + b1) @ w2, ("data", "model")) + b2


def _one_sum_for_each_axis(x, w1, b1, w2, b2):
    return lax.psum(lax.psum(jax.nn.relu(x @ w1 + b1) @ w2, "data"), "model") + b2


def _reshaped_before_the_sum(x, w1, b1, w2, b2):
    heads = (jax.nn.relu(x @ w1 + b1) @ w2).reshape(-1, 4, 2)
    return lax.psum(heads, "model").reshape(-1, 8) + b2


_BOTH = P(("data", "model"))
_BY_BOTH = (P(), P(None, ("data", "model")), _BOTH, _BOTH, P())

MODEL_SPLIT = {
    "columns, then rows": _mlp(two_layers),
    "rows, then columns": _mlp(
        _rows_then_columns, (FEATURES, ROWS, P(), COLUMNS, ROWS), out_specs=FEATURES
    ),
    "a mean over devices": _mlp(_mean),
    "one sum over both axes": _mlp(_over_both_axes, _BY_BOTH, out_specs=P()),
    "one sum for each axis": _mlp(_one_sum_for_each_axis, _BY_BOTH, out_specs=P()),
    "reshaped before the sum": _mlp(_reshaped_before_the_sum),
}

# ---------------------------------------------------------------- what moves between devices


def _gathered(x, *weights):
    """Each device has some features of the input."""
    return two_layers(lax.all_gather(x, "model", axis=1, tiled=True), *weights)


def _ring(x, *weights):
    """The same, handed on from neighbour to neighbour."""
    around = [(i, (i + 1) % DEVICES) for i in range(DEVICES)]
    parts = [x]
    for _ in range(DEVICES - 1):
        parts.append(lax.ppermute(parts[-1], "model", around))
    came_from = (lax.axis_index("model") - jnp.arange(DEVICES)) % DEVICES
    inputs = jnp.moveaxis(jnp.stack(parts)[came_from], 0, 1)
    return two_layers(inputs.reshape(len(x), -1), *weights)


def _all_to_all(x, w1, b1, w2, b2):
    """From some examples with all neurons to all examples with some neurons."""
    hidden = jax.nn.relu(x @ w1 + b1)
    hidden = lax.all_to_all(hidden, "model", split_axis=1, concat_axis=0, tiled=True)
    return lax.psum(hidden @ w2, "model") + b2


def _axis_index(x, w1, b1, w2, b2):
    """Every device has all weights, and takes its own."""
    width = 16 // DEVICES
    own = partial(lax.dynamic_slice_in_dim, slice_size=width)
    start = lax.axis_index("model") * width
    return two_layers(x, own(w1, start, axis=1), own(b1, start), own(w2, start), b2)


def _scattered_features(x, w1, b1, w2, b2):
    """Each device adds up some of the outputs."""
    parts = jax.nn.relu(x @ w1 + b1) @ w2
    return lax.psum_scatter(parts, "model", scatter_dimension=1, tiled=True) + b2


def _scattered_examples(x, w1, b1, w2, b2):
    """Each device has some examples, and adds up the outputs of those."""
    x = lax.all_gather(x, "model", axis=0, tiled=True)
    parts = jax.nn.relu(x @ w1 + b1) @ w2
    return lax.psum_scatter(parts, "model", scatter_dimension=0, tiled=True) + b2


COLLECTIVES = {
    "all_gather": _mlp(_gathered, (FEATURES, *SPLIT[1:])),
    "ppermute": _mlp(_ring, (FEATURES, *SPLIT[1:])),
    "all_to_all": _mlp(_all_to_all, (ROWS, P(), P(), ROWS, P()), out_specs=P()),
    "axis_index": _mlp(_axis_index, (P("data"), P(), P(), P(), P())),
    "reduce_scatter of features": _mlp(_scattered_features, (*SPLIT[:4], ROWS), out_specs=FEATURES),
    "reduce_scatter of examples": _mlp(_scattered_examples, (ROWS, *SPLIT[1:]), out_specs=ROWS),
}

# ---------------------------------------------------------------- shard_map and its surroundings


def _on_some_axes():
    """The program is written for devices along "data"; XLA splits the weights along "model"."""
    program = mapped(
        lambda x, w1, b1, w2, b2: jax.nn.relu(x @ w1 + b1) @ w2 + b2,
        in_specs=(P("data"), P(), P(), P(), P()),
        axis_names={"data"},
    )

    def explained(x):
        weights = put(n.W1, None, "model"), put(n.B1, "model"), put(n.W2, "model"), put(n.B2)
        return program(x, *weights)

    return explained


def _branches(x, w1, b1, w2, b2):
    """Devices do different things."""
    hidden = x @ w1 + b1
    hidden = lax.switch(lax.axis_index("model") // 2, [jax.nn.relu, jnp.tanh], hidden)
    return lax.psum(hidden @ w2, "model") + b2


def _closing(x):
    """Reads another value that hangs on the input, from outside."""
    means = x.mean(0, keepdims=True)
    program = mapped(lambda x, w: x @ w + means @ w, in_specs=(P("data"), P()))
    return program(x, n.W1)


AROUND = {
    "partly by XLA": (_on_some_axes(), n.mlp),
    "branches": (_mlp(_branches), n.halves),
    "closing over a value": (_closing, lambda x: x @ n.W1 + x.mean(0, keepdims=True) @ n.W1),
}


def _deep(body):
    """Layers stacked up, [layers, …]."""
    columns, rows = P(None, None, "model"), P(None, "model")
    program = mapped(body, in_specs=(P("data"), columns, ROWS, rows, P()))
    return lambda x: program(x, n.DEEP1, n.B1, n.DEEP2, n.B2)


def _scan_inside(x, w1, b1, w2, b2):
    layer = lambda x, w: (jnp.tanh(two_layers(x, w[0], b1, w[1], b2)), None)
    return lax.scan(layer, x, (w1, w2))[0]


def _remat_inside(x, w1, b1, w2, b2):
    layer = jax.checkpoint(lambda x, w1, w2: jnp.tanh(two_layers(x, w1, b1, w2, b2)))
    for w in zip(w1, w2, strict=True):
        x = layer(x, *w)
    return x


def _inside_scan(x):
    program = mapped(two_layers, in_specs=SPLIT)
    layer = lambda x, w: (jnp.tanh(program(x, w[0], n.B1, w[1], n.B2)), None)
    return lax.scan(layer, x, (n.DEEP1, n.DEEP2))[0]


LAYERS = {
    "scan in shard_map": _deep(_scan_inside),
    "shard_map in scan": _inside_scan,
    "remat in shard_map": _deep(_remat_inside),
    "shard_map in remat": jax.checkpoint(_deep(_scan_inside)),
}

# ---------------------------------------------------------------- convolutions


def _channels(x, kernel1, shift1, kernel2, shift2):
    """The first by output channels, the second by input channels."""
    hidden = jax.nn.relu(conv(x, kernel1) + shift1)
    return (lax.psum(conv(hidden, kernel2), "model") + shift2).mean((1, 2))


def _input_channels(x, kernel1, shift1, kernel2, shift2):
    """The other way round."""
    hidden = jax.nn.relu(lax.psum(conv(x, kernel1), "model") + shift1)
    return (conv(hidden, kernel2) + shift2).mean((1, 2))


def _convnet(body, *in_specs, **options):
    program = mapped(body, in_specs=in_specs, **options)
    return lambda x: program(x, n.KERNEL1, n.SHIFT1, n.KERNEL2, n.SHIFT2)


_INS, _OUTS = P(None, None, "model"), P(None, None, None, "model")

CONVOLUTIONS = {
    "output, then input channels": _convnet(_channels, P("data"), _OUTS, ROWS, _INS, P()),
    "input, then output channels": _convnet(
        _input_channels, P("data", None, None, "model"), _INS, P(), _OUTS, ROWS, out_specs=FEATURES
    ),
}

# ---------------------------------------------------------------- attention


def _heads_split(x, query, key, value, out, w1, b1, w2, b2):
    """A head on each device, then hidden neurons."""
    normed = n.rms_norm(x)
    q, k, v = (jnp.einsum("btw,whd->bthd", normed, w) for w in (query, key, value))
    mixed = jnp.einsum("bthd,hdw->btw", n.attend(q, k, v), out)
    x = x + lax.psum(mixed, "model")
    return x + two_layers(n.rms_norm(x), w1, b1, w2, b2)


def _tokens_split(x, query, key, value, out, w1, b1, w2, b2):
    """Some tokens on each device, which sees the keys and values of all."""
    normed = n.rms_norm(x)
    q, k, v = (jnp.einsum("btw,whd->bthd", normed, w) for w in (query, key, value))
    k, v = (lax.all_gather(a, "model", axis=1, tiled=True) for a in (k, v))
    x = x + jnp.einsum("bthd,hdw->btw", n.attend(q, k, v), out)
    return x + (jax.nn.relu(n.rms_norm(x) @ w1 + b1) @ w2 + b2)


def _block(body, *in_specs, **options):
    program = mapped(body, in_specs=in_specs, **options)
    weights = n.QUERY, n.KEY, n.VALUE, n.OUT, n.W1, n.B1, n.W2, n.B2
    return lambda x: program(x, *weights)


ATTENTION = {
    "heads": _block(_heads_split, P("data"), *[COLUMNS] * 3, ROWS, *SPLIT[1:]),
    "tokens": _block(_tokens_split, FEATURES, *[P()] * 8, out_specs=FEATURES),
}
