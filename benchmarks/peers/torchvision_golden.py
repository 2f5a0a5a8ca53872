"""The logits of torchvision's networks on weights and pixels that NumPy draws.

    pip install torch torchvision
    PYTHONPATH=tests/golden python benchmarks/peers/torchvision_golden.py

in an environment of its own writes tests/golden/torchvision_NAME.npz for every network of
tests/golden/torchvision_weights.py, which the tests draw the same weights from. Computed in double
precision; stored are the logits and the shapes by which torchvision names its weights.
"""

import json

import numpy as np
import torch
import torchvision
import torchvision_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def golden(name):
    """The shapes of torchvision's ``state_dict`` by name, and the logits, float64 [n, 1000]."""
    model = getattr(torchvision.models, name)(weights=None).double().eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    arrays = torchvision_weights.state_dict(name, shapes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    pixels = torch.from_numpy(torchvision_weights.pixels(name)).permute(0, 3, 1, 2)
    normalise = torchvision.transforms.Normalize(MEAN, STD)
    with torch.no_grad():
        return shapes, model(normalise(pixels / 255)).numpy()


def main():
    for name in torchvision_weights.CASES:
        shapes, logits = golden(name)
        np.savez_compressed(
            torchvision_weights.path(name), shapes=json.dumps(shapes), logits=logits
        )
        between = np.abs(logits[0] - logits[1]).max()
        print(f"{name}: {np.abs(logits).max():.3g} at most, {between:.3g} between two images")


if __name__ == "__main__":
    main()
