"""What a linear program takes of each element, against its dense matrix."""

import itertools

import numpy as np
import pytest
from normalisation.linear_programs import draw, matrix_of

from lrpjax.plan.coefficients import Unknown, moved
from lrpjax.plan.settle import settle
from lrpjax.trace import Literal, trace

pytestmark = pytest.mark.usefixtures("x64")


def follow(program):
    """What `moved` finds of a program, its constants as NumPy arrays."""
    traced = trace(program.function, [np.zeros(program.shape)], [None], [0])
    settled = settle(traced)
    region, (x,) = settled.region, traced.explained
    values = dict(zip(region.inputs[1:], traced.constants, strict=True))
    read = lambda atom: np.asarray(atom.value if isinstance(atom, Literal) else values[atom])
    linear = []
    for equation in region.equations:
        if settled.facts[equation.outputs[0]].live:
            linear.append(equation)
        else:
            made = equation.primitive.bind(*map(read, equation.inputs), **equation.params)
            values[equation.outputs[0]] = np.asarray(made)
    return moved(linear, {x: x.shape}, region.outputs[0], read)


def placed(found, shape):
    """The matrix [out, in] that shifts and weights stand for."""
    size = int(np.prod(shape))
    number = np.arange(size).reshape(shape)
    matrix = np.zeros((size, size))
    for shift, weight in found.weights.items():
        weight = np.broadcast_to(weight, shape)
        for o in itertools.product(*map(range, shape)):
            there = tuple(map(sum, zip(o, shift, strict=True)))
            if all(0 <= n < length for n, length in zip(there, shape, strict=True)):
                matrix[number[there], number[o]] += weight[o]
    return matrix


def agree(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(40))
def test_windows_slices_and_sums_are_followed_element_by_element(seed):
    program = draw(seed)
    found = follow(program)
    assert found.complete
    agree(placed(found, program.shape), matrix_of(program))


def diagonal_agrees(program):
    """Or all of it, where that is claimed."""
    found, expected = follow(program), matrix_of(program)
    if found.complete:
        agree(placed(found, program.shape), expected)
    agree(np.broadcast_to(found.diagonal, program.shape).ravel(), expected.diagonal())


def drawn(matrices, last, count):
    """Programs with so many matrices, after which elements stay apart, or are mixed again."""
    programs = (draw(seed, matrices) for seed in itertools.count(1000 * matrices))
    return list(itertools.islice((p for p in programs if p.last == last), count))


def identify(program):
    return "-".join(program.names)


@pytest.mark.parametrize("program", drawn(1, True, 8), ids=identify)
def test_of_a_matrix_the_diagonal_is_known(program):
    diagonal_agrees(program)


@pytest.mark.parametrize("program", [*drawn(1, False, 10), *drawn(2, False, 6)], ids=identify)
def test_of_what_a_matrix_has_mixed_the_diagonal_is_right_or_not_claimed(program):
    """A window over what a matrix has mixed takes other elements of it than the diagonal."""
    try:
        diagonal_agrees(program)
    except Unknown:
        return
