"""How good an explanation is: measured on any attribution function, LRP's or another's.

An attribution function is called as ``relevance_fn`` of :func:`lrpjax.lrp` is; the baselines here
are: `gradient`, `gradient_times_input`, `smoothgrad`, `integrated_gradients`, `occlusion`.

- Perturbation curves: `perturbation_curves` with the settings of a `Perturbation` gives
  `PerturbationCurves`; from them AOPC, ABPC and AUC, `bootstrap` intervals,
  `paired_difference` between two methods, a `table` and a `curve_figure`.
- Localisation: `inside_total_ratio`, `relevance_rank_accuracy` and `pointing_game`, with
  `centre_gaussian` as the control.
- Randomised weights: `parameter_randomisation`, layer by layer from the top.
- `conservation_error`; and how alike two maps are: `spearman`, `cosine`, `top_k_iou`, `ssim`.

Example:
    >>> import jax.numpy as jnp, lrpjax, numpy as np
    >>> from lrpjax import evaluation
    >>> fun = lambda x: jnp.stack([x[:, :2].sum((1, 2, 3)), x[:, 2:].sum((1, 2, 3))], -1)
    >>> images = np.random.default_rng(0).uniform(0, 255, (30, 4, 4, 3))
    >>> settings = evaluation.Perturbation("mean", steps=8)
    >>> lrp, chance = (
    ...     evaluation.perturbation_curves(fun, attribution, images, settings, name=name)
    ...     for name, attribution in (("lrp", lrpjax.lrp(fun)), ("chance", "random"))
    ... )
    >>> evaluation.paired_difference(lrp, chance, "ABPC").excludes_zero
    True
"""

from lrpjax.evaluation.attributions import (
    gradient,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    smoothgrad,
)
from lrpjax.evaluation.conservation import Conservation, conservation, conservation_error
from lrpjax.evaluation.curves import METRICS, PerturbationCurves
from lrpjax.evaluation.figures import curve_figure
from lrpjax.evaluation.localisation import (
    centre_gaussian,
    inside_total_ratio,
    masks_from_boxes,
    pointing_game,
    relevance_rank_accuracy,
)
from lrpjax.evaluation.operators import (
    OPERATORS,
    Blur,
    Constant,
    Dirichlet,
    Mean,
    Operator,
    UniformNoise,
)
from lrpjax.evaluation.orders import ORDERS
from lrpjax.evaluation.perturbation import Perturbation, perturbation_curves
from lrpjax.evaluation.program import SCORES
from lrpjax.evaluation.randomisation import Randomisation, cascade, parameter_randomisation
from lrpjax.evaluation.report import table
from lrpjax.evaluation.similarity import cosine, spearman, ssim, top_k_iou
from lrpjax.evaluation.statistics import Interval, bootstrap, paired_difference
from lrpjax.evaluation.storage import ResultsMismatch

__all__ = [
    "METRICS",
    "OPERATORS",
    "ORDERS",
    "SCORES",
    "Blur",
    "Conservation",
    "Constant",
    "Dirichlet",
    "Interval",
    "Mean",
    "Operator",
    "Perturbation",
    "PerturbationCurves",
    "Randomisation",
    "ResultsMismatch",
    "UniformNoise",
    "bootstrap",
    "cascade",
    "centre_gaussian",
    "conservation",
    "conservation_error",
    "cosine",
    "curve_figure",
    "gradient",
    "gradient_times_input",
    "inside_total_ratio",
    "integrated_gradients",
    "masks_from_boxes",
    "occlusion",
    "paired_difference",
    "parameter_randomisation",
    "perturbation_curves",
    "pointing_game",
    "relevance_rank_accuracy",
    "smoothgrad",
    "spearman",
    "ssim",
    "table",
    "top_k_iou",
]
