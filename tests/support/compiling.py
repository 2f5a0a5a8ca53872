"""How the tests' programs are compiled: quickly, or as users do where that is what is tested."""

import os

import jax

#: XLA's flags that make small programs quick to compile, each with its default.
FLAGS = {"xla_cpu_parallel_codegen_split_count": (1, 32)}
if jax.__version_info__ < (0, 11):  # later ones no longer have it, and end at a flag they lack
    FLAGS["xla_cpu_use_fusion_emitters"] = (False, True)


def quickly():
    """For programs that are small, many, and run once: optimising them costs more than it saves.

    The passes over HLO, which decide what operations there are, stay as they are. What is in the
    environment goes to processes that a test starts, too; what a person put there counts more.
    """
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update(_OPTION, os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")
    ours = [f"--{name}={str(quick).lower()}" for name, (quick, _) in FLAGS.items()]
    os.environ["XLA_FLAGS"] = " ".join([*ours, os.environ.get("XLA_FLAGS", "")])


def as_users_do(function, *arguments):
    """The optimised program of a function's call, for tests of what it costs."""
    before = jax.config.read(_OPTION)
    jax.config.update(_OPTION, False)
    try:
        options = {name: default for name, (_, default) in FLAGS.items()}
        return jax.jit(function).lower(*arguments).compile(compiler_options=options)
    finally:
        jax.config.update(_OPTION, before)


_OPTION = "jax_disable_most_optimizations"
