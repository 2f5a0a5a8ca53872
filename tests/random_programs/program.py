"""What a random program is: plain data, that can be drawn, printed, compared and made smaller."""

from __future__ import annotations

import dataclasses

from lrpjax import Composite


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation on earlier values.

    Attributes:
        operation: a name in one of the tables of operations, or "block".
        variant: which of its variations; 0 is the plainest.
        inputs: the values it reads, counted back from the latest.
        wrapper: how it is called, a name in :data:`random_programs.wrappers.WRAPPERS`.
        twice: applied again to its own result with the same weights, where the shape allows.
        body: of a block, its steps.
    """

    operation: str
    variant: int = 0
    inputs: tuple[int, ...] = (0,)
    wrapper: str = "plain"
    twice: bool = False
    body: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True)
class Input:
    """An argument: the shape of one example, token ids or numbers, explained or not."""

    shape: tuple[int, ...]
    ids: bool = False
    explained: bool = True


@dataclasses.dataclass(frozen=True)
class Program:
    """A program, what is asked of it, and the seed of its weights and inputs.

    Attributes:
        inputs: its arguments.
        steps: its operations; one that doesn't fit the shape it meets is left out.
        output: "logits" (a dense head), "array" (the latest value) or "pair" (both, in a dict).
        batched: the function takes a batch of examples on a leading axis, else one example.
        weights: "closed" over, or given as one more "argument".
        dtype: "float32" or "float64".
        composite: the rules.
        target: where relevance starts, a name in :data:`random_programs.properties.TARGETS`.
        seed: of weights and inputs.
    """

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    output: str = "logits"
    batched: bool = False
    weights: str = "closed"
    dtype: str = "float64"
    composite: Composite = dataclasses.field(default_factory=Composite)
    target: str = "all outputs"
    seed: int = 0


class Pick:
    """Reads the choices of one operation off its variant: 0 takes the first option each time."""

    def __init__(self, variant: int):
        self.rest = variant

    def __call__(self, options):
        """One of the options, a sequence."""
        self.rest, index = divmod(self.rest, len(options))
        return options[index]


def size(shape: tuple[int, ...]) -> int:
    """How many elements a shape has."""
    count = 1
    for n in shape:
        count *= n
    return count
