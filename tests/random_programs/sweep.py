"""Many programs over several processes, each replaced before JAX's caches fill the memory."""

from __future__ import annotations

import concurrent.futures as futures
import itertools
import multiprocessing
from collections.abc import Iterator
from typing import Any

import jax

from random_programs.record import record
from random_programs.reference import interpreted

CHUNK = 100
CHUNKS_PER_PROCESS = 4  # then a fresh one, for what JAX keeps


def examine_chunk(seeds: list[int]) -> list[dict[str, Any]]:
    """The records of some seeds, in a process of its own."""
    with interpreted():
        records = [record(seed) for seed in seeds]
    jax.clear_caches()
    return records


def run(seeds: list[int], processes: int) -> Iterator[list[dict[str, Any]]]:
    """The records of all seeds, chunk by chunk; a crashed process fails its seeds one by one."""
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    crashed: list[list[int]] = []
    batch = processes * CHUNKS_PER_PROCESS
    for some in (chunks[i : i + batch] for i in range(0, len(chunks), batch)):
        with _pool(processes) as pool:
            waiting = {pool.submit(examine_chunk, chunk): chunk for chunk in some}
            for done in futures.as_completed(waiting):
                if isinstance(done.exception(), futures.process.BrokenProcessPool):
                    crashed.append(waiting[done])
                else:
                    yield done.result()
    pool = _pool(1)
    for seed in itertools.chain.from_iterable(crashed):
        try:
            yield pool.submit(examine_chunk, [seed]).result()
        except futures.process.BrokenProcessPool as error:
            failure = {"property": "the process", "error": repr(error), "smallest": ""}
            yield [{"seed": seed, "dtype": "", "seconds": 0.0, "failure": failure}]
            pool = _pool(1)
    pool.shutdown()


def _pool(processes: int) -> futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return futures.ProcessPoolExecutor(processes, mp_context=context)
