"""Explanations of many small layers in one program, and what differs from the formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax import Composite, lrp


def explain_all(functions, rules, x, r):
    """{function: {rule: relevance of x}} for functions of one array, in one compiled program."""

    @jax.jit
    def explained(x, r):
        start = lambda y: r.astype(y.dtype)
        each = {name: Composite(normalisation=rule) for name, rule in rules.items()}
        return {
            name: {rule: lrp(f, c)(x, target=start) for rule, c in each.items()}
            for name, f in functions.items()
        }

    return jax.device_get(explained(jnp.asarray(x), jnp.asarray(r)))


def agree(actual, expected, rtol=1e-10):
    """Compare pytrees of arrays, and name what differs; the absolute part only allows for sums
    that cancel."""
    paths = jax.tree_util.tree_leaves_with_path(actual)
    pairs = list(zip(paths, jax.tree.leaves(expected), strict=True))
    assert all(np.abs(e).max() > 0 for _, e in pairs), "the numbers must say something"
    wrong = [
        f"{jax.tree_util.keystr(path)}: {worst(a, e):.1e}"
        for (path, a), e in pairs
        if not np.allclose(a, e, rtol=rtol, atol=1e-2 * rtol * np.abs(e).max())
    ]
    assert not wrong, "\n".join(["differ", *wrong])


def worst(actual, expected):
    """The largest difference, relative to the largest number; NaN where there is one."""
    return np.abs(actual - expected).max() / np.abs(expected).max()
