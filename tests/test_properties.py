"""What must hold for every program of covered primitives, on random ones; and what is refused.

``python -m random_programs`` runs the same properties on thousands.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from jax import lax
from random_programs import properties
from random_programs import record as records
from random_programs.build import build
from random_programs.case import Case, refused
from random_programs.draw import from_seed, programs
from random_programs.reference import interpreted
from random_programs.shrink import shrink

from lrpjax import Composite, PlanError, UnsupportedPrimitiveError, lrp, plan, rules


def examples(share):
    """A share of the profile's number of examples."""
    return settings(max_examples=max(1, round(share * settings().max_examples)))


@given(programs())
def test_every_program_keeps_every_property(program):
    with interpreted():
        properties.examine(program)


@examples(0.15)
@given(programs())
def test_compiled_programs_keep_them_too(program):
    properties.examine(program)


@examples(0.3)
@given(programs())
def test_the_gradient_of_the_value_is_the_functions_own(program):
    with interpreted():
        properties.examine(program, [properties.the_gradient_of_the_value_is_the_functions_own])


@examples(0.1)
@given(programs())
def test_jit_is_eager(program):
    with interpreted():
        properties.examine(program, [properties.jit_is_eager])


@examples(0.1)
@given(programs())
def test_the_interpreter_computes_what_xla_computes(program):
    with interpreted():
        properties.examine(program, [properties.compiled_is_interpreted])


@examples(0.2)
@given(programs())
def test_relevance_of_a_map_is_the_map_of_relevance(program):
    with interpreted():
        properties.examine(program, [properties.relevance_of_a_map_is_the_map_of_relevance])


@examples(0.15)
@given(programs(dtypes=("float16", "bfloat16")))
def test_half_precision_makes_no_nan(program):
    properties.examine(program, [properties.half_precision_makes_no_nan])


# ---------------------------------------------------------------- what they found, made small


def test_a_function_of_x_joined_with_x_and_weighed_by_a_stopped_function_of_it():
    x = np.array([0.5, -1.0, 2.0], np.float32)

    def f(x, weigh):
        a = jnp.sin(x)
        return jnp.maximum(a, x) * weigh(a)

    stopped = lrp(lambda x: f(x, lambda a: lax.stop_gradient(jnp.tanh(a))))(x)
    weights = np.tanh(np.sin(x))
    constant = lrp(lambda x: f(x, lambda _: weights))(x)
    np.testing.assert_allclose(stopped, constant, rtol=1e-6)


def test_padding_in_front_of_a_mapped_convolution_is_padding():
    kernel, x = np.ones((3, 1, 2), np.float32), np.arange(1, 9, dtype=np.float32).reshape(2, 4, 1)

    def f(x):
        x = jnp.pad(x[None], [(0, 0), (1, 1), (0, 0)])
        numbers = ("NWC", "WIO", "NWC")
        return lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=numbers)[0]

    explained = jax.vmap(lambda x: lrp(f, rules.Flat())(x, target=jnp.ones_like))(x)
    mapped = lrp(jax.vmap(f), rules.Flat())(x, target=jnp.ones_like)
    np.testing.assert_allclose(explained[0, :, 0], [5 / 3, 7 / 3, 7 / 3, 5 / 3], rtol=1e-6)
    np.testing.assert_allclose(mapped, explained, rtol=1e-6)


# ---------------------------------------------------------------- what is refused


def rescaled_until_large(y):
    return lax.while_loop(lambda c: jnp.abs(c).sum() < 9.0, lambda c: 2.0 * c, 1.0 + jnp.abs(y))


UNCOVERED = {
    "quotient of two": ("div", lambda y: y / (1.0 + jnp.abs(y[..., ::-1]))),
    "softmax over another sum": ("div", lambda y: jnp.exp(y) / jnp.exp(y[..., ::-1]).sum()),
    "scan": ("cumprod", lambda y: lax.map(lambda a: lax.cumprod(a, axis=0), y[None])),
    "cond": ("cumprod", lambda y: lax.cond(y.sum() > 0, lax.cumprod, jnp.sin, y)),
    "while": ("while", rescaled_until_large),
    "running product": ("cumprod", lambda y: lax.cumprod(y, axis=y.ndim - 1)),
}


@examples(0.5)
@given(programs(dtypes=("float32",)), st.sampled_from(list(UNCOVERED)))
def test_what_no_unit_covers_is_named_wherever_it_stands(program, name):
    """A program that ends in what lrpjax can't explain yet."""
    program = dataclasses.replace(program, output="logits", batched=False)
    case = Case(program, build(program))
    assume(not refused(case))
    primitive, end = UNCOVERED[name]
    function = lambda *arguments: end(case.built.function(*arguments).ravel()[:3])
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        plan(function, program.composite, *case.arguments, **case.options)
    note(str(caught.value))
    assert caught.value.primitive == primitive
    assert all(part in str(caught.value) for part in (f"'{primitive}'", "stop_gradient"))


def test_the_refusals_that_random_programs_may_meet():
    """No path of relevance; a pattern's rule that fits nothing. Both are checked to be right."""
    x = jnp.ones(3)
    with pytest.raises(PlanError, match="does not depend on the explained input"):
        plan(lambda x: lax.stop_gradient(x) @ jnp.eye(3), None, x)
    with pytest.raises(PlanError, match="fits none of the units"):
        plan(jnp.tanh, Composite(layers={"*": rules.Epsilon()}), x)


# ---------------------------------------------------------------- the runner


def test_failing_programs_are_made_small():
    def sorts(program):
        return any(s.operation == "maximum" and s.variant % 2 for s in program.steps)

    program = next(p for p in map(from_seed, range(1000)) if len(p.steps) > 4 and sorts(p))
    smallest = shrink(program, sorts)
    assert len(smallest.steps) == 1 and sorts(smallest)
    assert smallest.composite == Composite() and smallest.steps[0].wrapper == "plain"


def test_records_and_their_summary(monkeypatch):
    with interpreted():
        good = records.record(0)
        monkeypatch.setattr(properties, "ROUNDING", {"float32": -1.0, "float64": -1.0})
        monkeypatch.setattr(records, "shrink", lambda program, fails: program)
        bad = records.record(0)
    assert good["units"] and "failure" not in good
    assert bad["failure"]["property"] == "the_ledger_closes" and "unexplained" in str(bad)
    text = records.summary([good, {**bad, "seed": 1}])
    assert "2 programs, 1 failures" in text and "seed 1: the_ledger_closes" in text
