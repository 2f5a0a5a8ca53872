"""Fills a network with the arrays of a PyTorch ``state_dict``, name by name and shape by shape."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .torch_checkpoint import CheckpointError

LEAVES = {
    "kernel": "weight",
    "embedding": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

ATTENTION = "self_attention"
STACKED = ("query", "key", "value")  # in one matrix, in the order of torch.nn.MultiheadAttention

Reorder = Callable[[np.ndarray], np.ndarray]
NO_REORDERING: Mapping[str, Reorder] = MappingProxyType({})


def channels_last(weight: np.ndarray, *, grid: int) -> np.ndarray:
    """The columns of a dense layer behind a map in the order of Flax's flattened maps.

    Args:
        weight: ``[out, features·grid·grid]``, made for a flattened ``[features, grid, grid]``.
        grid: The map's height and width.

    Returns:
        The same shape, for a flattened ``[grid, grid, features]``.

    Example:
        >>> channels_last(np.array([[1, 2, 3, 4, 10, 20, 30, 40]]), grid=2)
        array([[ 1, 10,  2, 20,  3, 30,  4, 40]])
    """
    cube = weight.reshape(len(weight), -1, grid, grid)
    return np.moveaxis(cube, 1, -1).reshape(weight.shape)


def fill(
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    *,
    network: str,
    module_name: Callable[[list[str]], str] = ".".join,
    reorder: Mapping[str, Reorder] = NO_REORDERING,
) -> None:
    """Puts every array in its place, in Flax's order of axes, as float32.

    Convolutions come as ``[out, in, height, width]``, dense layers as ``[out, in]``, embeddings as
    ``[ids, features]``, which is Flax's order too. A ``MultiHeadAttention`` called
    ``self_attention`` comes as PyTorch's: queries, keys and values stacked in ``in_proj_weight``
    and ``in_proj_bias``, and ``out_proj``. A parameter of no layer, such as a transformer's
    positions, comes as it is.

    Args:
        model: The network; its weights may be shapes alone.
        arrays: The tensors by name. PyTorch's counts of batches seen are ignored.
        network: What the network is called, for the message when the names are others.
        module_name: From a module's path here to its name in the ``state_dict``.
        reorder: For an array by name, what to do with it before all else.

    Raises:
        CheckpointError: A name is missing or left over, a shape differs, or an array holds no
            floating-point numbers.

    Example:
        >>> model = nnx.Dict(fc=nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> fill(model, {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}, network="tiny")
        >>> model.fc.kernel.shape
        (3, 2)
    """
    leaves = nnx.to_flat_state(nnx.state(model))
    places = [place(path, leaf.shape, module_name) for path, leaf in leaves]
    _check_names({found.name for found in places}, arrays, network)
    values = {
        path: _converted(arrays[found.name], found, reorder.get(found.name)).reshape(leaf.shape)
        for (path, leaf), found in zip(leaves, places, strict=True)
    }
    nnx.update(model, nnx.from_flat_state(values))


def state_dict(model: nnx.Module) -> dict[str, np.ndarray]:
    """The arrays that `fill` puts into a network whose modules have the names of its attributes.

    Args:
        model: The network.

    Returns:
        Its parameters and statistics by name, float as they are: convolutions
        ``[out, in, height, width]``, dense layers ``[out, in]``, embeddings ``[ids, features]``.

    Example:
        >>> arrays = state_dict(nnx.Dict(fc=nnx.Linear(3, 2, rngs=nnx.Rngs(0))))
        >>> {name: array.shape for name, array in arrays.items()}
        {'fc.bias': (2,), 'fc.weight': (2, 3)}
    """
    pieces: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        found = place(path, leaf.shape)
        array = np.asarray(leaf[...]).reshape(found.shape)
        if found.is_kernel:
            array = np.moveaxis(array, (-1, -2), (0, 1))
        pieces[found.name][found.part] = array
    # Safetensors stores the bytes as they lie, so they must lie in order.
    return {
        name: np.ascontiguousarray(np.concatenate([parts[number] for number in sorted(parts)]))
        for name, parts in pieces.items()
    }


class Place(NamedTuple):
    """Where a leaf of a network lies in a file.

    Attributes:
        name: The array's name there.
        shape: The leaf's shape in Flax once its heads, if it has any, lie side by side.
        is_kernel: Whether its axes are in another order there, outputs and inputs first.
        part: Which of the array's parts it is, along the array's first axis.
        parts: How many equal parts the array has.
    """

    name: str
    shape: tuple[int, ...]
    is_kernel: bool
    part: int = 0
    parts: int = 1

    @property
    def shape_in_file(self) -> tuple[int, ...]:
        """The whole array's."""
        shape = self.shape
        first, *others = (*shape[:-3:-1], *shape[:-2]) if self.is_kernel else shape
        return (first * self.parts, *others)


def place(
    path: Sequence[object],
    shape: tuple[int, ...],
    module_name: Callable[[list[str]], str] = ".".join,
) -> Place:
    """Where a leaf of a network lies in a file.

    Args:
        path: The leaf's path in the network's state.
        shape: Its shape there.
        module_name: From a module's path here to its name in the ``state_dict``.

    Returns:
        The array's name and shape, and which part of it the leaf is.

    Example:
        >>> query = place(("self_attention", "query", "kernel"), (8, 2, 4))
        >>> query.name, query.shape_in_file, query.part
        ('self_attention.in_proj_weight', (24, 8), 0)
    """
    *module, leaf = map(str, path)
    kind, is_kernel = LEAVES.get(leaf), leaf == "kernel"
    if kind is None:
        return Place(module_name([*module, leaf]), shape, is_kernel)
    if module[-2:-1] != [ATTENTION]:
        return Place(f"{module_name(module)}.{kind}", shape, is_kernel)
    attention, projection = module_name(module[:-1]), module[-1]
    if projection in STACKED:  # [width, heads, features of a head]
        flat = (shape[0], math.prod(shape[1:])) if is_kernel else (math.prod(shape),)
        number = STACKED.index(projection)
        return Place(f"{attention}.in_proj_{kind}", flat, is_kernel, number, len(STACKED))
    flat = (math.prod(shape[:-1]), shape[-1]) if is_kernel else shape
    return Place(f"{attention}.{projection}_proj.{kind}", flat, is_kernel)


def _check_names(wanted: set[str], arrays: Mapping[str, np.ndarray], network: str) -> None:
    # PyTorch counts the batches its BatchNorm has seen; nothing uses the count at inference.
    found = {name for name in arrays if not name.endswith(".num_batches_tracked")}
    differences = [("missing", wanted - found), ("left over", found - wanted)]
    said = [f"{what} {_some(names)}" for what, names in differences if names]
    if said:
        raise CheckpointError(f"not weights of {network}: {', '.join(said)}")


def _some(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else str(shown)


def _converted(array: np.ndarray, found: Place, reorder: Reorder | None) -> jax.Array:
    if array.shape != found.shape_in_file:
        raise CheckpointError(
            f"{found.name} has shape {array.shape}; it should be {found.shape_in_file}"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise CheckpointError(f"{found.name} holds {array.dtype}, not floating-point numbers")
    if reorder is not None:
        array = reorder(array)
    if found.parts > 1:
        array = np.split(array, found.parts)[found.part]
    if found.is_kernel:
        array = np.moveaxis(array, (0, 1), (-1, -2))
    return jnp.asarray(array, jnp.float32)
