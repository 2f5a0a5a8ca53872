"""Two by four devices, and arrays on them."""

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def mesh(kind=AxisType.Auto):
    """Axes "data" of 2 devices and "model" of 4."""
    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind, kind))


def put(array, *axes, on=None):
    """An array split over axes of a mesh."""
    return jax.device_put(array, NamedSharding(on or mesh(), PartitionSpec(*axes)))
