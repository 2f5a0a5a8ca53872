"""An order that steps can be run in."""

from __future__ import annotations

import heapq

from lrpjax.plan.units import Step
from lrpjax.trace import Region


def ordered(steps: list[Step], region: Region) -> tuple[Step, ...]:
    """Sort steps so that each runs after what it reads, else in the order of the program."""
    order = {e: i for i, e in enumerate(region.equations)}
    reads, makes, first = [], {}, []
    for i, step in enumerate(steps):
        makes.update(dict.fromkeys(step.outputs, i))
        reads.append(step.reads)
        first.append(min((order[e] for e in step.equations), default=len(order)))
    waits_for = [{makes[v] for v in values if v in makes} - {i} for i, values in enumerate(reads)]
    wanted_by: list[list[int]] = [[] for _ in steps]
    for i, sources in enumerate(waits_for):
        for source in sources:
            wanted_by[source].append(i)
    ready = [(first[i], i) for i, sources in enumerate(waits_for) if not sources]
    heapq.heapify(ready)
    done: list[Step] = []
    while ready:
        _, i = heapq.heappop(ready)
        done.append(steps[i])
        for j in wanted_by[i]:
            waits_for[j].discard(i)
            if not waits_for[j]:
                heapq.heappush(ready, (first[j], j))
    assert len(done) == len(steps), "units wait for each other"
    return tuple(done)
