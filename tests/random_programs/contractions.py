"""Layers with weights: dot products in several layouts, convolutions, and what folds into them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def normalised(channels, pick, new):
    """A BatchNorm's map along the last axis, as its several authors write it; or none."""
    form = pick(["none", "linen", "nnx", "scale first", "divided"])
    if form == "none":
        return lambda p, x: x
    mean, scale, shift = new(channels), new(channels, around=1.0), new(channels)
    variance = new(channels, around=1.0, positive=True)
    forms = {
        "linen": lambda p, x: (x - p[mean]) * (lax.rsqrt(p[variance] + 1e-5) * p[scale]) + p[shift],
        "nnx": lambda p, x: (x - p[mean]) * lax.rsqrt(p[variance] + 1e-5) * p[scale] + p[shift],
        "scale first": lambda p, x: x * p[scale] - p[mean],
        "divided": lambda p, x: p[shift] - (x - p[mean]) / p[variance],
    }
    return forms[form]


def biased(shape, pick, new):
    """A bias of the kinds that fold: a vector, none, a number, or one for every element."""
    form = pick(["vector", "none", "number", "everywhere", "subtracted"])
    if form == "none":
        return lambda p, x: x
    if form == "number":
        return lambda p, x: x + 0.25
    b = new(*(shape if form == "everywhere" else shape[-1:]), scale=0.3)
    if form == "subtracted":
        return lambda p, x: p[b] - x
    return lambda p, x: x + p[b]


_PRODUCTS = {  # einsum, the weights' axes (n: the last axis, m: before it, o: of the result)
    "last": ("...i,io->...o", "no"),
    "transposed": ("...i,oi->...o", "on"),
    "weights first": ("oi,...i->...o", "on"),
    "axis before": ("...ij,io->...oj", "mo"),
    "batched": ("...ri,rio->...ro", "mno"),
    "two axes": ("...ij,ijo->...o", "mno"),
    "vector": ("...i,i->...", "n"),
    "outer": ("...i,o->...io", "o"),
    "swapped": ("...ij,jo->...oi", "no"),
}
_NEEDS_TWO = ("axis before", "batched", "two axes", "vector", "swapped")


def dense(shape, pick, new):
    """A product with a constant matrix, in one of many layouts, with bias and BatchNorm."""
    names = [name for name in _PRODUCTS if len(shape) > 1 or name not in _NEEDS_TWO]
    equation, axes = _PRODUCTS[pick(names)]
    sizes = {"n": shape[-1], "m": shape[-2] if len(shape) > 1 else 0, "o": pick([3, 2, 4])}
    w = new(*(sizes[a] for a in axes), fan_in=shape[-1])
    out = result(lambda x, k: jnp.einsum(*operands(equation, x, k)), shape, new.shapes[w])
    bias = biased(out, pick, new)
    norm = normalised(out[-1], pick, new)
    return lambda p, x: norm(p, bias(p, jnp.einsum(*operands(equation, x, p[w]))))


def operands(equation, x, w):
    """The arguments of einsum, in the order of its equation."""
    return (equation, x, w) if equation.startswith("...") else (equation, w, x)


def result(function, *shapes):
    """The shape of a function's result."""
    return jax.eval_shape(function, *(jax.ShapeDtypeStruct(s, np.float32) for s in shapes)).shape


def matmul(shape, pick, new):
    """`x @ w + b`, the plain dense layer."""
    w = new(shape[-1], shape[-1] if pick([True, False]) else 3)
    width = new.shapes[w][1]
    bias = biased((*shape[:-1], width), pick, new)
    return lambda p, x: bias(p, x @ p[w])


def mapped_weights(shape, pick, new):
    """`vmap` over inputs and weights together: a batched product, or a grouped convolution."""
    if len(shape) < 2:
        return None
    if len(shape) == 3 and pick([True, False]):
        k = new(shape[0], 2, shape[2], 2, fan_in=2 * shape[2])
        conv = lambda x, k: lax.conv_general_dilated(
            x[None], k, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )[0]
    else:
        k = new(shape[0], shape[-1], 2, fan_in=shape[-1])
        conv = lambda x, k: x @ k
    each = jax.vmap(conv)

    def layer(p, x):
        whole = each if x.ndim == len(shape) else jax.vmap(each, (0, None))
        return whole(x, p[k])

    return layer


# ---------------------------------------------------------------- convolutions

_LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
_FIRST = {1: ("NCW", "OIW", "NCW"), 2: ("NCHW", "OIHW", "NCHW")}


