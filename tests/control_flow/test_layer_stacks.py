"""A loop over the layers of a network is explained as the layers one after another."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from control_flow import layer_stacks as stacks
from control_flow.programs import both, started, unrolled
from jax import lax
from support.ledgers import check
from support.networks import close

from lrpjax import audit, lrp, plan, presets

COMPOSITES = {
    "default": "default",
    "epsilon_plus_flat": "epsilon_plus_flat",
    "epsilon_alpha2_beta1_flat": "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box": presets.epsilon_gamma_box(-3.0, 3.0),
    "deep_taylor": "deep_taylor",
    "lrp_cmp": presets.lrp_cmp(2),
    "attn_lrp(γ)": presets.attn_lrp(0.25),
}
KEEP_NOTHING = jax.checkpoint_policies.nothing_saveable
KEEP_PRODUCTS = jax.checkpoint_policies.dots_saveable


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


@pytest.mark.parametrize("composite", COMPOSITES)
def test_stacked_convolutions(composite):
    looped, plain = (partial(stacks.convnet, scan) for scan in (lax.scan, unrolled))
    close(*both(looped, plain, COMPOSITES[composite], stacks.IMAGES), rtol=1e-9)


def test_a_scanned_stack_is_one_layer_and_never_the_first():
    units = plan(partial(stacks.convnet, lax.scan), "epsilon_plus_flat", stacks.IMAGES).units
    layers = [u for u in units if u.kind in ("conv", "dense")]
    assert [(u.first, u.last, u.loops) for u in layers] == [
        (True, False, ()),
        (False, False, (stacks.LAYERS,)),
        (False, True, ()),
    ]


def test_without_a_stem_the_stack_is_not_first():
    """One rule serves all rounds, and all but one of them stand behind another."""
    f = lambda x: lax.scan(lambda h, p: (stacks.residual(h, p), None), x, stacks.STACK)[0]
    (layer,) = [
        u
        for u in plan(f, "epsilon_plus_flat", stacks.IMAGES[..., [0, 1, 1]]).units
        if u.kind == "conv"
    ]
    assert not layer.first and not layer.last


@pytest.mark.parametrize("policy", [None, KEEP_NOTHING, KEEP_PRODUCTS])
def test_rematerialised_rounds_and_loops(policy):
    """Inside the loop, around it, and both; bit for bit, as the same operations run."""
    remat = partial(jax.checkpoint, policy=policy)
    plain = partial(stacks.convnet, lax.scan)
    inside = partial(stacks.convnet, lax.scan, remat=remat)

    @jax.jit
    def explain(x):
        each = (plain, inside, remat(plain), remat(inside))
        return [lrp(f, "epsilon_plus_flat")(x, target=1) for f in each]

    relevances = explain(stacks.IMAGES)
    close(relevances[1:], [relevances[0]] * 3, rtol=1e-12)


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize("composite", ["default", "attn_lrp"])
def test_a_transformer_by_linen_scan(composite):
    variables = stacks.linen_variables()
    looped, plain = stacks.Stack().bind(variables), stacks.written_out(variables)
    close(*both(looped, plain, composite, stacks.SEQUENCES), rtol=1e-8)


REMAT = {
    "inside, products kept": {"inside": {"policy": KEEP_PRODUCTS}},
    "outside": {"outside": {}},
    "both": {"inside": {"policy": KEEP_NOTHING}, "outside": {"policy": KEEP_PRODUCTS}},
}


def explain_all(models):
    """Relevance by attn_lrp of several models, for the same start, in one program."""

    @jax.jit
    def explain(x):
        return {n: lrp(m, "attn_lrp")(x, target=started(642)) for n, m in models.items()}

    return explain(stacks.SEQUENCES)


def test_rematerialised_blocks_in_linen():
    variables = stacks.linen_variables()
    options = {"none": {}, **REMAT}
    found = explain_all({n: stacks.Stack(**o).bind(variables) for n, o in options.items()})
    close(found, dict.fromkeys(found, found["none"]), rtol=1e-10)


def test_a_transformer_by_nnx_scan():
    """In NNX the softmax runs in single precision whatever its input."""
    models = {
        "scan": stacks.NnxStack(),
        "scan and remat": stacks.NnxStack(remat=True),
        "written out": stacks.NnxStack(scans=False),
    }
    found = explain_all(models)
    close(found, dict.fromkeys(found, found["written out"]), rtol=1e-5)


def test_the_ledger_and_the_taps_of_a_scanned_transformer():
    model = stacks.Stack().bind(stacks.linen_variables())
    check(audit(model, "attn_lrp", stacks.SEQUENCES, target=started(643)), 1e-12)
    _, taps = lrp(model, "attn_lrp", taps=["blocks/up", "blocks/attention/value"])(
        stacks.SEQUENCES, target=started(643)
    )
    heads = (stacks.HEADS, stacks.WIDTH // stacks.HEADS)
    assert jax.tree.map(jnp.shape, taps) == {
        "blocks/up": (stacks.BLOCKS, 2, stacks.TOKENS, 2 * stacks.WIDTH),
        "blocks/attention/value": (stacks.BLOCKS, 2, stacks.TOKENS, *heads),
    }
