"""Small arrays for local response normalisation, from NumPy alone: the same ones everywhere.

Both the script that makes the golden arrays and the tests that compare with them import this file.
"""

import numpy as np

# The arguments in each framework's own words. Windows of one channel, of an even number, and of
# more channels than there are; normalisers near 1 and far above.
CASES = {
    "torch": {
        "defaults": {"size": 5},
        "strong": {"size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0},
        "one": {"size": 1, "alpha": 2.0, "beta": 0.5, "k": 0.5},
        "even": {"size": 4, "alpha": 3.0, "beta": 1.0, "k": 2.0},
        "two": {"size": 2, "alpha": 10.0, "beta": 0.6, "k": 1e-3},
        "wider": {"size": 16, "alpha": 5.0, "beta": 1.5, "k": 0.7},
    },
    "tensorflow": {
        "defaults": {},
        "one": {"depth_radius": 0, "bias": 0.5, "alpha": 2.0, "beta": 0.5},
        "alexnet": {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75},
        "strong": {"depth_radius": 2, "bias": 1.0, "alpha": 1.0, "beta": 1.25},
    },
}
SHAPE = (2, 2, 3, 7)


def inputs(framework, name):
    """An input and a cotangent, float32 [n, height, width, channels]."""
    seed = sum(f"{framework} {name}".encode())
    x, cotangent = np.random.RandomState(seed).standard_normal((2, *SHAPE)).astype(np.float32)
    x[0, 0] = 0  # whole windows of zeros
    return 3 * x, cotangent