def as_images(x, rank):
    """Merge what leads an image [..., *spatial, channels] into one batch axis."""
    return x.reshape(-1, *x.shape[x.ndim - rank :])


def with_channel(operation, shape, pick, new):
    """An operation on images, of one row with one channel."""
    layer = operation((*shape, 1), pick, new)
    return layer and (lambda p, x: layer(p, x[..., None]))


def convolution(shape, pick, new):
    """A 1-d or 2-d convolution: stride, padding, dilation, groups, either layout."""
    if len(shape) < 2:
        return with_channel(convolution, shape, pick, new)
    rank = min(len(shape) - 1, 2)
    channels_last = pick([True, False])
    image = shape[-rank - 1 :]
    channels, spatial = (image[-1], image[:-1]) if channels_last else (image[0], image[1:])
    kernel = tuple(min(pick([3, 2]), n) for n in spatial)
    settings = {
        "window_strides": (pick([1, 2]),) * rank,
        "padding": pick(["SAME", "VALID", ((1, 0),) * rank, ((0, 2),) * rank]),
        "rhs_dilation": (pick([1, 1, 2]),) * rank,
        "lhs_dilation": (pick([1, 1, 1, 2]),) * rank,
        "feature_group_count": pick([g for g in (1, 1, 2, channels) if channels % g == 0]),
        "dimension_numbers": (_LAST if channels_last else _FIRST)[rank],
    }
    if settings["lhs_dilation"][0] > 1 and isinstance(settings["padding"], str):
        settings["padding"] = ((1, 1),) * rank  # JAX takes no names there
    groups = settings["feature_group_count"]
    outputs = groups * pick([2, 1]) if groups > 1 else 3
    sizes = (*kernel, channels // groups, outputs)
    sizes = sizes if channels_last else (outputs, channels // groups, *kernel)
    w = new(*sizes, fan_in=channels // groups * len(kernel) * 2)
    pad = pick([False, False, True])
    convolve = lambda x, k: lax.conv_general_dilated(x, k, **settings)
    edges = [(0, 0)] + [(1, 0)] * rank
    edges.insert(rank + 1 if channels_last else 1, (0, 0))
    return _on_images(shape, rank, convolve, w, edges if pad else None, pick, new)


def _on_images(shape, rank, convolve, w, edges, pick, new):
    """The layer of a convolution, with zero padding in front, a bias and a BatchNorm behind."""
    image = shape[-rank - 1 :]

    def run(x, k):
        x = as_images(x, rank + 1)
        return convolve(jnp.pad(x, edges) if edges else x, k)

    out = result(run, (1, *image), new.shapes[w])[1:]
    if 0 in out:
        return None
    bias, norm = biased(out, pick, new), normalised(out[-1], pick, new)

    def layer(p, x):
        y = norm(p, bias(p, run(x, p[w])))
        return y.reshape(*x.shape[: x.ndim - len(image)], *out)

    return layer


def transposed_convolution(shape, pick, new):
    """`lax.conv_transpose`, channels last."""
    if len(shape) < 2:
        return with_channel(transposed_convolution, shape, pick, new)
    rank = min(len(shape) - 1, 2)
    w = new(*(pick([2, 3]),) * rank, shape[-1], 2, fan_in=shape[-1] * 2)
    strides, padding = (pick([2, 1, 3]),) * rank, pick(["SAME", "VALID"])
    numbers = _LAST[rank]
    convolve = lambda x, k: lax.conv_transpose(x, k, strides, padding, dimension_numbers=numbers)
    return _on_images(shape, rank, convolve, w, None, pick, new)


def as_kernel(shape, pick, new):
    """A constant image convolved with a kernel that is the input itself."""
    if len(shape) != 2:
        return None
    image = new(2, 5, shape[-1], fan_in=shape[-1] * shape[0])
    numbers = ("NWC", "WIO", "NWC")

    def one(p, x):
        return lax.conv_general_dilated(p[image], x[..., None], (1,), "SAME", None, None, numbers)

    def layer(p, x):
        y = one(p, x) if x.ndim == 2 else jnp.stack([one(p, a) for a in x])
        return y[..., 0]

    return layer


CONTRACTIONS = {
    "matmul": matmul,
    "dense": dense,
    "convolution": convolution,
    "transposed_convolution": transposed_convolution,
    "mapped_weights": mapped_weights,
    "as_kernel": as_kernel,
}
