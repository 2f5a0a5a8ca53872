"""The networks' relevance by lrpjax, in Linen and in NNX, and its comparison with zennit's."""

from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from lrpjax import Composite, lrp_vjp, presets, rules
from parity.cases import PASSED, PRESETS, start
from parity.flax_weights import flax_weights
from parity.linen_networks import MODULES
from parity.networks import NETWORKS, bounds, inputs
from parity.nnx_networks import MAKERS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@lru_cache
def golden(name):
    """What zennit computed for one network: logits and relevance, float64, torch's layout."""
    with np.load(GOLDEN / f"zennit_{name}.npz") as arrays:
        return dict(arrays)


def composite(name, case):
    """The composite of one case of a network."""
    if case.name in PRESETS:
        box = "box" in case.name
        low_high = dict(zip(("low", "high"), bounds(NETWORKS[name]), strict=True)) if box else {}
        return getattr(presets, case.name)(**case.numbers, **low_high)
    alone = case.name in ("Norm", "Pass")
    rule = rules.Epsilon() if alone else getattr(rules, case.name)(**case.numbers)
    sums = rules.Epsilon(**case.numbers) if case.name == "Norm" else rules.Epsilon()
    return Composite(
        conv=rule,
        dense=rule,
        pool=sums,
        add=sums,
        shift=rules.Pass(),
        elementwise=rules.Pass(),
        layers={PASSED[name]: rules.Pass()} if case.name == "Pass" else {},
    )


@lru_cache
def linen(name, dtype):
    """A Linen network: (weights, function of weights that gives what lrp_vjp takes)."""
    module = MODULES[name]
    variables = flax_weights(NETWORKS[name], dtype)
    expected = jax.eval_shape(module.init, jax.random.key(0), example(name, dtype))
    shapes = lambda tree: jax.tree.map(np.shape, tree)
    assert shapes({"batch_stats": {}, **expected}) == shapes(variables)
    return variables, lambda variables: (module, variables)


@lru_cache
def nnx_module(name, dtype):
    """An NNX network likewise."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: MAKERS[name](nnx.Rngs(0))))
    variables = flax_weights(NETWORKS[name], dtype)
    arrays = _merged(variables["params"], variables["batch_stats"])
    shapes = lambda tree: jax.tree.map(np.shape, tree)
    assert shapes(nnx.to_pure_dict(state)) == shapes(arrays)
    nnx.replace_by_pure_dict(state, arrays)
    return state, lambda state: (nnx.merge(graphdef, state),)


FRAMEWORKS = {"linen": linen, "nnx": nnx_module}


def _merged(a, b):
    """Two nested dictionaries as one."""
    both = {k: _merged(a[k], b[k]) for k in a.keys() & b.keys()}
    return {**a, **b, **both}


@lru_cache
def _program(framework, name, dtype):
    """(weights, composite, x, start) -> (logits, relevance): one program per composite's kind."""
    weights, network = FRAMEWORKS[framework](name, dtype)

    def explain(weights, composite, x, start):
        module, *variables = network(weights)
        logits, relevance_of = lrp_vjp(module, composite, *variables, x)
        return logits, relevance_of(start)

    return weights, jax.jit(explain)


def example(name, dtype):
    """The inputs of a network, channels last."""
    return np.moveaxis(inputs(NETWORKS[name]), 1, -1).astype(dtype)


def explained(framework, name, case, dtype=np.float64):
    """Logits and relevance of one case, in torch's layout, started as zennit was."""
    weights, explain = _program(framework, name, dtype)
    begin = start(case, golden(name)["logits"]).astype(dtype)
    logits, relevance = explain(weights, composite(name, case), example(name, dtype), begin)
    assert logits.dtype == relevance.dtype == dtype
    return np.asarray(logits), np.moveaxis(np.asarray(relevance), -1, 1)


#: Five digits are asked of a second implementation; a stabiliser of 1e-6 shows only beyond them.
RTOL, ATOL = 1e-8, 1e-12


def assert_equal(actual, expected):
    """Equal to eight digits; the absolute part, of the largest value, is for sums that cancel."""
    assert actual.shape == expected.shape
    largest = np.abs(expected).max()
    assert np.isfinite(largest) and largest > 0, "the numbers must say something"
    np.testing.assert_allclose(actual, expected, rtol=RTOL, atol=ATOL * largest)


def error(actual, expected):
    """The relative L2 error."""
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)
