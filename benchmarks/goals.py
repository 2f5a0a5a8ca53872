"""What the project set out to reach, so that each table says where it does and where it doesn't."""

from __future__ import annotations

#: Medians of run time × the jitted gradient.
TIME = {
    ("vgg16", "epsilon"): 1.05,
    ("vgg16", "epsilon_plus_flat"): 1.15,
    ("vgg16", "gamma"): 2.1,
    ("vgg16", "epsilon_alpha2_beta1"): 2.6,
    ("resnet50", "epsilon"): 1.05,
    ("resnet50", "epsilon_plus_flat"): 1.4,
    ("resnet50", "gamma"): 2.1,
    ("resnet50", "epsilon_alpha2_beta1"): 2.6,
    ("vit_b_16", "attn_lrp"): 0.85,
    ("vit_b_16", "cp_lrp"): 0.75,
}

#: Tracing and compiling × that of the gradient.
COMPILE = 1.2

#: Memory × the gradient's.
MEMORY = {"vgg16": 0.7}
MEMORY_ELSEWHERE = 1.0


def verdict(value: float, goal: float | None) -> str:
    """What is to be read behind a figure; nothing where there is no goal."""
    if goal is None:
        return ""
    return f"≤ {goal:g} {'held' if round(value, 2) <= goal else 'missed'}"
