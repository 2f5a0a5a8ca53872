"""Counts of what JAX compiles: programs, and the operations in one of them."""

import collections
import contextlib
import re

import jax
from support.compiling import as_users_do

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations():
    """Within: a list that grows by one with every program that XLA compiles."""
    compiled = []

    def listen(event, seconds, **_):
        if event == _COMPILED:
            compiled.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def operations(f, *args):
    """How many convolutions and dots are in the optimised program of a function's call."""
    text = as_users_do(f, *args).as_text()
    return collections.Counter(re.findall(r" (convolution|dot)\(", text))
