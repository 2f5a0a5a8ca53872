"""A network that takes milliseconds, in the place of a real one."""

import jax
from cli_files import LABELS, SIZE
from flax import nnx

from lrpjax import models


class Tiny(nnx.Module):
    """A convolution and a head."""

    def __init__(self, classes, *, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, x):
        return self.dense(jax.nn.relu(self.conv(x / 255)).mean(axis=(1, 2)))


def tiny_classifier():
    """The network with its labels, the same in every process."""
    model = Tiny(len(LABELS), rngs=nnx.Rngs(0))
    return models.Classifier(name="tiny", model=model, labels=LABELS, image_size=SIZE)
