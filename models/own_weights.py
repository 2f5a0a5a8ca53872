"""Networks with weights from a file of the user's own, under torchvision's names or Caffe's.

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

_COMMANDS = {
    "torchvision": (
        "import torchvision, safetensors.torch as s; s.save_file("
        "torchvision.models.{name}(weights='IMAGENET1K_V1').state_dict(), '{name}.safetensors')"
    ),
    "caffe": (
        "import caffe, safetensors.numpy as s; "
        "net = caffe.Net('deploy.prototxt', '{bvlc_name}.caffemodel', caffe.TEST); "
        "s.save_file({{f'{{layer}}.{{part}}': blob.data for layer, blobs in net.params.items() "
        "for part, blob in zip(('weight', 'bias'), blobs)}}, '{name}.safetensors')"
    ),
}
_NEEDS = {
    "torchvision": "Where torch, torchvision and safetensors are installed",
    "caffe": "Where pycaffe and safetensors are installed and Caffe's two files lie",
}


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
        labels: One name per class. None for the network's own where their number fits, or
            ImageNet's where there are 1000 classes and the package with the names is installed,
            else ``class 0``, ``class 1``, …

    Returns:
        The classifier, for pixels from 0 to 255, with torchvision's first recipe of
        preprocessing: the short side to 256 (bilinear), of which the middle 224 are seen (227 by
        AlexNet). CIFAR-10's networks see the whole short side at 32.

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
    model = outline(name, classes)
    network = ARCHITECTURES[name]
    if labels is None and len(network.labels) == classes:
        labels = network.labels
    names, synonyms = _class_names(classes, labels)
    return Classifier(
        name=name,
        model=model,
        labels=names,
        image_size=network.image_size,
        crop=network.crop,
        synonyms=synonyms,
        resampling="bilinear",
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
    """The shell command that makes a file of published weights.

    Args:
        name: A network's name: torchvision's too, or that of a network of Caffe's.

    Returns:
        The command. For torchvision's networks it needs torch, torchvision and safetensors; for
        Caffe's, pycaffe, safetensors and the two files that Caffe publishes, deploy.prototxt and
        ….caffemodel. It writes NAME.safetensors.

    Raises:
        ValueError: Nobody publishes weights for this network.

    Example:
        >>> print(export_command("resnet50"))  # doctest: +ELLIPSIS
        python -c "import torchvision, safetensors.torch as s; s.save_file(...)"
    """
    published = ARCHITECTURES[name].published
    if published not in _COMMANDS:
        raise ValueError(f"nobody publishes weights of {name}")
    bvlc_name = f"bvlc_{name.removeprefix('bvlc_')}"
    return f'python -c "{_COMMANDS[published].format(name=name, bvlc_name=bvlc_name)}"'


def export_hint(name: str) -> str:
    """The sentence that says where a file of weights comes from.

    Args:
        name: A network's name.

    Returns:
        The sentence, with the command of `export_command` where there is one.

    Example:
        >>> export_hint("alexnet")
        'nobody publishes weights of alexnet, so they are of your own training'
    """
    published = ARCHITECTURES[name].published
    if published not in _COMMANDS:
        return f"nobody publishes weights of {name}, so they are of your own training"
    return f"{_NEEDS[published]}, this makes one: {export_command(name)}"


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
