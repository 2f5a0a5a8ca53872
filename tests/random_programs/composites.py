"""Random composites: the presets with drawn numbers, and a drawn rule for each kind of unit."""

from lrpjax import Composite, presets, rules

#: Tiny ones show a rule that divides by what may vanish; large ones that ε is counted.
EPSILONS = (1e-6, 0.0, 1e-9, 1e-12, 1e-3, 0.25)
GAMMAS = (0.25, 0.0, 0.1, 1.0, 10.0, 100.0)


def epsilon(rng):
    return rng.choice(EPSILONS)


def gamma(rng):
    return rng.choice(GAMMAS)


def _alpha_beta(rng):
    alpha = rng.choice([2.0, 1.0, 1.5, 3.0])
    return rules.AlphaBeta(alpha, alpha - 1.0, epsilon(rng))


#: Rules that keep relevance bounded, by the family of units they serve.
TAME = {
    "affine": (
        lambda rng: rules.Epsilon(epsilon(rng)),
        lambda rng: rules.Gamma(gamma(rng), epsilon(rng)),
        lambda rng: rules.Zero(),
    ),
    "shift": (lambda rng: rules.Epsilon(epsilon(rng)), lambda rng: rules.Zero()),
    "add": (
        lambda rng: rules.Epsilon(epsilon(rng)),
        lambda rng: rules.Ratio(),
        lambda rng: rules.Zero(),
    ),
    "elementwise": (lambda rng: rules.Pass("share"),),
    "max": (lambda rng: rules.Routing(),),
}
#: And all that fit.
WILD = {
    "affine": (
        *TAME["affine"],
        lambda rng: rules.ZPlus(epsilon(rng)),
        _alpha_beta,
        lambda rng: rules.Flat(),
        lambda rng: rules.WSquare(epsilon(rng)),
        lambda rng: rules.ZBox(-rng.choice([4.0, 0.0]), 5.0, epsilon(rng)),
        lambda rng: rules.Stop(),
    ),
    "shift": (*TAME["shift"], lambda rng: rules.Pass(), lambda rng: rules.Stop()),
    "add": (*TAME["add"], lambda rng: rules.Even(), lambda rng: rules.Stop()),
    "elementwise": (
        *TAME["elementwise"],
        lambda rng: rules.Pass(),
        lambda rng: rules.Pass(),
        lambda rng: rules.Stop(),
    ),
    "max": (*TAME["max"], lambda rng: rules.Routing(), lambda rng: rules.Stop()),
}
#: The keywords of a composite, by family.
FAMILIES = {
    "conv": "affine",
    "dense": "affine",
    "pool": "affine",
    "scale": "shift",
    "shift": "shift",
    "add": "add",
    "elementwise": "elementwise",
    "max": "max",
    "first": "affine",
    "last": "affine",
}

PRESETS = {
    "default": lambda rng: presets.default(),
    "epsilon": lambda rng: presets.epsilon(epsilon(rng)),
    "epsilon_plus": lambda rng: presets.epsilon_plus(epsilon(rng)),
    "epsilon_plus_flat": lambda rng: presets.epsilon_plus_flat(epsilon(rng)),
    "epsilon_alpha2_beta1": lambda rng: presets.epsilon_alpha2_beta1(epsilon(rng)),
    "epsilon_alpha2_beta1_flat": lambda rng: presets.epsilon_alpha2_beta1_flat(epsilon(rng)),
    "epsilon_gamma_box": lambda rng: presets.epsilon_gamma_box(-5.0, 5.0, epsilon(rng), gamma(rng)),
    "excitation_backprop": lambda rng: presets.excitation_backprop(),
    "lrp_cmp": lambda rng: presets.lrp_cmp(rng.choice([1, 2])),
    "deep_taylor": lambda rng: presets.deep_taylor(*rng.choice([(), (-5.0, 5.0)])),
    "attn_lrp": lambda rng: presets.attn_lrp(rng.choice([None, *GAMMAS])),
    "cp_lrp": lambda rng: presets.cp_lrp(rng.choice([None, *GAMMAS])),
    "lstm_signal_takes_all": lambda rng: presets.lstm_signal_takes_all(),
}


def draw_composite(rng):
    """A preset, or a rule for each kind; half of the latter with tame rules alone."""
    form = rng.choice(["tame", "wild", "preset"])
    if form == "preset":
        return PRESETS[rng.choice(list(PRESETS))](rng)
    table = TAME if form == "tame" else WILD
    chosen = {
        keyword: rng.choice(table[family])(rng)
        for keyword, family in FAMILIES.items()
        if _given(keyword, form, rng)
    }
    everywhere = rng.choice([False] * 9 + [True])
    return Composite(**chosen, layers={"*": rules.Epsilon(epsilon(rng))} if everywhere else {})


def _given(keyword, form, rng):
    """Tame ones name all that would be wild by default; first and last are named less often."""
    if form == "tame" and keyword in ("conv", "dense", "pool", "shift"):
        return True
    return rng.choice([True, False, False] if keyword in ("first", "last") else [True, False])
