"""One program that is being examined: its parts, computed once, and what was found of it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrpjax import PlanError, audit, plan, targets, value_and_lrp
from lrpjax.audit import Ledger
from lrpjax.call import Options
from lrpjax.explain import Result, run
from lrpjax.plan import Plan
from random_programs.build import Built
from random_programs.program import Program
from random_programs.reference import Interpreted

ROUNDING = {"float32": 1e-5, "float64": 1e-12}
AGREEMENT = {"float32": 1e-4, "float64": 1e-8}


def own_start(outputs: Any) -> Any:
    """A start in proportion to the outputs."""
    return jax.tree.map(lambda y: y * jnp.cos(jnp.arange(y.shape[-1], dtype=y.dtype)), outputs)


TARGETS = {
    "all outputs": targets.all_outputs(),
    "largest": None,
    "index": -1,
    "one hot": targets.one_hot(),
    "start of one's own": own_start,
}


@dataclasses.dataclass
class Case:
    """A program that is being examined: its parts, computed once, and what was found.

    Attributes:
        program, built: what is examined.
        notes: numbers for the summary: the largest ledger error, the largest coefficient, how
            many comparisons were left to rounding.
    """

    program: Program
    built: Built
    notes: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What every call of lrpjax gets."""
        return {"argnums": self.built.argnums}

    @property
    def target(self) -> Any:
        return TARGETS[self.program.target]

    @cached_property
    def plan(self) -> Plan:
        return plan(self.built.function, self.program.composite, *self.arguments, **self.options)

    @property
    def arguments(self) -> tuple:
        return self.built.arguments

    @cached_property
    def ledger(self) -> Ledger:
        function, composite = self.built.function, self.program.composite
        return audit(function, composite, *self.arguments, target=self.target, **self.options)

    def explain(self, arguments: tuple) -> Result:
        """Outputs and relevance of other arguments: by the very program that `audit` ran."""
        options = Options(**self.options, ledger=True)
        composite = self.program.composite
        return run(self.built.function, composite, options, self.target, arguments, {})

    @cached_property
    def result(self) -> Result:
        return self.explain(self.arguments)

    def one_example(self, *arguments: Any) -> tuple[Any, Any]:
        """Outputs and relevance of one example; the ledger's own program, if that is one's."""
        if not self.built.batched:
            result = self.explain(arguments)
            return result.out, result.relevance
        explain = value_and_lrp(self.built.single, self.program.composite, **self.options)
        return explain(*arguments, target=self.target)

    @cached_property
    def own(self) -> Any:
        """The outputs by the function itself."""
        return Interpreted(jax.jit(self.built.function))(*self.arguments)

    @cached_property
    def loop(self) -> tuple:
        """The relevance of each example on its own, or of the batch by the batched program."""
        if self.built.batched:
            return tuple(map(np.asarray, self.result.relevance))
        count = len(self.built.examples[0])
        each = [
            self.explain(self.built.of(tuple(a[i] for a in self.built.examples))).relevance
            for i in range(count)
        ]
        return tuple(np.stack(rs) for rs in zip(*each, strict=True))

    def agree(self, actual: Any, expected: Any, what: str) -> None:
        """Two ways to the same relevance agree up to rounding.

        Where rounding alone moves a result (an output that nearly cancels, over an ε of zero),
        rounding the inputs says by how much.
        """
        tolerance = AGREEMENT[self.program.dtype]
        starts = jax.tree.leaves(self.result.start)
        rounded = 100 * np.finfo(self.program.dtype).eps * max(np.abs(s).max() for s in starts)
        for got, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
            assert got.shape == wanted.shape, f"{what}: shapes {got.shape}, {wanted.shape}"
            largest = np.abs(wanted).max(initial=0.0)
            apart = np.abs(got - wanted).max(initial=0.0)
            if apart <= tolerance * largest + rounded:
                continue
            allowed = tolerance * largest + rounded + 100 * self.sensitivity
            assert apart <= allowed, f"{what}: apart by {apart:.3g}, of {largest:.3g}"
            self.notes["left to rounding"] = self.notes.get("left to rounding", 0) + 1

    @cached_property
    def sensitivity(self) -> float:
        """How far relevance moves when the inputs are rounded differently."""
        rng, step = np.random.default_rng(5), 4 * np.finfo(self.program.dtype).eps

        def rounded(a):
            ids = not np.issubdtype(a.dtype, np.floating)
            return a if ids else (a * (1 + step * rng.normal(size=a.shape))).astype(a.dtype)

        moved = [self.explain(jax.tree.map(rounded, self.arguments)) for _ in range(6)]
        pairs = [
            (np.asarray(a, np.float64), np.asarray(b, np.float64))
            for one in moved
            for a, b in zip(one.relevance, self.result.relevance, strict=True)
        ]
        return max(np.abs(a - b).max(initial=0.0) for a, b in pairs)


# ---------------------------------------------------------------- refusals


def refused(case: Case) -> bool:
    """Whether the plan refuses a program, as documented, and rightly.

    It may say that no relevance can reach the input (every path ends in a stop: the derivative is
    zero), or that the rule of a layer pattern fits no unit that it matches. Nothing else.
    """
    try:
        return not case.plan
    except PlanError as error:
        if "does not depend on the explained input" in str(error):
            assert not _depends(case), f"the derivative is not zero, but: {error}"
        else:
            assert "fits none of the units" in str(error), str(error)
            assert not _fits_any(case), f"there are units that it fits, but: {error}"
        case.notes["refused"] = 1
        return True


def _depends(case: Case) -> bool:
    """Whether any output has a derivative with respect to any explained input."""
    floats = [i for i in case.built.argnums if np.issubdtype(case.arguments[i].dtype, np.floating)]
    total = lambda *a: sum(y.sum() for y in jax.tree.leaves(case.built.function(*a)))
    return any(np.any(g) for g in jax.grad(total, floats)(*case.arguments)) if floats else False


def _fits_any(case: Case) -> bool:
    """Whether, among the units without patterns, there is one that a pattern's rule fits."""
    composite = dataclasses.replace(case.program.composite, layers={})
    units = plan(case.built.function, composite, *case.arguments, **case.options).units
    return any(
        rule.misfit(unit) is None
        for rule in case.program.composite.layers.values()
        for unit in units
    )
