"""The products and convolutions of a traced program."""

import jax


def products(function, *arguments):
    """The equations of all products and convolutions, those of nested programs included."""
    found = []

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                found.append(equation)
            for value in jax.tree.leaves(list(equation.params.values())):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner)

    walk(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found
