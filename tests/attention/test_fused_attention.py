"""Kernels that hide their softmax are refused with what to do instead."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from support.networks import close, normal

from lrpjax import UnsupportedPrimitiveError, lrp, plan

Q = jnp.asarray(normal(1, 8, 2, 4, seed=820), jnp.float32)
ADVICE = r"fused attention.*implementation='xla'"


def kernel(x_ref, out_ref):
    x = x_ref[...]
    out_ref[...] = jax.nn.softmax(x @ x.T) @ x


def fused(x):
    """One head [t, d], in a kernel of its own."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return pl.pallas_call(kernel, out_shape=shape, interpret=True)(x)


FUSED = {
    "alone": fused,
    "in a network": lambda x: jax.nn.relu(fused(x @ x[:4, :4])) + x,
    "in remat": jax.checkpoint(fused),
    "in jit": jax.jit(fused),
    "mapped over heads": jax.vmap(fused, 1, 1),
    "in a scan": lambda x: jax.lax.scan(lambda c, _: (fused(c), None), x, None, length=2)[0],
}


@pytest.mark.parametrize("name", FUSED)
def test_a_pallas_kernel_is_refused(name):
    x = Q[0] if name == "mapped over heads" else Q[0, :, 0]
    for preset in ("attn_lrp", None):
        with pytest.raises(UnsupportedPrimitiveError, match=ADVICE) as raised:
            plan(FUSED[name], preset, x)
    assert raised.value.primitive == "pallas_call"
    assert "test_fused_attention.py" in raised.value.source
    with pytest.raises(UnsupportedPrimitiveError, match=ADVICE):
        lrp(FUSED[name])(x)


def test_the_advice_works():
    """The same attention by the implementation that XLA compiles."""
    attend = lambda q: jax.nn.dot_product_attention(q, q, q, scale=1.0, implementation="xla")
    kinds = [u.kind for u in plan(attend, "attn_lrp", Q).units]
    assert kinds.count("softmax") == 1
    heads = jax.vmap(jax.vmap(fused, 1, 1))(Q)
    close(attend(Q), heads, rtol=1e-5)


def test_what_no_relevance_passes_may_be_a_kernel():
    x = Q[0, :, 0]
    gated = lambda x: x * fused(jax.lax.stop_gradient(x))
    close(lrp(gated)(x, target=lambda y: y), x * fused(x), rtol=1e-5)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_cudnns_attention_is_refused(kind, monkeypatch):
    """What jax.nn.dot_product_attention(implementation='cudnn') traces to on a GPU."""
    kernels = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(kernels, "check_cudnn_version", lambda: 99999)
    attend = lambda q: jax.nn.dot_product_attention(q, q, q, implementation="cudnn")
    with pytest.raises(UnsupportedPrimitiveError, match=ADVICE) as raised:
        plan(attend, "attn_lrp", jnp.ones((1, 128, 2, 64), kind))
    assert raised.value.primitive.startswith("dot_product_attention_fwd")
