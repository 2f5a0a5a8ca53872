"""All tables and plots of this machine's device, one after another.

    python benchmarks/everything.py [--results benchmarks/results] [--device cpu] [--quick]

Writes the tables of speed, memory, limit, growth and accelerator to RESULTS/NAME-DEVICE.txt, and
their plots. On two CPU cores it takes about an hour; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("speed", "memory", "limit", "growth", "accelerator")
QUICK = {
    "growth": "--tables depth compile --sizes 4 8 --rounds 3",
    "speed": "--models cifar10_vit --side 32 --rounds 3 --compiles 1",
    "accelerator": "--models cifar10_vit --side 32 --batch 4 --rounds 3",
}
ON_CPU = {
    "speed": "--rounds 5 --compiles 2",
    "growth": "--rounds 3",
    "accelerator": "--only accuracy --models cifar10_vit --side 32 --composites attn_lrp cp_lrp",
}
#: An accelerator needs more images at once to be busy.
ON_ACCELERATOR = {"growth": "--batch 16", "accelerator": ""}
#: The goal for ten classes is VGG16's.
TEN_CLASSES = "--tables classes --model vgg16 --sizes 1 10 --composites epsilon_plus_flat"


def device() -> tuple[str, str]:
    """Platform and kind of the device; asked in a process that gives it back."""
    question = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind)"
    answer = subprocess.run(
        [sys.executable, "-c", question], stdout=subprocess.PIPE, text=True, check=True
    )
    platform, kind = answer.stdout.strip().split(maxsplit=1)
    return platform, kind


def options_of(script: str, quick: bool, platform: str) -> list[str]:
    """What a script is called with."""
    if quick:
        return QUICK.get(script, "--models cifar10_vit --side 32").split()
    if platform == "cpu":
        return ON_CPU.get(script, "").split()
    return ON_ACCELERATOR.get(script, "--batch 64").split()


def output(script: str, arguments: list[str]) -> str:
    """What a script prints, in a process of its own."""
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    print(*command[1:], flush=True)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Run every script, then draw."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--results", type=Path, default=HERE / "results")
    options.add_argument("--device", help="the last part of the files' names")
    options.add_argument("--scripts", nargs="+", default=list(SCRIPTS), choices=SCRIPTS)
    options.add_argument("--quick", action="store_true", help="a small network, a few minutes")
    given = options.parse_args()
    platform, kind = device()
    name = given.device or re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")
    given.results.mkdir(parents=True, exist_ok=True)
    for script in given.scripts:
        arguments = options_of(script, given.quick, platform)
        text = output(script, arguments)
        if script == "growth" and not given.quick:
            text += output(script, TEN_CLASSES.split()).split("\n", 1)[1]
        (given.results / f"{script}-{name}.txt").write_text(text)
    where = ["--results", str(given.results), "--device", name]
    subprocess.run([sys.executable, str(HERE / "figures.py"), *where], check=True)


if __name__ == "__main__":
    main()
