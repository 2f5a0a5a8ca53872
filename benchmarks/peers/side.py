"""What both sides' workers do when told: load a network, choose an explanation, run it."""

import gc
import time
from contextlib import ExitStack

import cases
import memory_use
import numpy as np


class Side:
    """One library's networks and explanations; its subclasses say how."""

    def __init__(self):
        self._chosen, self._model = ExitStack(), None

    def orders(self):
        """What can be asked of it, by name."""
        names = ("machine", "load", "choose", "run", "save", "memory")
        return {name: getattr(self, name) for name in names}

    def load(self, network, weights, dtype="float32"):
        """The network, with the weights of a file; how many seconds it takes."""
        self._chosen.close()
        self._model = None
        gc.collect()
        before = time.perf_counter()
        self._model = self.network(network, weights, dtype)
        return time.perf_counter() - before

    def choose(self, explanation, batch, classes, side=224):
        """An explanation by name, for so many images; for one image, of so many classes."""
        self._chosen.close()
        self._call = self._chosen.enter_context(self.explanation(self._model, explanation))
        self._arguments = self.arguments(cases.pixels(batch, side), cases.classes(classes))

    def run(self):
        """Explains once; how many seconds it takes."""
        before = time.perf_counter()
        self.finish(self._call(*self._arguments))
        return time.perf_counter() - before

    def save(self, path):
        """Explains once; saves the heatmaps, float64 [n, height, width, 3]."""
        np.save(path, self.as_numpy(self._call(*self._arguments)))

    def memory(self):
        """What a first and a later explanation take.

        Returns:
            The seconds of the first, and megabytes: what the process holds with the network
            loaded, and what both add to it at their peak.
        """
        self.touch(self._model)
        gc.collect()
        loaded = self.held()[0]
        seconds, peaks = [], []
        for _ in range(2):
            self.forget_peak()
            seconds.append(self.run())
            peaks.append(self.held()[1] - loaded)
        megabytes = {"loaded": loaded, "peak_first": peaks[0], "peak_later": peaks[1]}
        return {"explained": seconds[0], **megabytes}

    def held(self):
        """Megabytes that the process holds now, and at its peak."""
        return memory_use.resident()

    def forget_peak(self):
        """Lets the peak start again."""
        memory_use.forget_peak()
