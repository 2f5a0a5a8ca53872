"""Local response normalisation and its gradient, as PyTorch and TensorFlow compute them.

    pip install torch        # or tensorflow-cpu, in an environment of its own
    PYTHONPATH=tests/golden python benchmarks/peers/lrn_golden.py torch

(and the same with "tensorflow") writes tests/golden/lrn_torch.npz: for every case of
tests/golden/lrn_cases.py the output and the gradient, channels last. PyTorch's are computed in
double precision; TensorFlow's operator has none, so its are float32.
"""

import argparse
from pathlib import Path

import lrn_cases
import numpy as np

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"


def torch(x, cotangent, arguments):
    import torch

    x = torch.from_numpy(x).double().requires_grad_()
    norm = torch.nn.LocalResponseNorm(**arguments)
    y = norm(x.movedim(-1, 1)).movedim(1, -1)
    (gradient,) = torch.autograd.grad(y, x, torch.from_numpy(cotangent).double())
    return y.detach().numpy(), gradient.numpy()


def tensorflow(x, cotangent, arguments):
    import tensorflow as tf

    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = tf.nn.local_response_normalization(x, **arguments)
    return y.numpy(), tape.gradient(y, x, output_gradients=cotangent).numpy()


FRAMEWORKS = {"torch": torch, "tensorflow": tensorflow}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=FRAMEWORKS)
    framework = parser.parse_args().framework
    arrays = {}
    for name, arguments in lrn_cases.CASES[framework].items():
        x, cotangent = lrn_cases.inputs(framework, name)
        y, gradient = FRAMEWORKS[framework](x, cotangent, arguments)
        arrays |= {f"{name}/output": y, f"{name}/gradient": gradient}
        print(f"{name}: outputs up to {np.abs(y).max():.3g}, inputs to {np.abs(x).max():.3g}")
    np.savez_compressed(GOLDEN / f"lrn_{framework}.npz", **arrays)


if __name__ == "__main__":
    main()
