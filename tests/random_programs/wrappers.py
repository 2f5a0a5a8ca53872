"""How an operation is called: through the calls and transforms that a region may hold."""

import jax


def _custom_jvp(layer):
    """With a derivative of its own, half the true one."""

    @jax.custom_jvp
    def call(p, *xs):
        return layer(p, *xs)

    @call.defjvp
    def _jvp(primals, tangents):
        p, *xs = primals
        y, t = jax.jvp(lambda *xs: layer(p, *xs), tuple(xs), tuple(tangents[1:]))
        return y, 0.5 * t

    return call


def _custom_vjp(layer):
    """With a backward pass of its own, twice the true one."""

    @jax.custom_vjp
    def call(p, *xs):
        return layer(p, *xs)

    def backward(residuals, g):
        p, *xs = residuals
        _, pullback = jax.vjp(layer, p, *xs)
        return tuple(jax.tree.map(lambda a: 2.0 * a, pullback(g)))

    call.defvjp(lambda p, *xs: (layer(p, *xs), (p, *xs)), backward)
    return call


def _scoped(layer):
    """Under a name of its own."""
    return jax.named_scope("scope")(layer)


WRAPPERS = {
    "plain": lambda layer: layer,
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "remat with a policy": lambda layer: jax.checkpoint(
        layer, policy=jax.checkpoint_policies.dots_saveable
    ),
    "jit in jit": lambda layer: jax.jit(jax.jit(layer)),
    "jit in remat": lambda layer: jax.checkpoint(jax.jit(layer)),
    "scope": _scoped,
    "custom_jvp": _custom_jvp,
    "custom_vjp": _custom_vjp,
}
