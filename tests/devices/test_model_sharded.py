"""Programs whose weights are split over devices explain as their like on one device does."""

import functools

import numpy as np
import pytest
from devices import networks as n
from devices import programs
from devices.comparing import AFFINE, SOME, check_equal, ledger, relevances

from lrpjax import Composite, rules

MLP = programs.MODEL_SPLIT | programs.COLLECTIVES

#: What takes most of the ledger's columns: biases of both signs, and the stabiliser of each.
BOTH_SIGNS = Composite(conv=rules.AlphaBeta(2.0, 1.0), dense=rules.AlphaBeta(2.0, 1.0))


@functools.cache
def on_one_device(network, what):
    x = n.IMAGES if network is n.convnet else n.X
    return what(network, x)


def every_rule(f, x):
    return relevances(f, x, AFFINE)


def some_rules(f, x):
    return relevances(f, x, SOME)


def both_signs(f, x):
    return ledger(f, x, BOTH_SIGNS)


@pytest.mark.parametrize("name", MLP)
def test_two_layers_split_in_any_way_get_the_relevance_of_one_device(name):
    check_equal(every_rule(MLP[name], n.X), on_one_device(n.mlp, every_rule))


@pytest.mark.parametrize("name", programs.LAYERS)
def test_loops_and_remat_in_and_around_do_so_too(name):
    check_equal(some_rules(programs.LAYERS[name], n.X), on_one_device(n.deep, some_rules))


@pytest.mark.parametrize("name", programs.AROUND)
def test_so_does_what_is_partly_mapped_or_branches(name):
    program, twin = programs.AROUND[name]
    check_equal(some_rules(program, n.X), on_one_device(twin, some_rules))


@pytest.mark.parametrize("name", programs.CONVOLUTIONS)
def test_convolutions_split_over_channels_do_so_too(name):
    program = programs.CONVOLUTIONS[name]
    check_equal(every_rule(program, n.IMAGES), on_one_device(n.convnet, every_rule))


@pytest.mark.parametrize("name", programs.ATTENTION)
def test_transformer_blocks_split_over_heads_or_tokens_do_so_too(name):
    presets = {name: name for name in ("attn_lrp", "cp_lrp", "default")}
    found = relevances(programs.ATTENTION[name], n.TOKENS, presets)
    check_equal(found, relevances(n.transformer_block, n.TOKENS, presets))


IN_LEDGERS = ["rows, then columns", "one sum for each axis", "all_gather", "axis_index"]
IN_LEDGERS += ["reduce_scatter of features", "reduce_scatter of examples", *programs.CONVOLUTIONS]


@pytest.mark.parametrize("name", IN_LEDGERS)
def test_the_ledger_is_that_of_one_device(name):
    convolves = name in programs.CONVOLUTIONS
    program = (MLP | programs.CONVOLUTIONS)[name]
    numbers, layers = both_signs(program, n.IMAGES if convolves else n.X)
    expected, expected_layers = on_one_device(n.convnet if convolves else n.mlp, both_signs)
    assert numbers == pytest.approx(expected, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(layers, expected_layers, rtol=1e-12, atol=1e-12)


def test_the_ledger_of_a_scan_sums_its_rounds():
    numbers, _ = both_signs(programs.LAYERS["scan in shard_map"], n.X)
    expected, _ = on_one_device(n.deep, both_signs)
    assert numbers == pytest.approx(expected, rel=1e-12, abs=1e-12)
