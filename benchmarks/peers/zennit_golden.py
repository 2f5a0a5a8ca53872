"""Make the golden arrays that tests/parity compares with: relevance by zennit 0.5.1, in float64.

    python -m venv peers && peers/bin/pip install torch torchvision zennit==0.5.1
    PYTHONPATH=tests peers/bin/python benchmarks/peers/zennit_golden.py

It needs an environment of its own, without JAX, and writes tests/golden/zennit*.npz. Weights and
inputs come from NumPy seeds in tests/parity/networks.py, so the files hold logits and relevance
alone, in torch's layout.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import zennit_composites
import zennit_differs
import zennit_networks
from parity.cases import PASSED, PRESETS, cases_of, start
from parity.networks import NETWORKS, bounds, inputs, weights

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


def composite(name, case):
    """Zennit's composite for one case of a network."""
    network = NETWORKS[name]
    shape = (1, -1, *[1] * (len(network.shape) - 2))
    low, high = (torch.from_numpy(b).reshape(shape) for b in bounds(network))
    if case.name in PRESETS:
        return zennit_composites.preset(case.name, low, high, **case.numbers)
    return zennit_composites.rule(case.name, PASSED.get(name), **case.numbers)


def explained(name):
    """The logits of one network, and its relevance in every case."""
    module = zennit_networks.load(zennit_networks.BUILDERS[name](), weights(NETWORKS[name]))
    x = inputs(NETWORKS[name])
    with torch.no_grad():
        logits = module(torch.from_numpy(x)).numpy()
    arrays = {"logits": logits}
    for case in cases_of(name):
        given, out = zennit_composites.relevance(
            module, composite(name, case), x, start(case, logits)
        )
        np.testing.assert_allclose(out, logits, rtol=1e-9, err_msg=f"{name}: canonised")
        arrays[case.key] = given
    return arrays


def main():
    GOLDEN.mkdir(exist_ok=True)
    made_with = f"zennit {version('zennit')}, torch {version('torch')}"
    files = {f"zennit_{name}": explained(name) for name in NETWORKS}
    files["zennit_differs"] = zennit_differs.explained()
    for name, arrays in files.items():
        path = GOLDEN / f"{name}.npz"
        np.savez_compressed(path, made_with=made_with, **arrays)
        print(f"{path.relative_to(ROOT)}: {len(arrays)} arrays, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
