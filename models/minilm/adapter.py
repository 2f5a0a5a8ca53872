"""What training changes: a head, and updates of low rank to the encoder's attention.

The encoder's own weights stay as they are. To each matrix W of a layer's attention a product
``down @ up`` of two narrow ones is added (Hu et al., LoRA: Low-Rank Adaptation of Large Language
Models, 2022, with the scale in ``up``), so a few hundred kilobytes hold all that was learnt, and
the network that comes of it is the same BERT as before.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..torch_checkpoint import CheckpointError
from .network import BertClassifier, BertConfig, BertEncoder

#: Matrices to update, in each layer; ``in`` and ``out`` are both the number of features.
UPDATED = ("query", "key", "value", "out")

#: ``head.kernel``, ``head.bias`` and, for each matrix, ``….down`` and ``….up``, by name.
Adapter = Mapping[str, Any]


def first(config: BertConfig, classes: int, rank: int, seed: int) -> dict[str, np.ndarray]:
    """An adapter before training: its updates are zero, and so are its logits.

    Args:
        config: The sizes of the encoder it is for.
        classes: How many classes the head tells apart.
        rank: Of the updates; 0 for a head alone.
        seed: For ``down``, which is random; ``up`` is zero.

    Returns:
        float32 arrays by name.

    Example:
        >>> config = BertConfig(vocabulary=9, features=8, layers=1, heads=2, hidden=16)
        >>> adapter = first(config, classes=2, rank=3, seed=0)
        >>> adapter["head.kernel"].shape, adapter["layers.0.attention.query.down"].shape
        ((8, 2), (8, 3))
    """
    size, rng = config.features, np.random.default_rng(seed)
    arrays = {"head.kernel": np.zeros((size, classes)), "head.bias": np.zeros(classes)}
    for layer in range(config.layers if rank else 0):
        for matrix in UPDATED:
            name = f"layers.{layer}.attention.{matrix}"
            arrays[f"{name}.down"] = rng.normal(size=(size, rank)) / np.sqrt(size)
            arrays[f"{name}.up"] = np.zeros((rank, size))
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def classifier(encoder: BertEncoder, adapter: Adapter) -> BertClassifier:
    """The network that an encoder and an adapter make; the encoder is left as it is.

    Args:
        encoder: The encoder, as it was before.
        adapter: Arrays by name, as `first` makes them; they may be traced.

    Returns:
        The network.

    Raises:
        CheckpointError: The adapter is another encoder's.
    """
    _check(encoder, adapter)
    adapted = nnx.clone(encoder)
    kernels = {".".join(map(str, path[:-1])): (path, leaf) for path, leaf in _kernels(encoder)}
    for name in updates(adapter):
        path, kernel = kernels[name]
        kernel = kernel[...] + adapter[f"{name}.down"] @ adapter[f"{name}.up"]
        nnx.update(adapted, nnx.from_flat_state({path: kernel}))
    size, classes = adapter["head.kernel"].shape
    head = nnx.eval_shape(lambda: nnx.Linear(size, classes, rngs=nnx.Rngs(0)))
    nnx.update(head, {part: jnp.asarray(adapter[f"head.{part}"]) for part in ("kernel", "bias")})
    return BertClassifier(adapted, head)


def updates(adapter: Adapter) -> list[str]:
    """The names of the updated matrices, as ``layers.0.attention.query``."""
    return [name.removesuffix(".down") for name in adapter if name.endswith(".down")]


def _kernels(encoder: BertEncoder) -> Iterator[tuple[tuple[Any, ...], Any]]:
    flat = nnx.to_flat_state(nnx.state(encoder))
    return ((path, leaf) for path, leaf in flat if path[-1] == "kernel")


def _check(encoder: BertEncoder, adapter: Adapter) -> None:
    """Refuses an adapter whose arrays are other ones than `first` would make."""
    found = {name: jnp.shape(array) for name, array in adapter.items()}
    rank = max((found[f"{name}.down"][-1] for name in updates(adapter)), default=0)
    arrays = first(encoder.config, sum(found.get("head.bias", ())), rank, seed=0)
    wanted = {name: array.shape for name, array in arrays.items()}
    if found != wanted:
        differing = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
        raise CheckpointError(f"another encoder's adapter; these differ: {differing[:3]}")
