"""Networks with real weights, to explain real photographs with.

Example:
    >>> from lrpjax import models
    >>> models.available()
    ('efficientnet_lite0',)
    >>> classifier = models.load("efficientnet_lite0")
    >>> classifier.labels[classifier.class_index("espresso")]
    'espresso'
"""

import difflib
from collections.abc import Callable

from . import pretrained
from .classifier import Classifier
from .photographs import sample_paths, sample_photographs
from .torch_checkpoint import CheckpointError

__all__ = [
    "CheckpointError",
    "Classifier",
    "available",
    "load",
    "sample_paths",
    "sample_photographs",
]

MODELS: dict[str, Callable[[], Classifier]] = {
    "efficientnet_lite0": pretrained.efficientnet_lite0,
}


def available() -> tuple[str, ...]:
    """The names that ``load`` knows.

    Returns:
        The registered models' names.

    Example:
        >>> available()
        ('efficientnet_lite0',)
    """
    return tuple(MODELS)


def load(name: str) -> Classifier:
    """Loads a trained network.

    Args:
        name: One of ``available()``.

    Returns:
        The network with its class names and its preprocessing.

    Raises:
        ValueError: No model has this name.
        ImportError: A package with the model's files is missing.

    Example:
        >>> load("efficientnet_lite0").image_size
        224
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no model named {name!r}; {hint}available: {', '.join(available())}")
    return MODELS[name]()
