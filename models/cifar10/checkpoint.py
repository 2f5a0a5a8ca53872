"""Arrays and facts in one file: safetensors whose header carries JSON. Nothing in it can run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np


def save(path: Path, tree: Any, facts: Mapping[str, Any]) -> None:
    """Writes a pytree of arrays, and facts beside them, in place of what was there.

    The file is whole at every moment: it is written under another name first.

    Args:
        path: The file.
        tree: Arrays.
        facts: What JSON can hold.
    """
    from safetensors.numpy import save_file

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # Safetensors stores the bytes as they lie, so they must lie in order.
    arrays = {jax.tree_util.keystr(key): np.array(leaf, order="C") for key, leaf in leaves}
    partial = path.with_suffix(".partial")
    save_file(arrays, partial, metadata={"facts": json.dumps(facts)})
    os.replace(partial, path)


def restore(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads what `save` wrote.

    Args:
        path: The file.
        like: A pytree of the same structure, whose arrays say which shapes and dtypes are right.

    Returns:
        The pytree and the facts.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds other arrays, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no checkpoint of a training: {error}") from error
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    wanted = {jax.tree_util.keystr(key): (leaf.shape, leaf.dtype) for key, leaf in leaves}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if wanted != found:
        differing = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
        raise ValueError(f"{path} belongs to another run; these differ: {', '.join(differing[:3])}")
    ordered = [jax.numpy.asarray(arrays[name]) for name in wanted]
    return jax.tree.unflatten(structure, ordered), facts
