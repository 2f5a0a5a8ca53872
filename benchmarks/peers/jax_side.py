"""The worker that holds lrpjax: the functions a user calls, on our networks in Flax."""

from contextlib import contextmanager
from dataclasses import replace

import cases
import jax
import jax.numpy as jnp
import memory_use
import numpy as np
import programs
from comparisons import GRADIENT
from flax import nnx
from side import Side
from talk import serve

import lrpjax
from lrpjax import Composite, models, presets, rules, targets

_EPSILON = rules.Epsilon(1e-11)  # autoLRP's default
#: autoLRP shares sums by magnitude, and pools and passes activations as the gradient does.
_AS_AUTOLRP = Composite(
    conv=_EPSILON,
    dense=_EPSILON,
    add=rules.Ratio(),
    pool=rules.Flat(),
    elementwise=rules.Pass(),
    shift=rules.Pass(),
    product=rules.Uniform(1e-11),
    attention=rules.Uniform(1e-11),
    softmax=rules.SoftmaxTaylor(),
    normalisation=rules.Pass(),
)
COMPOSITES = {
    "epsilon_gamma_box": presets.epsilon_gamma_box(cases.LOW, cases.HIGH),
    "epsilon, as autoLRP": _AS_AUTOLRP,
    "epsilon_plus, as autoLRP": replace(_AS_AUTOLRP, conv=rules.ZPlus(1e-11)),
    "attn_lrp, as autoLRP": _AS_AUTOLRP,
    "epsilon, as Captum": presets.epsilon(1e-9),
    "cp_lrp, as LXT": Composite(
        conv=rules.Epsilon(0.0),
        dense=rules.Epsilon(0.0),
        add=rules.Epsilon(0.0),
        shift=rules.Epsilon(0.0),
        product=rules.Uniform(0.0),
        attention=rules.ValueOnly(0.0),
        softmax=rules.Stop(),
        normalisation=rules.ConstantNormaliser(0.0),
        layers={"normalise": rules.Pass()},
    ),
}
FROM_THE_LOGIT = ("epsilon, as Captum", "cp_lrp, as LXT")  # all others start with one


def gradient(model):
    """The jitted gradient of the chosen logits, with the weights as arguments."""
    graphdef, state = nnx.split(model)

    def chosen_logits(x, weights, classes):
        logits = nnx.merge(graphdef, weights)(x)
        return jnp.take_along_axis(logits, classes[:, None], axis=1).sum()

    compiled = jax.jit(jax.grad(chosen_logits))
    return lambda x, classes: compiled(x, state, classes)


def of_each_class(model, composite):
    """All classes of one image: one forward pass, and the backward pass mapped over them."""

    def explain(x, classes):
        _, relevance_of = lrpjax.lrp_vjp(model, composite, x)
        return jax.vmap(lambda index: relevance_of(targets.one_hot(index)))(classes)[:, 0]

    return explain


def explanation(model, name):
    """What explains by this name, as a function of pixels and classes."""
    if name == GRADIENT:
        return gradient(model)
    preset, _, way = name.partition(", ")
    composite = COMPOSITES.get(name, COMPOSITES.get(preset, preset))
    if way == "lrp_vjp":
        return of_each_class(model, composite)
    relevance = lrpjax.lrp(model, composite)
    if name in FROM_THE_LOGIT:
        return lambda x, classes: relevance(x, target=classes)
    return lambda x, classes: relevance(x, target=targets.one_hot(classes))


class JaxSide(Side):
    """Networks of lrpjax.models."""

    def network(self, network, weights, dtype):
        model = models.load(network, weights=weights).model
        graphdef, state = nnx.split(model)
        self._made = {}
        return nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf.astype(dtype), state))

    def arguments(self, pixels, classes):
        dtype = jax.tree.leaves(nnx.state(self._model))[0].dtype
        return jnp.asarray(pixels, dtype), jnp.asarray(classes)

    @contextmanager
    def explanation(self, model, name):
        if name not in self._made:  # the gradient would be compiled again
            self._made[name] = explanation(model, name)
        yield self._made[name]

    def finish(self, heatmap):
        jax.block_until_ready(heatmap)

    def as_numpy(self, heatmap):
        return np.asarray(heatmap, np.float64)

    def touch(self, model):
        jax.block_until_ready(nnx.state(model))

    def held(self):
        stats = jax.devices()[0].memory_stats()
        if stats is None:  # the CPU's
            return super().held()
        now, peak = stats["bytes_in_use"], stats["peak_bytes_in_use"]
        return now / memory_use.MEGABYTE, peak / memory_use.MEGABYTE

    def machine(self):
        return {"platform": jax.default_backend(), "versions": programs.machine()}


if __name__ == "__main__":
    serve(JaxSide().orders())
