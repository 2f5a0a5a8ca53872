"""CIFAR-10: a compact network with local response normalisation, its data and its training.

``lrpjax.models.load("cifar10_lrn")`` is the network with its committed weights. It was trained by
``python -m lrpjax.models.cifar10.train``, which needs the extra ``train``.
"""

from .data import Images, load
from .network import CLASSES, Cifar10LRN

__all__ = ["CLASSES", "Cifar10LRN", "Images", "load"]
