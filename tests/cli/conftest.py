"""A tiny network in the place of the real one, and the command run on it."""

import pytest
from tiny import Tiny, tiny_classifier

from lrpjax import models
from lrpjax.cli import main


@pytest.fixture(scope="session")
def classifier():
    return tiny_classifier()


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
