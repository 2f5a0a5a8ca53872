"""Photographs to explain, and a look at what came of them."""

from pathlib import Path

import numpy as np
from PIL import Image

LABELS = ("red", "green", "blue", "tabby", "espresso")
SIZE = 16


def photograph(path, seed=0, mode="RGB", size=(20, 24)):
    """Writes a photograph of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def arrays(path):
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def lines(text):
    """What was said line by line, without the progress bar."""
    return [line for line in text.splitlines() if line.startswith("lrpjax: ")]
