"""A tiny network in the place of the real one, and the command run on it."""

import jax
import pytest
from cli_files import LABELS, SIZE
from flax import nnx

from lrpjax import models
from lrpjax.cli import main


class Tiny(nnx.Module):
    """A network that takes milliseconds."""

    def __init__(self, classes, *, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, x):
        return self.dense(jax.nn.relu(self.conv(x / 255)).mean(axis=(1, 2)))


@pytest.fixture(scope="session")
def classifier():
    model = Tiny(len(LABELS), rngs=nnx.Rngs(0))
    return models.Classifier(name="tiny", model=model, labels=LABELS, image_size=SIZE)


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, classifier):
    """Runs a command in a folder of its own with the tiny network; returns code, stdout, stderr.

    Under the name ``own`` the tiny network comes without weights.
    """
    monkeypatch.setitem(models.MODELS, "tiny", lambda: classifier)
    own = models.networks.Architecture(Tiny, "dense")
    monkeypatch.setitem(models.networks.ARCHITECTURES, "own", own)
    monkeypatch.chdir(tmp_path)

    def command(*words, model="tiny"):
        code = main([words[0], *map(str, words[1:]), "--model", model])
        said = capfd.readouterr()
        return code, said.out, said.err

    return command
