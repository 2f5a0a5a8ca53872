"""Fills a network with the arrays of a PyTorch ``state_dict``, name by name and shape by shape."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .torch_checkpoint import CheckpointError

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

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

    Convolutions come as ``[out, in, height, width]`` and dense layers as ``[out, in]``.

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
    leaves = {
        path: (f"{module_name([str(part) for part in path[:-1]])}.{LEAVES[str(path[-1])]}", leaf)
        for path, leaf in nnx.to_flat_state(nnx.state(model))
    }
    _check_names({name for name, _ in leaves.values()}, arrays, network)
    values = {
        path: _converted(arrays[name], name, leaf.shape, reorder.get(name))
        for path, (name, leaf) in leaves.items()
    }
    nnx.update(model, nnx.from_flat_state(values))


def state_dict(model: nnx.Module) -> dict[str, np.ndarray]:
    """The arrays that `fill` puts into a network whose modules have the names of its attributes.

    Args:
        model: The network.

    Returns:
        Its parameters and statistics by name, float as they are: convolutions
        ``[out, in, height, width]``, dense layers ``[out, in]``.

    Example:
        >>> arrays = state_dict(nnx.Dict(fc=nnx.Linear(3, 2, rngs=nnx.Rngs(0))))
        >>> {name: array.shape for name, array in arrays.items()}
        {'fc.bias': (2,), 'fc.weight': (2, 3)}
    """
    arrays = {}
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        *module, kind = map(str, path)
        array = np.asarray(leaf[...])
        if array.ndim > 1:
            array = np.moveaxis(array, (-1, -2), (0, 1))
        # Safetensors stores the bytes as they lie, so they must lie in order.
        arrays[".".join([*module, LEAVES[kind]])] = np.ascontiguousarray(array)
    return arrays


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


def _converted(
    array: np.ndarray, name: str, shape: tuple[int, ...], reorder: Reorder | None
) -> jax.Array:
    wanted = (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape
    if array.shape != wanted:
        raise CheckpointError(f"{name} has shape {array.shape}; it should be {wanted}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise CheckpointError(f"{name} holds {array.dtype}, not floating-point numbers")
    if reorder is not None:
        array = reorder(array)
    if array.ndim > 1:
        array = np.moveaxis(array, (0, 1), (-1, -2))
    return jnp.asarray(array, jnp.float32)
