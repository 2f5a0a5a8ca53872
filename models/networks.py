"""The networks by name, and how one is made with random weights or with none.

A further network is a module of its own and a line in the table here.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import alexnet, caffe_layout, efficientnet_lite, googlenet, resnet, vgg, vit
from .cifar10.network import CLASSES, IMAGE_SIZE, Cifar10LRN
from .cifar10.vit import cifar10_vit
from .densenet import DenseNet121
from .efficientnet_lite import EfficientNetLite0
from .mobilenet_v2 import MobileNetV2
from .torch_layout import LEAVES, NO_REORDERING, Reorder, place


class Architecture(NamedTuple):
    """How a network is made, what its parts are called in a file of weights, and what it sees.

    Attributes:
        make: From the number of classes and ``rngs`` to the network.
        head: The last layer's name in the file, which is PyTorch's ``state_dict`` or like it.
        module_name: From a module's path here to its name there.
        reorder: For an array by its name there, what to do with it before all else.
        published: Who publishes trained weights under these names: "torchvision", "caffe", or
            "" for nobody.
        image_size: Height and width of the pictures it is trained on.
        crop: The part of a photograph's short side that they show.
        labels: Its classes' names, where they are not ImageNet's.
    """

    make: Callable[..., nnx.Module]
    head: str
    module_name: Callable[[list[str]], str] = ".".join
    reorder: Mapping[str, Reorder] = NO_REORDERING
    published: str = "torchvision"
    image_size: int = 224
    crop: float = 0.875
    labels: tuple[str, ...] = ()


# Caffe crops from 256 pixels, as torchvision does.
_ALEXNET = Architecture(
    alexnet.AlexNet,
    "fc8",
    reorder=alexnet.REORDER,
    published="",
    image_size=alexnet.IMAGE_SIZE,
    crop=alexnet.IMAGE_SIZE / 256,
)
_CIFAR10_LRN = Architecture(
    Cifar10LRN, "fc", published="", image_size=IMAGE_SIZE, crop=1.0, labels=CLASSES
)

ARCHITECTURES: dict[str, Architecture] = {
    "efficientnet_lite0": Architecture(
        EfficientNetLite0, "_fc", efficientnet_lite.module_name, published=""
    ),
    "vgg16": Architecture(vgg.VGG16, "classifier.6", reorder=vgg.REORDER),
    "vgg16_bn": Architecture(
        functools.partial(vgg.VGG16, norm=True), "classifier.6", reorder=vgg.REORDER
    ),
    "resnet18": Architecture(resnet.resnet18, "fc"),
    "resnet50": Architecture(resnet.resnet50, "fc"),
    "mobilenet_v2": Architecture(MobileNetV2, "classifier.1"),
    "densenet121": Architecture(DenseNet121, "classifier"),
    "alexnet": _ALEXNET,
    "bvlc_alexnet": _ALEXNET._replace(
        make=functools.partial(alexnet.AlexNet, norm=alexnet.bvlc_norm), published="caffe"
    ),
    "googlenet": Architecture(
        googlenet.GoogLeNet,
        "loss3/classifier",
        caffe_layout.MODULE_NAME,
        googlenet.REORDER,
        published="caffe",
    ),
    "vit_b_16": Architecture(vit.vit_b_16, "heads.head"),
    "cifar10_lrn": _CIFAR10_LRN,
    "cifar10_lrn_seed1": _CIFAR10_LRN,
    "cifar10_lrn_seed2": _CIFAR10_LRN,
    "cifar10_vit": _CIFAR10_LRN._replace(make=cifar10_vit, head="heads.head"),
}


def architectures() -> tuple[str, ...]:
    """The names that ``build`` knows, and ``load`` with a file of weights.

    Returns:
        All networks' names, whether their weights come with a package or not.

    Example:
        >>> "resnet50" in architectures()
        True
    """
    return tuple(ARCHITECTURES)


def build(name: str, *, classes: int = 1000, rngs: nnx.Rngs) -> nnx.Module:
    """Makes a network with random weights, as it stands before training.

    The kernels are He-uniform, biases and means 0, scales and variances 1, and a transformer's
    positions normal with deviation 0.02. They are drawn in NumPy, which takes a second for VGG16's
    138 million where compiled initialisers take ten.

    Args:
        name: One of ``architectures()``.
        classes: How many classes the last layer tells apart.
        rngs: Random streams; the stream ``params`` gives the seed.

    Returns:
        The network: pixels from 0 to 255, ``[n, height, width, 3]``, to logits ``[n, classes]``.

    Raises:
        ValueError: No network has this name.

    Example:
        >>> from lrpjax import models
        >>> model = models.build("resnet18", classes=10, rngs=nnx.Rngs(0))
        >>> model(jnp.zeros((1, 32, 32, 3))).shape
        (1, 10)
    """
    model = outline(name, classes)
    seed = np.asarray(jax.random.key_data(rngs.params()))
    generator = np.random.Generator(np.random.SFC64(seed))  # the fastest of NumPy's
    flat = nnx.to_flat_state(nnx.state(model))
    values = {path: _initial(path, leaf.shape, generator) for path, leaf in flat}
    nnx.update(model, nnx.from_flat_state(values))
    return model


def outline(name: str, classes: int) -> nnx.Module:
    """A network whose weights have shapes and no values: for weights that come from elsewhere.

    Args:
        name: One of ``architectures()``.
        classes: How many classes the last layer tells apart.

    Returns:
        The network.

    Raises:
        ValueError: No network has this name.
    """
    if name not in ARCHITECTURES:
        raise ValueError(unknown(name, ", ".join(ARCHITECTURES), ARCHITECTURES))
    make = ARCHITECTURES[name].make
    return nnx.eval_shape(lambda: make(classes, rngs=_one_key()))


def _one_key() -> Any:
    """Random streams for a network without values: one key for all, where Flax's would count.

    Under tracing, JAX 0.10 searches the whole program each time that a count goes up.
    """
    key = jax.random.key(0)
    return SimpleNamespace(params=lambda: key)


def unknown(name: str, available: str, known: Iterable[str]) -> str:
    """The message for a name that is none of the known ones, with the one that comes nearest."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"no model named {name!r}; {hint}available: {available}"


def _initial(
    path: Sequence[object], shape: tuple[int, ...], generator: np.random.Generator
) -> jax.Array:
    leaf = str(path[-1])
    if leaf == "kernel":
        values = generator.random(shape, np.float32)
        values -= 0.5
        inputs = np.prod(place(path, shape).shape[:-1])
        values *= 2 * np.sqrt(6 / inputs, dtype=np.float32)
    elif leaf in LEAVES:
        values = np.full(shape, leaf in ("scale", "var"), np.float32)
    else:
        values = np.float32(0.02) * generator.standard_normal(shape, np.float32)
    return jnp.asarray(values)
