"""Random linear programs from an array to one of the same shape, as a window may be written."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SHAPES = ((7,), (3, 4), (2, 3, 4), (1, 5, 2))


@dataclass
class Drawing:
    """A program while it is drawn.

    Attributes:
        rng: where choices come from.
        shape: of the value so far.
        axes: which axis of the input each axis of the value is.
        slid, mixed: the input's axes along which elements have moved; through a matrix.
        names: what was drawn.
    """

    rng: np.random.Generator
    shape: list[int]
    axes: list[int]
    slid: set[int] = field(default_factory=set)
    mixed: set[int] = field(default_factory=set)
    names: list[str] = field(default_factory=list)

    def axis(self):
        return int(self.rng.integers(len(self.shape)))

    def number(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def sliding(self):
        axis = self.axis()
        self.slid.add(self.axes[axis])
        return axis, self.shape[axis]


def at(axis, rank, value, other):
    """One entry per axis: `value` at one of them."""
    return tuple(value if a == axis else other for a in range(rank))


def pad(u, axis, low, high):
    return jnp.pad(u, at(axis, u.ndim, (low, high), (0, 0)))


def cut(u, axis, start, size):
    return lax.slice_in_dim(u, start, start + size, axis=axis)


def window(d):
    (axis, _), reach = d.sliding(), d.number(1, 4)
    step, rank = d.number(1, 2), len(d.shape)
    before = d.number(0, (reach - 1) * step)
    padding = at(axis, rank, (before, (reach - 1) * step - before), (0, 0))
    sizes, dilation = at(axis, rank, reach, 1), at(axis, rank, step, 1)
    return lambda u: lax.reduce_window(
        u, 0.0, lax.add, sizes, (1,) * rank, padding, window_dilation=dilation
    )


def cumulative(d):
    (axis, _), reverse = d.sliding(), bool(d.number(0, 1))
    return lambda u: lax.cumsum(u, axis, reverse=reverse)


def difference(d):
    """A window as a difference of cumulative sums."""
    axis, size = d.sliding()
    reach = d.number(1, 4)
    before = d.number(0, reach - 1)

    def program(u):
        sums = lax.cumsum(pad(u, axis, before + 1, reach - 1 - before), axis)
        return cut(sums, axis, reach, size) - cut(sums, axis, 0, size)

    return program


def slices(d):
    """A window as a weighted sum of slices."""
    axis, size = d.sliding()
    reach = d.number(1, 3)
    before, weights = d.number(0, reach), d.rng.normal(size=reach + 1)

    def program(u):
        wide = pad(u, axis, before, reach - before)
        return sum(w * cut(wide, axis, i, size) for i, w in enumerate(weights))

    return program


def stacked(d):
    axis, size = d.sliding()
    place, low = d.number(0, len(d.shape)), d.number(0, 2)

    def program(u):
        wide = pad(u, axis, low, 2 - low)
        return jnp.stack([cut(wide, axis, i, size) for i in range(3)], place).sum(place)

    return program


def beside_zeros(d):
    """Moved by one place: a zero is concatenated, an element cut off."""
    (axis, size), behind = d.sliding(), bool(d.number(0, 1))

    def program(u):
        zero = jnp.zeros_like(cut(u, axis, 0, 1))
        parts = [u, zero] if behind else [zero, u]
        return cut(jnp.concatenate(parts, axis), axis, int(behind), size)

    return program


def convolution(d):
    """Each row along an axis convolved by itself: rows of a batch, unless others have moved."""
    alone = not d.slid
    axis, size = d.sliding()
    kernel = d.rng.normal(size=(d.number(1, 4), 1, 1))
    row = lambda u: lax.conv_general_dilated(
        u, kernel, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
    )

    def batch(u):
        rows = jnp.moveaxis(u, axis, -1)
        return jnp.moveaxis(row(rows.reshape(-1, size, 1)).reshape(rows.shape), -1, axis)

    def image(u):
        wide = kernel.reshape(at(axis, u.ndim, len(kernel), 1))[..., None, None]
        strides = (1,) * u.ndim
        letters = "XYZ"[: u.ndim]
        numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        given = u[None, ..., None]
        found = lax.conv_general_dilated(given, wide, strides, "SAME", dimension_numbers=numbers)
        return found[0, ..., 0]

    return batch if alone else image


def matrix(d):
    axis = d.axis()
    d.mixed.add(d.axes[axis])
    weights = d.rng.normal(size=(d.shape[axis],) * 2)
    return lambda u: jnp.moveaxis(jnp.moveaxis(u, axis, -1) @ weights, -1, axis)


def scale(d):
    shape = [size if d.number(0, 1) else 1 for size in d.shape]
    factor = d.rng.normal(size=shape) if d.number(0, 2) else float(d.rng.normal())
    return (lambda u: u * factor) if d.number(0, 1) else (lambda u: u / factor)


def transpose(d):
    order = d.rng.permutation(len(d.shape))
    d.shape, d.axes = [d.shape[a] for a in order], [d.axes[a] for a in order]
    return lambda u: jnp.transpose(u, order)


def beside_itself(d):
    """A sum or a difference of a value and what a step makes of it."""
    step, sign = draw_step(d, SHAPE_KEEPING), 1 if d.number(0, 1) else -1
    return lambda u: u + step(u) if sign > 0 else u - step(u)


def with_an_axis(d):
    """A window while the value has one axis more, of one element."""
    place = d.number(0, len(d.shape))
    (axis, _), rank = d.sliding(), len(d.shape) + 1
    moved = axis + (place <= axis)
    sizes = at(moved, rank, 3, 1)

    def program(u):
        wide = jnp.expand_dims(u, place)
        summed = lax.reduce_window(wide, 0.0, lax.add, sizes, (1,) * rank, "SAME")
        return jnp.squeeze(summed, place)

    return program


SHAPE_KEEPING = (
    window,
    cumulative,
    difference,
    slices,
    stacked,
    beside_zeros,
    convolution,
    scale,
    with_an_axis,
)
STEPS = (*SHAPE_KEEPING, transpose, beside_itself)


def draw_step(d, steps):
    step = steps[d.rng.integers(len(steps))]
    d.names.append(step.__name__)
    return step(d)


@dataclass(frozen=True)
class Program:
    """A linear function of one array.

    Attributes:
        names: of its steps, in order.
        shape: of its input and output.
        last: it has one matrix, along an axis that nothing moved along, and what follows keeps
            elements apart.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    function: object
    last: bool


def matrix_of(program):
    """The dense matrix [out, in], one unit vector at a time."""
    size = int(np.prod(program.shape))
    units = np.eye(size).reshape(size, *program.shape)
    return np.asarray(jax.jit(jax.vmap(program.function))(units)).reshape(size, size).T


def draw(seed, matrices=0):
    """Two to four steps and the matrices in a random order, then back to the input's axes."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    d = Drawing(rng, list(shape), list(range(len(shape))))
    kinds = [STEPS] * int(rng.integers(2, 5)) + [(matrix,)] * matrices
    steps = [draw_step(d, kinds[i]) for i in rng.permutation(len(kinds))]
    back = np.argsort(d.axes)

    def function(u):
        for step in steps:
            u = step(u)
        return jnp.transpose(u, back)

    apart = set(d.names[d.names.index("matrix") + 1 :]) <= {"scale", "transpose"} if matrices else 0
    return Program(tuple(d.names), shape, function, bool(apart) and not d.mixed & d.slid)
