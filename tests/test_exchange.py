"""Products of batches: with the largest operand in front, and otherwise as the program has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.products import products

from lrpjax import lrp, value_and_lrp


def array(*shape, seed):
    """Small whole numbers: their products and sums are exact in any order."""
    return jnp.asarray(np.random.default_rng(seed).integers(1, 9, shape), jnp.float32)


#: name -> einsum, the shapes of its operands, and whether they are exchanged
PRODUCTS = {
    "values, weights": ("bsnh,bnts->bnht", (2, 5, 3, 2), (2, 3, 7, 5), True),
    "two batch axes out of order": ("bsnh,nbts->bnht", (2, 5, 3, 2), (3, 2, 7, 5), True),
    "two summed axes, out of order": ("bsuh,btus->bht", (2, 5, 4, 2), (2, 7, 4, 5), True),
    "two summed axes": ("bush,btus->bht", (2, 4, 5, 2), (2, 7, 4, 5), True),
    "no axes of its own": ("bs,bts->bt", (2, 5), (2, 7, 5), True),
    "not summed along its last axis": ("bsnh,bnst->bnht", (2, 5, 3, 2), (2, 3, 5, 7), False),
    "weights, values": ("bnts,bsnh->bnth", (2, 3, 7, 5), (2, 5, 3, 2), False),
    "a larger result": ("bth,bsh->bts", (2, 6, 2), (2, 9, 2), False),
    "no batch": ("hs,ts->ht", (2, 5), (7, 5), False),
}


def product(name):
    subscripts, left, right, exchanged = PRODUCTS[name]
    (a, b), out = subscripts.split("->")[0].split(","), subscripts.split("->")[1]
    batch = [axis for axis in a if axis in b and axis in out]
    summed = [axis for axis in a if axis in b and axis not in out]
    numbers = tuple(
        tuple(tuple(word.index(axis) for axis in axes) for word in (a, b))
        for axes in (summed, batch)
    )
    operands = array(*left, seed=1), array(*right, seed=2)
    return subscripts, numbers, operands, exchanged


def first_shapes(function, *arguments):
    """The shapes of the first operands of a program's products."""
    return [equation.invars[0].aval.shape for equation in products(function, *arguments)]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_have_the_values_of_numpy_s(name):
    subscripts, numbers, operands, _ = product(name)
    value, _ = value_and_lrp(lambda ab: lax.dot_general(*ab, numbers))(operands)
    out = subscripts.split("->")[1]
    batch = [a for a in out if all(a in word for word in subscripts.split("->")[0].split(","))]
    given = "".join(batch) + "".join(a for a in out if a not in batch)  # dot_general's own order
    wanted = np.einsum(f"{subscripts.split('->')[0]}->{given}", *map(np.asarray, operands))
    np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_largest_operand_stands_first_in_the_forward_pass(name):
    _, numbers, operands, exchanged = product(name)
    shapes = first_shapes(lrp(lambda ab: lax.dot_general(*ab, numbers)), operands)
    assert shapes[0] == operands[1 if exchanged else 0].shape
    if exchanged:
        assert operands[0].shape != operands[1].shape


def test_precision_of_each_operand_goes_with_it():
    _, numbers, operands, _ = product("values, weights")
    two = (lax.Precision.HIGHEST, lax.Precision.DEFAULT)
    jaxpr = jax.make_jaxpr(lrp(lambda ab: lax.dot_general(*ab, numbers, precision=two)))(operands)
    assert "precision=(Precision.DEFAULT, Precision.HIGHEST)" in str(jaxpr).replace("\n", " ")


def test_an_algorithm_that_may_tell_operands_apart_stays():
    _, numbers, operands, _ = product("values, weights")
    algorithm = lax.DotAlgorithm(
        lhs_precision_type=np.float32, rhs_precision_type=np.float32, accumulation_type=np.float32
    )
    single = [a.astype(jnp.float32) for a in operands]

    def f(ab):
        return lax.dot_general(*ab, numbers, precision=algorithm)

    assert first_shapes(lrp(f), single)[0] == single[0].shape


def test_the_result_s_dtype_is_the_program_s():
    _, numbers, operands, _ = product("values, weights")
    half = [a.astype(jnp.bfloat16) for a in operands]

    def f(ab):
        return lax.dot_general(*ab, numbers, preferred_element_type=jnp.float32)

    value, _ = value_and_lrp(f)(half)
    wanted = np.einsum("bsnh,bnts->bnht", *(np.asarray(a, np.float64) for a in half))
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, wanted)


def test_a_mapped_product_is_the_same():
    _, numbers, operands, _ = product("values, weights")
    many = [jnp.stack([a, 2 * a]) for a in operands]

    def f(ab):
        return lax.dot_general(*ab, numbers)

    one = [lrp(f)([a[i] for a in many]) for i in range(2)]
    both = jax.vmap(lrp(f))(many)
    for i in range(2):
        for a, b in zip(both, one[i], strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-6)
