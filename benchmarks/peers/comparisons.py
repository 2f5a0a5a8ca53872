"""What is compared with what: a peer's explanation and the same composite here."""

from typing import NamedTuple

GRADIENT = "gradient"
OURS, TORCH = "lrpjax", "torch"  # each with the gradient that its explanations are measured by
CLASSES = 10  # of one image at once
MANY = (", copies", ", passes", ", lrp_vjp")  # how the names of such explanations end
TOLERANCE = 1e-5  # ‖theirs − ours‖ / ‖theirs‖ in float64


class Comparison(NamedTuple):
    """A peer's explanation of a network and ours with the same rules.

    Attributes:
        network: torchvision's name.
        library: The peer.
        theirs: Its explanation's name in torch_side.py.
        ours: The name in jax_side.py.
        weights: What the heatmaps are compared on.
        differs: Why they are not equal; "" where they must be.
        timed: Whether both are timed.
    """

    network: str
    library: str
    theirs: str
    ours: str
    weights: str = "random"
    differs: str = ""
    timed: bool = True


_BIASES = "it gives biases, and BatchNorm's shifts, a share by magnitude, or none"


def _zennit(network):
    names = ("epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_gamma_box")
    return [Comparison(network, "zennit", name, name) for name in names]


def _autolrp(network, *names):
    for name in names:
        pair = (network, "autolrp", name, f"{name}, as autoLRP")
        yield Comparison(*pair, weights="without biases")
        yield Comparison(*pair, differs=_BIASES, timed=False)


COMPARISONS = (
    *_zennit("vgg16"),
    *_autolrp("vgg16", "epsilon_plus", "epsilon"),
    Comparison("vgg16", "captum", "epsilon", "epsilon, as Captum"),
    *_zennit("resnet50"),
    *_autolrp("resnet50", "epsilon_plus"),
    Comparison(
        "resnet50",
        "captum",
        "epsilon",
        "epsilon, as Captum",
        differs="it has no rule for sums that are no modules",
        timed=False,
    ),
    Comparison("vit_b_16", "lxt", "cp_lrp", "cp_lrp, as LXT"),
    *_autolrp("vit_b_16", "attn_lrp"),
    Comparison(
        "vit_b_16",
        "captum",
        "epsilon",
        "epsilon, as Captum",
        differs="it has no rule for LayerNorm, nor for attention",
        timed=False,
    ),
)
MANY_CLASSES = tuple(
    Comparison("vgg16", "zennit", f"epsilon_plus_flat, {way}", "epsilon_plus_flat, lrp_vjp")
    for way in ("copies", "passes")
)
#: Presets that are timed beside what is compared, where that has another name.
PRESETS = {"vgg16": (), "resnet50": ("epsilon_plus",), "vit_b_16": ("cp_lrp", "attn_lrp")}


class Scenario(NamedTuple):
    """One network explained for so many images, or one image for many classes."""

    network: str
    batch: int
    many: bool = False

    @property
    def comparisons(self):
        """What is timed in it."""
        chosen = MANY_CLASSES if self.many else COMPARISONS
        return [c for c in chosen if c.network == self.network and c.timed]

    @property
    def contenders(self):
        """Libraries and explanations, each once, the gradients first."""
        pairs = [(c.library, c.theirs) for c in self.comparisons]
        own = [c.ours for c in self.comparisons]
        own += ["epsilon_plus_flat"] if self.many else PRESETS[self.network]
        every = [(TORCH, GRADIENT), (OURS, GRADIENT), *pairs, *((OURS, name) for name in own)]
        return list(dict.fromkeys(every))

    def order(self, explanation):
        """What a worker is told to choose."""
        classes = CLASSES if explanation.endswith(MANY) else self.batch
        return {"explanation": explanation, "batch": self.batch, "classes": classes}

    @property
    def title(self):
        """For tables."""
        what = f"{CLASSES} classes of one image" if self.many else f"batch {self.batch}"
        return f"{self.network}, {what}, 224×224"


def scenarios(networks, batches):
    """All of these networks and batches; with VGG16, many classes of one image too."""
    found = [Scenario(network, batch) for network in networks for batch in batches]
    return found + [Scenario("vgg16", 1, many=True)] * ("vgg16" in networks)
