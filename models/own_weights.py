"""Networks in torchvision's layout with weights from a file of the user's own.

Files are in the safetensors format, which holds arrays and nothing that runs. One is made where
torch, torchvision and safetensors are installed, by one line (``export_command`` prints it)::

    python -c "import torchvision, safetensors.torch as s; s.save_file(
        torchvision.models.resnet50(weights='IMAGENET1K_V1').state_dict(), 'resnet50.safetensors')"

or from any checkpoint that holds a ``state_dict``::

    python -c "import torch, safetensors.torch as s; s.save_file(
        torch.load('mine.pth', weights_only=True), 'mine.safetensors')"
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from . import imagenet
from .classifier import Classifier
from .networks import ARCHITECTURES, outline
from .torch_checkpoint import CheckpointError
from .torch_layout import fill


def classifier(
    name: str, path: str | PathLike[str], labels: Sequence[str] | None = None
) -> Classifier:
    """Puts the weights of a safetensors file into a network.

    Args:
        name: One of ``architectures()``.
        path: The file, with the names of the network's ``state_dict``.
        labels: As for `from_arrays`.

    Returns:
        The classifier.

    Raises:
        CheckpointError: The file is no safetensors file or holds another network's weights.
        FileNotFoundError: There is no such file.
        ImportError: The package ``safetensors`` is missing.
        ValueError: The labels are too many or too few.
    """
    return from_arrays(name, read(path), labels)


def from_arrays(
    name: str, arrays: Mapping[str, np.ndarray], labels: Sequence[str] | None = None
) -> Classifier:
    """Puts the arrays of a ``state_dict`` into a network.

    Args:
        name: One of ``architectures()``.
        arrays: The arrays by name. The last layer's bias says how many classes there are.
        labels: One name per class. None for ImageNet's names where there are 1000 classes and
            the package with the names is installed, else ``class 0``, ``class 1``, …

    Returns:
        The classifier, for pixels from 0 to 255, with torchvision's first recipe of
        preprocessing: the short side to 256 (bilinear), of which the middle 224 are seen.

    Raises:
        CheckpointError: The arrays are another network's.
        ValueError: The labels are too many or too few.
    """
    network = ARCHITECTURES[name]
    bias = arrays.get(f"{network.head}.bias", np.zeros(1000))
    found = structure(name, max(bias.size, 1), labels)
    fill(
        found.model,
        arrays,
        network=name,
        module_name=network.module_name,
        reorder=network.reorder,
    )
    return found


def structure(name: str, classes: int = 1000, labels: Sequence[str] | None = None) -> Classifier:
    """A network whose weights have shapes and no values, which is all that a plan needs.

    Args:
        name: One of ``architectures()``.
        classes: How many classes the last layer tells apart.
        labels: As for `from_arrays`.

    Returns:
        The classifier; it cannot classify anything.

    Raises:
        ValueError: No network has this name, or the labels are too many or too few.

    Example:
        >>> import lrpjax
        >>> vgg = structure("vgg16")
        >>> plan = lrpjax.plan(vgg.model, "epsilon_plus_flat", np.zeros((1, 224, 224, 3)))
        >>> plan.units[1].layer, plan.units[1].rule
        ('features/0', Flat())
    """
    names, synonyms = _class_names(classes, labels)
    model = outline(name, classes)
    return Classifier(
        name=name, model=model, labels=names, synonyms=synonyms, resampling="bilinear"
    )


def read(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of a safetensors file.

    Args:
        path: The file.

    Returns:
        The arrays by name.

    Raises:
        CheckpointError: The file is in another format, or damaged.
        FileNotFoundError: There is no such file.
        ImportError: The package ``safetensors`` is missing.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "reading weights needs the package 'safetensors': pip install 'lrpjax[zoo]'",
            name="safetensors",
        ) from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def export_command(name: str) -> str:
    """The shell command that makes a file of torchvision's trained weights.

    Args:
        name: A network's name, which is torchvision's too.

    Returns:
        The command; it needs torch, torchvision and safetensors, and writes NAME.safetensors.

    Example:
        >>> print(export_command("resnet50"))  # doctest: +ELLIPSIS
        python -c "import torchvision, safetensors.torch as s; s.save_file(...)"
    """
    weights = f"torchvision.models.{name}(weights='IMAGENET1K_V1').state_dict()"
    return (
        'python -c "import torchvision, safetensors.torch as s; '
        f"s.save_file({weights}, '{name}.safetensors')\""
    )


def _class_names(
    classes: int, given: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One label for each class, and their synonyms."""
    if given is not None:
        if len(given) != classes:
            raise ValueError(f"{len(given)} labels for {classes} classes")
        return tuple(given), ()
    if classes == 1000:
        try:
            names = imagenet.class_names()
        except ImportError:
            pass
        else:
            return tuple(synonyms[0] for synonyms in names), names
    return tuple(f"class {index}" for index in range(classes)), ()
