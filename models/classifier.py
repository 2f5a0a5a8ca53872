"""An image classifier ready for use: the network, its class names and its way with pictures."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .class_names import class_index

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network with what a person needs to show it photographs and to read its answers.

    Attributes:
        name: The name it is registered under.
        model: The network: pixels ``[n, image_size, image_size, 3]`` to logits ``[n, classes]``.
        labels: One short name per class, in the order of the logits. A few classes share theirs.
        image_size: Height and width of the network's input, in pixels.
        low: The smallest value a pixel can have.
        high: The largest value a pixel can have.
        crop: The part of the photograph's short side that the input shows.
        synonyms: For each class, further names it is known by.
        resampling: How photographs are resized.

    Example:
        >>> from lrpjax import models
        >>> classifier = models.load("efficientnet_lite0")
        >>> pixels = classifier.preprocess(models.sample_photographs()["coffee"])
        >>> probabilities = classifier.predict(pixels)
        >>> classifier.labels[probabilities.argmax()]
        'espresso'
    """

    name: str
    model: nnx.Module = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    image_size: int = 224
    low: float = 0.0
    high: float = 255.0
    crop: float = 0.875
    synonyms: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    resampling: Literal["bicubic", "bilinear"] = "bicubic"

    def preprocess(self, image: "Image.Image") -> np.ndarray:
        """Turns a photograph of any size and mode into the network's input.

        The short side is resized so that the centre crop shows ``crop`` of it: at 224
        pixels and 0.875, to 256. The long side's length is rounded to a whole pixel, and an odd
        margin leaves its extra pixel at the right or the bottom. A rotation noted in the file's
        EXIF data is applied, and what is transparent is laid on white.

        Args:
            image: The photograph.

        Returns:
            Pixels in ``[0, 255]``, float32 ``[image_size, image_size, 3]``.

        Example:
            >>> from lrpjax import models
            >>> camera = models.sample_photographs()["camera"]
            >>> camera.mode, models.load("efficientnet_lite0").preprocess(camera).shape
            ('L', (224, 224, 3))
        """
        from PIL import Image, ImageOps

        image = _as_rgb(ImageOps.exif_transpose(image))
        zoom = self.image_size / self.crop / min(image.size)
        # Resizing only the box that is kept equals resizing everything and cropping then, but a
        # picture a thousand times as long as high costs no more than any other.
        (left, right), (top, bottom) = (self._kept(length, zoom) for length in image.size)
        pixels = image.resize(
            (self.image_size, self.image_size),
            Image.Resampling[self.resampling.upper()],
            box=(left, top, right, bottom),
        )
        return np.asarray(pixels, np.float32)

    def _kept(self, length: int, zoom: float) -> tuple[float, float]:
        """Where the centre crop of a side starts and ends, in pixels of the photograph."""
        resized = max(round(length * zoom), self.image_size)
        start = (resized - self.image_size) // 2
        return start * length / resized, (start + self.image_size) * length / resized

    def predict(self, images: np.ndarray | jax.Array) -> np.ndarray:
        """The probability of every class.

        Args:
            images: Pixels from ``low`` to ``high``, ``[n, height, width, 3]`` of any real dtype,
                or one image ``[height, width, 3]``.

        Returns:
            The softmax of the logits, float32 ``[n, classes]``, or ``[classes]`` for one image.

        Raises:
            ValueError: The images have another shape.

        Example:
            >>> import numpy as np
            >>> from lrpjax import models
            >>> grey = np.full((2, 224, 224, 3), 127.0)
            >>> models.load("efficientnet_lite0").predict(grey).shape
            (2, 1000)
        """
        images = jnp.asarray(images, jnp.float32)
        if images.ndim not in (3, 4) or images.shape[-1] != 3:
            raise ValueError(
                f"images have shape {images.shape}; it should be [n, height, width, 3] "
                "or [height, width, 3]"
            )
        probabilities = _probabilities(self.model, images if images.ndim == 4 else images[None])
        return np.asarray(probabilities if images.ndim == 4 else probabilities[0])

    def class_index(self, name: str | int) -> int:
        """The index of the class that a name means.

        Upper and lower case are one, and so are ``_`` and a space. A name that is one class's
        label means that class, even where it is also another's synonym.

        Args:
            name: A label, a synonym, or the index itself as a number or as text.

        Returns:
            The class's position among the logits.

        Raises:
            ValueError: No class has this name (the message has close matches), several have
                it (the message lists them), or the index is out of range.

        Example:
            >>> from lrpjax import models
            >>> models.load("efficientnet_lite0").class_index("Tabby cat")
            281
        """
        return class_index(name, self.name, self.labels, self.synonyms)


@nnx.jit
def _probabilities(model: nnx.Module, images: jax.Array) -> jax.Array:
    return jax.nn.softmax(model(images))


def _as_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a pixel; a plain conversion would cut at 255
        image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
