"""CIFAR-10: two compact networks, the data and the training.

``lrpjax.models.load("cifar10_lrn")`` is a network with local response normalisation and
``lrpjax.models.load("cifar10_vit")`` a Vision Transformer, each with its committed weights. They
were trained by ``python -m lrpjax.models.cifar10.train``, which needs the extra ``train``.
"""

from .data import Images, load
from .network import CLASSES, Cifar10LRN
from .vit import cifar10_vit

__all__ = ["CLASSES", "Cifar10LRN", "Images", "cifar10_vit", "load"]
