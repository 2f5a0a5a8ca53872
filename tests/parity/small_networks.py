"""Weights and inputs of the small dense networks where zennit goes another way: NumPy alone."""

import numpy as np

_rng = np.random.RandomState(77)

#: fc1: 6 -> 6, its twin on another path, and fc2: 6 -> 3; torch's layout, [out, in].
W1, B1 = _rng.normal(size=(6, 6)), 0.5 * _rng.normal(size=6)
W1B, B1B = _rng.normal(size=(6, 6)), 0.5 * _rng.normal(size=6)
W2, B2 = _rng.normal(size=(3, 6)), 0.5 * _rng.normal(size=3)

#: A BatchNorm behind fc1, and PyTorch's and Flax's ε for it.
SCALE, SHIFT = _rng.uniform(-1.5, 1.5, 6), 0.5 * _rng.normal(size=6)
MEAN, VAR, BN_EPS = 0.5 * _rng.normal(size=6), _rng.uniform(0.5, 2.0, 6), 1e-5

#: Two examples of six numbers, of four times six, and the relevance of three outputs.
X, XS = _rng.normal(size=(2, 6)), _rng.normal(size=(2, 4, 6))
START = _rng.normal(size=(2, 3))
LOW, HIGH = -4.0, 3.0

#: A layer without bias, one of whose outputs is exactly zero.
W_ZERO, X_ZERO = np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([[1.0, 1.0]])
START_ZERO = np.array([[2.0, 3.0]])
