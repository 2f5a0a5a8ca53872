"""Sample photographs: those that scikit-image carries inside its own package."""

from pathlib import Path
from typing import TYPE_CHECKING

from ._packages import package_file

if TYPE_CHECKING:
    from PIL import Image

SAMPLES = {
    "coffee": "coffee.png",
    "camera": "camera.png",
    "motorcycle": "motorcycle_left.png",
    "chelsea": "chelsea.png",
    "rocket": "rocket.jpg",
}


def sample_paths() -> dict[str, Path]:
    """Where the sample photographs lie on this machine. Nothing is ever downloaded.

    Returns:
        The files by a short name: an espresso, a man at a camera on a tripod, a motorcycle,
        Chelsea the cat and a rocket on its launch pad.

    Raises:
        ImportError: scikit-image is not installed.

    Example:
        >>> list(sample_paths())
        ['coffee', 'camera', 'motorcycle', 'chelsea', 'rocket']
    """
    return {
        name: package_file("skimage", f"data/{file}", distribution="scikit-image")
        for name, file in SAMPLES.items()
    }


def sample_photographs() -> "dict[str, Image.Image]":
    """Opens the sample photographs.

    Returns:
        The pictures by the names of ``sample_paths``, as they are stored (camera is grey).

    Raises:
        ImportError: scikit-image or Pillow is not installed.

    Example:
        >>> sample_photographs()["coffee"].size
        (600, 400)
    """
    from PIL import Image

    photographs: dict[str, Image.Image] = {}
    for name, path in sample_paths().items():
        photographs[name] = Image.open(path)
        photographs[name].load()  # reads the pixels and closes the file
    return photographs
