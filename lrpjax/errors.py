"""The two errors that a user of the transform meets."""

from __future__ import annotations


class PlanError(ValueError):
    """A composite, target or argument that doesn't fit the program it is meant for.

    Raised where the mistake is made or, where that depends on the program, when it is traced.
    """


class UnsupportedPrimitiveError(NotImplementedError):
    """A primitive on a relevance path that no unit covers.

    Relevance is never passed on by a silent gradient or an even split: the message names the
    primitive, the layer and the line of the program that it comes from, and what can be done.

    Attributes:
        primitive: the primitive's name.
        layer: the layer it stands in, named as in the plan.
        source: the user's source line, ``file:line (function)``.
    """

    def __init__(
        self,
        primitive: str,
        layer: str,
        source: str,
        detail: str = "",
        differentiable: bool = True,
    ):
        self.primitive, self.layer, self.source = primitive, layer, source
        remedies = (
            f"Say what it is with lrpjax.register_rule({primitive!r}, "
            "'linear' | 'elementwise' | 'route' | 'stop' | function), or opt into the generic "
            "rule x * VJP(R/y) with Composite(unsupported=rules.Epsilon()); relevance"
        )
        super().__init__(
            f"no relevance rule for the primitive '{primitive}' in layer '{layer}'"
            f" ({source}){': ' + detail if detail else ''}.\n"
            f"{remedies if differentiable else 'Relevance'} that should end here can be ended "
            "with jax.lax.stop_gradient."
        )
