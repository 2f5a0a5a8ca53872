"""What the axes of a value are, seen from an array it was made from, through any reshape.

An axis is a sequence of factors, the slowest first. A factor (axis, stride, size) stands for
``size`` steps of ``stride`` along an axis of the array; one of axis ``FILLED`` came in by a
broadcast. Reshapes join sequences and split them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Factor = tuple[int, int, int]
Label = tuple[Factor, ...]

FILLED = -1


def labels_of(shape: tuple[int, ...]) -> tuple[Label, ...]:
    """The axes of the array itself.

    Example:
        >>> labels_of((2, 1))
        (((0, 1, 2),), ())
    """
    return tuple(((axis, 1, size),) if size > 1 else () for axis, size in enumerate(shape))


def split(factors: Iterable[Factor], sizes: Sequence[int]) -> list[Label] | None:
    """Share a sequence of factors among axes of given sizes; None where they don't fit.

    Example:
        >>> split([(3, 1, 8)], (2, 4))
        [((3, 4, 2),), ((3, 1, 4),)]
    """
    rest = [factor for factor in factors if factor[2] > 1]
    labels: list[Label] = []
    for size in sizes:
        label: list[Factor] = []
        while size > 1:
            if not rest:
                return None
            axis, stride, length = rest.pop(0)
            if size % length == 0:
                label.append((axis, stride, length))
                size //= length
            elif length % size == 0:
                inner = length // size
                label.append((axis, stride * inner, size))
                rest.insert(0, (axis, stride, inner))
                size = 1
            else:
                return None
        labels.append(tuple(label))
    return None if rest else labels


def is_in_place(labels: Sequence[Label], shape: tuple[int, ...], summed: frozenset[Factor]) -> bool:
    """Whether a value lies as the array does; what was summed over may have been broadcast back.

    Example:
        >>> is_in_place(labels_of((2, 3)), (2, 3), frozenset())
        True
    """
    for axis, (label, size) in enumerate(zip(labels, shape, strict=True)):
        rest = size
        for own, stride, length in label:
            rest //= length
            expected = (axis, rest, length)
            if own == FILLED and expected not in summed:
                return False
            if own != FILLED and (own, stride, length) != expected:
                return False
        if rest > 1:
            return False
    return True
