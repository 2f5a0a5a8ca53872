"""The worker that holds torch and one library built on it: torch, zennit, captum, autolrp or lxt.

Each library explains in the way that is fastest for it: hooks are registered before the clock
starts, parameters need no gradients (but for autoLRP, which asks for them), and pixels are
normalised beforehand. Everything starts with one at the chosen classes, or with their logits where
the library knows nothing else.
"""

import os
import sys
import warnings
from contextlib import contextmanager
from importlib.metadata import version

import cases
import memory_use
import numpy as np
import torch
import torchvision
from side import Side
from talk import serve

warnings.filterwarnings("ignore")  # torch's own about backward hooks, at every call
torch.set_num_threads(len(os.sched_getaffinity(0)))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def grad(model, x, classes):
    """The gradient of one at each image's class, or of one at each class of a single image."""
    x = x.clone().requires_grad_()
    out = model(x)
    return torch.autograd.grad(out, x, seeds(out, classes))[0]


def seeds(out, classes):
    return torch.nn.functional.one_hot(classes, out.shape[-1]).to(out.dtype)


@contextmanager
def gradient(model, name):
    yield lambda x, classes: grad(model, x, classes)


@contextmanager
def zennit(model, name):
    """A composite by name; for ten classes of one image, by a batch of copies or by passes."""
    import zennit_composites

    def copies(x, classes):
        return grad(model, x.repeat(len(classes), 1, 1, 1), classes)

    def passes(x, classes):
        x = x.clone().requires_grad_()
        out = model(x)
        each = seeds(out, classes)[:, None]
        return torch.cat([torch.autograd.grad(out, x, s, retain_graph=True)[0] for s in each])

    preset, _, way = name.partition(", ")
    ways = {"": lambda x, classes: grad(model, x, classes), "copies": copies, "passes": passes}
    with zennit_composites.preset(preset, cases.LOW, cases.HIGH).context(model):
        yield ways[way]


@contextmanager
def captum(model, name):
    """ε = 10⁻⁹ for every layer, its default. It can't take activations that work in place."""
    from captum.attr import LRP

    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    yield lambda x, classes: LRP(model).attribute(x, target=classes).detach()


@contextmanager
def autolrp(model, name):
    import autolrp as library

    config = {
        "epsilon": library.LRPConfig(),
        "epsilon_plus": library.LRPConfig(rule={**library.BASE, "ConvolutionBackward": "zplus"}),
        "attn_lrp": library.LRPConfig(rule={**library.BASE, **library.ATTNLRP}),
    }[name]
    model.requires_grad_()

    def explain(x, classes):
        x = library.tensor(x)
        out = model(x)
        out[torch.arange(len(x)), classes].lrp(config=config)
        return x.relevance

    yield explain


@contextmanager
def lxt(model, name):
    """CP-LRP as gradient × input, of the classes of torch that it has patched."""
    yield lambda x, classes: x * grad(model, x, classes)


EXPLANATIONS = {f.__name__: f for f in (zennit, captum, autolrp, lxt)} | {"torch": gradient}
MODULES = {"zennit": "zennit_composites", "captum": "captum.attr", "autolrp": "autolrp"}


class TorchSide(Side):
    """Networks of torchvision."""

    def __init__(self, library):
        self.library = library
        if library == "lxt":
            from lxt.efficient import monkey_patch

            monkey_patch(torchvision.models.vision_transformer)
        elif library in MODULES:
            __import__(MODULES[library])
        super().__init__()

    def network(self, network, weights, dtype):
        from safetensors.torch import load_file

        with torch.device("meta"):  # nothing is drawn that the weights would replace
            model = getattr(torchvision.models, network)()
        model.load_state_dict(load_file(weights, device=DEVICE), assign=True)
        self.dtype = getattr(torch, dtype)
        return model.to(self.dtype).eval().requires_grad_(False)

    def arguments(self, pixels, classes):
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (cases.MEAN, cases.STD))
        x = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)
        return x.to(DEVICE, self.dtype).contiguous(), torch.from_numpy(classes).to(DEVICE)

    def explanation(self, model, name):
        return EXPLANATIONS[self.library](model, name)

    def finish(self, heatmap):
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    def as_numpy(self, heatmap):
        return np.moveaxis(heatmap.double().cpu().numpy(), 1, -1)

    def touch(self, model):
        for value in model.state_dict().values():  # safetensors reads a file's pages when used
            value.sum()

    def held(self):
        if DEVICE == "cpu":
            return super().held()
        now, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        return now / memory_use.MEGABYTE, peak / memory_use.MEGABYTE

    def forget_peak(self):
        super().forget_peak()
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def machine(self):
        installed = {name: version(name) for name in dict.fromkeys(("torch", self.library))}
        return {"versions": ", ".join(" ".join(item) for item in installed.items())}


if __name__ == "__main__":
    serve(TorchSide(sys.argv[1]).orders())
