"""Networks to explain: with real weights, with weights of your own, or with random ones.

Example:
    >>> from lrpjax import models
    >>> models.available()
    ('efficientnet_lite0', 'cifar10_lrn', 'cifar10_lrn_seed1', 'cifar10_lrn_seed2')
    >>> classifier = models.load("efficientnet_lite0")
    >>> classifier.labels[classifier.class_index("espresso")]
    'espresso'

``available()`` names the networks whose trained weights come with a package, this one or another;
``architectures()`` names all. The others are in torchvision's layout, or in Caffe's (``alexnet``,
``googlenet``), and take weights from a safetensors file, which one line makes (see `load`)::

    classifier = models.load("resnet50", weights="resnet50.safetensors")

Every network takes raw pixels from 0 to 255, brings them to its own range itself, and gives logits.

``LocalResponseNorm`` is the layer that Flax lacks; ``lrpjax.models.cifar10`` has a compact network
with it, trained from three seeds (``cifar10_lrn``, ``cifar10_lrn_seed1``, ``cifar10_lrn_seed2``).
"""

import functools
from collections.abc import Callable, Sequence
from os import PathLike

from . import own_weights, pretrained
from .classifier import Classifier
from .local_response_norm import LocalResponseNorm
from .networks import architectures, build, unknown
from .own_weights import export_command, export_hint, structure
from .photographs import sample_paths, sample_photographs
from .torch_checkpoint import CheckpointError

__all__ = [
    "CheckpointError",
    "Classifier",
    "LocalResponseNorm",
    "architectures",
    "available",
    "build",
    "check_name",
    "export_command",
    "export_hint",
    "load",
    "sample_paths",
    "sample_photographs",
    "structure",
]

MODELS: dict[str, Callable[[], Classifier]] = {
    "efficientnet_lite0": pretrained.efficientnet_lite0,
    "cifar10_lrn": pretrained.cifar10_lrn,
    "cifar10_lrn_seed1": functools.partial(pretrained.cifar10_lrn, 1),
    "cifar10_lrn_seed2": functools.partial(pretrained.cifar10_lrn, 2),
}


def available() -> tuple[str, ...]:
    """The names that ``load`` knows without a file of weights.

    Returns:
        The names of the networks whose trained weights come with a package.

    Example:
        >>> available()
        ('efficientnet_lite0', 'cifar10_lrn', 'cifar10_lrn_seed1', 'cifar10_lrn_seed2')
    """
    return tuple(MODELS)


def load(
    name: str,
    *,
    weights: str | PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
) -> Classifier:
    """Loads a trained network.

    Weights of your own are in the safetensors format, under torchvision's names, or Caffe's for
    Caffe's networks (``export_command`` has their line). Torchvision's trained ones are put into a
    file, where torch, torchvision and safetensors are installed, by::

        python -c "import torchvision, safetensors.torch as s; s.save_file(
            torchvision.models.resnet50(weights='IMAGENET1K_V1').state_dict(),
            'resnet50.safetensors')"

    and a checkpoint ``mine.pth`` that holds a ``state_dict`` by::

        python -c "import torch, safetensors.torch as s; s.save_file(
            torch.load('mine.pth', weights_only=True), 'mine.safetensors')"

    Args:
        name: One of ``available()``, or, with weights, of ``architectures()``.
        weights: A safetensors file; its last layer says how many classes there are. None for
            the weights that come with a package.
        labels: With weights, one name per class. None for CIFAR-10's names with its network,
            ImageNet's where there are 1000 classes, else ``class 0``, ``class 1``, …

    Returns:
        The network with its class names and its preprocessing.

    Raises:
        ValueError: No model has this name, it needs a file of weights (the message has the
            command that makes it), the file is another network's or damaged (a
            ``CheckpointError``), or the labels do not fit.
        FileNotFoundError: There is no such file.
        ImportError: A package with the model's files is missing.

    Example:
        >>> load("efficientnet_lite0").image_size
        224
    """
    check_name(name)
    if weights is not None:
        return own_weights.classifier(name, weights, labels)
    if labels is not None:
        raise ValueError(f"{name} has its own labels; labels belong to weights of your own")
    if name not in MODELS:
        raise ValueError(
            f"{name} comes without weights; give a file of them: load({name!r}, "
            f"weights='{name}.safetensors'). {export_hint(name)}"
        )
    return MODELS[name]()


def check_name(name: str) -> None:
    """Refuses a name that ``load`` does not know.

    Args:
        name: Any text.

    Raises:
        ValueError: Neither ``available()`` nor ``architectures()`` has this name.

    Example:
        >>> check_name("resnet50")
    """
    known = dict.fromkeys((*available(), *architectures()))
    if name not in known:
        others = [other for other in known if other not in MODELS]
        listed = f"{', '.join(available())}; with a file of weights: {', '.join(others)}"
        raise ValueError(unknown(name, listed, known))
