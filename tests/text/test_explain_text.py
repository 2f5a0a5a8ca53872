"""The command ``lrpjax explain-text`` on a network whose relevance is known."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from support import small_text

from lrpjax import models
from lrpjax.cli import explain_text, main, text_results
from lrpjax.models import minilm

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def files(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def stored(path):
    """The explanations in a file of numbers, by text."""
    _, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {one["text"]: one for one in map(json.loads, lines)}


def said(err):
    return [line for line in err.splitlines() if line.startswith("lrpjax: ")]


def by_hand(small, text):
    """Strings, [tokens, classes] shares and logits of a text."""
    ids, _, (tokens,) = small.tokenize([text])
    shares, logits = small.model.shares(ids[0, : len(tokens)])
    return [token.string for token in tokens], shares, logits


def test_without_colours_each_token_has_its_number(run, small):
    strings, shares, logits = by_hand(small, "A good film")
    best = logits.argmax()
    code, out, err = run("A good film")
    assert (code, said(err), files()) == (0, [], [])
    heading, tokens = out.splitlines()
    odds = np.exp(logits)[best] / np.exp(logits).sum()
    assert heading.startswith(f"{small_text.LABELS[best]} {odds:.2f}, logit {logits[best]:.4g}, ")
    found = re.findall(r"(\S+?)\(([^)]+)\)", tokens)
    assert [text for text, _ in found] == ["[CLS]", "A", "good", "film", "[SEP]"]
    np.testing.assert_allclose([float(n) for _, n in found], shares[:, best], rtol=0.06, atol=1e-6)
    assert len(strings) == len(found)


def test_relevance_is_written_with_all_its_digits(run, small):
    run("A good film", "unlikely!", "--classes", "positive,0", "--top", 1, "--out", "page.html")
    assert files() == ["page.html", "page.jsonl"]
    for text, one in stored("page.jsonl").items():
        strings, shares, logits = by_hand(small, text)
        wanted = list(dict.fromkeys([1, 0, int(logits.argmax())]))
        assert one["classes"] == wanted
        assert one["labels"] == [small_text.LABELS[index] for index in wanted]
        assert [name for name, _, _ in one["tokens"]] == strings
        np.testing.assert_allclose(one["relevance"], shares.T[wanted], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(one["logits"], logits[wanted], rtol=1e-4)
        assert one["scores"] == pytest.approx(list((np.exp(logits) / np.exp(logits).sum())[wanted]))
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("<figure") == sum(
        len(one["classes"]) for one in stored("page.jsonl").values()
    )


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({"FORCE_COLOR": "1"}, True), ({}, False), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_and_those_who_want_them(run, monkeypatch, environment, colours):
    for name, value in {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}.items():
        monkeypatch.setenv(name, value)
    code, out, _ = run("a good film")
    assert (code, bool(ESCAPES.search(out))) == (0, colours)
    assert ("good(" in out) is not colours
    if colours:
        assert "[CLS]a good film[SEP]" in ESCAPES.sub("", out)
        assert re.search(r"48;2;(203;24;29|33;102;172)m", out), "one token is at an end"


def test_a_text_cannot_send_anything_to_the_terminal_or_the_page(run):
    text = "a \x1b[31m <script>good</script> film"
    code, out, _ = run(text, "--out", "page.html")
    assert (code, "\x1b" in out, "?" in out) == (0, False, True)
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;" in page


def test_words_are_the_sums_over_their_pieces(run, small):
    text = "unlikely good"
    _, pieces, _ = run(text, "--classes", "positive", "--out", "pieces.html")
    _, words, _ = run(text, "--classes", "positive", "--out", "words.html", "--words")
    numbers = lambda out: re.findall(r"(\S+?)\(([^)]+)\)", out.splitlines()[1])
    assert [text for text, _ in numbers(pieces)] == ["[CLS]", "un", "like", "ly", "good", "[SEP]"]
    assert [text for text, _ in numbers(words)] == ["[CLS]", "unlikely", "good", "[SEP]"]
    _, shares, _ = by_hand(small, text)
    assert float(numbers(words)[1][1]) == pytest.approx(shares[1:4, 1].sum(), rel=0.06)
    assert stored("pieces.jsonl") == stored("words.jsonl")


LINES = ["a good film", "", "bad", "  ", "a very dull film.", "bad", "fine"]


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(LINES).encode())
    return path


def test_a_file_has_a_text_on_each_line_and_a_progress_bar(run, text_file, small):
    code, out, err = run("good", "--file", text_file, "--batch-size", 2, "--out", "page.html")
    assert code == 0
    headings = out.splitlines()[0:-1:2]
    places = [re.match(r"texts.txt:(\d+): ", heading) for heading in headings]
    assert [place and int(place[1]) for place in places] == [None, 1, 3, 5, 6, 7]
    assert re.search(r"explaining: 100%.*5/5", err), "bad is explained once and shown twice"
    assert list(stored("page.jsonl")) == ["good", "a good film", "bad", "a very dull film.", "fine"]
    assert Path("page.html").read_text().count("<figure") == 6
    batches = {text: one["relevance"] for text, one in stored("page.jsonl").items()}
    for text, relevance in batches.items():
        _, shares, logits = by_hand(small, text)
        np.testing.assert_allclose(relevance[0], shares[:, logits.argmax()], rtol=1e-4, atol=1e-7)


def test_an_interrupted_run_goes_on_and_does_nothing_twice(run, text_file, monkeypatch):
    words = ("--file", text_file, "--batch-size", 1, "--out", "page.html")
    code, whole, _ = run("--file", text_file, "--batch-size", 1, "--out", "whole.html")
    kept, keep = [], text_results.TextResults.keep

    def interrupt(results, explanations):
        if len(kept) == 2:
            raise KeyboardInterrupt
        explanations = list(explanations)
        kept.extend(one.text for one in explanations)
        keep(results, explanations)

    with monkeypatch.context() as patch:
        patch.setattr(text_results.TextResults, "keep", interrupt)
        code, _, err = run(*words)
    assert (code, "the same command goes on from there" in err) == (130, True)
    assert "page.html" not in files()
    with Path("page.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "a very dull')  # a killed process may have written half a line
    again = []

    def count(results, explanations):
        explanations = list(explanations)
        again.extend(one.text for one in explanations)
        keep(results, explanations)

    monkeypatch.setattr(text_results.TextResults, "keep", count)
    code, out, err = run(*words)
    assert (code, sorted(kept + again)) == (0, sorted({line for line in LINES if line.strip()}))
    assert "3 done already" in err, "bad stands there twice"
    assert out == whole.replace("whole.", "page.")
    assert stored("page.jsonl") == stored("whole.jsonl")
    assert Path("page.html").read_text() == Path("whole.html").read_text()
    again.clear()
    assert run(*words)[0] == 0
    assert again == []
    assert run(*words, "--force")[0] == 0
    assert len(again) == 4


def test_the_results_of_another_run_are_left_alone(run, text_file):
    run("--file", text_file, "--out", "page.html")
    before = Path("page.jsonl").read_bytes()
    code, _, err = run("--file", text_file, "--out", "page.html", "--composite", "epsilon")
    assert code == 2
    assert "holds the results of another run; these differ: composite" in err
    assert "--force" in err
    Path("mine.jsonl").write_text('{"text": "not yours"}\n')
    for force in ([], ["--force"]):
        code, _, err = run("good", "--out", "mine.html", *force)
        assert (code, "holds something else" in err) == (2, True)
    assert Path("page.jsonl").read_bytes() == before
    assert Path("mine.jsonl").read_text() == '{"text": "not yours"}\n'
    code, _, _ = run("bad", "--out", "page.html", "--composite", "epsilon", "--force")
    assert (code, list(stored("page.jsonl"))) == (0, ["bad"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to explain"),
        (["good", " "], "a text is empty"),
        (["good", "\udcff"], "not in UTF-8"),
        (["--file", "missing.txt"], "missing.txt: No such file"),
        (["--file", "."], "Is a directory"),
        (["--file", "latin.txt"], "latin.txt: it is not in UTF-8"),
        (["--file", "blank.txt"], "there is no text in it"),
        (["good", "--classes", "tabby"], "no class named 'tabby'"),
        (["good", "--classes", "3"], "classes 0 to 2; 3 is out of range"),
        (["good", "--top", "4"], "--top 4: small knows 3 classes"),
        (["good", "--composite", "attn"], "no composite named 'attn'"),
        (["good", "--composite", "misfit.json"], "no_such_layer"),
        (["good", "--out", "page.png"], "--out page.png: name an HTML file"),
        (["good", "--out", "latin.txt/page.html"], "latin.txt: "),
    ],
)
def test_a_command_that_does_not_fit_is_refused_before_any_work(run, words, message):
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("blank.txt").write_text(" \n\n")
    Path("misfit.json").write_text('{"layers": {"no_such_layer": {"rule": "Epsilon"}}}')
    before = files()
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("lrpjax: error: ") and err.count("\n") == 1
    assert message in err
    assert files() == before


def test_an_unknown_model_is_refused_with_the_known_ones(run):
    code, _, err = run("good", model="efficientnet_lite0")
    assert (code, "no model named 'efficientnet_lite0'" in err) == (2, True)
    assert "minilm_sst2" in err


def test_what_cannot_be_written_is_said(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(explain_text, "write_whole", full)
    code, out, err = run("good", "--out", "page.html")
    assert (code, "[CLS]" in out) == (1, True)
    assert said(err) == ["lrpjax: page.html: No space left on device"]


def test_a_text_longer_than_the_network_reads_is_said(run, monkeypatch):
    short = small_text.classifier(longest=4)
    monkeypatch.setitem(models.TEXT_MODELS, "short", lambda: short)
    code, out, err = run("good bad fine", model="short")
    assert (code, said(err)) == (0, ["lrpjax: this text: only its first 4 tokens are read"])
    assert out.splitlines()[1].endswith("[SEP]" + out.splitlines()[1].split("[SEP]")[1])
    assert "fine" in out


def test_relevance_that_is_not_finite_is_said_of_its_text_alone(run, monkeypatch):
    broken = small_text.classifier(small_text.Bag(seed=3))
    table = np.array(broken.model.words.embedding[...])
    table[small_text.VOCABULARY["dull"]] = np.inf
    broken.model.words.embedding[...] = table
    monkeypatch.setitem(models.TEXT_MODELS, "broken", lambda: broken)
    code, _, err = run("good", "dull", "fine", "--out", "page.html", model="broken")
    assert (code, said(err)) == (1, ["lrpjax: this text: its relevance is NaN or infinite"])
    assert list(stored("page.jsonl")) == ["good", "fine"]


def test_few_programs_are_compiled_whatever_the_lengths(run, text_file):
    texts = ["good " * n for n in range(1, 13)]
    programs = explain_text.explained._cache_size()
    run(*texts, "--batch-size", 5, "--top", 2)
    assert explain_text.explained._cache_size() == programs + 1


def test_a_text_needs_nothing_that_photographs_do(tmp_path):
    script = (
        "import sys\n"
        "for name in ('PIL', 'matplotlib', 'skimage', 'torch'): sys.modules[name] = None\n"
        "from lrpjax.cli import main\n"
        "import lrpjax.cli.explain_text\n"
        "sys.exit(main(['explain-text', 'good', '--model', 'none']))"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert (done.returncode, "no model named 'none'" in done.stderr) == (2, True), done.stderr


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    for name in ("lrpjax.cli.coloured", "lrpjax.cli.explain_text"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert main(["explain-text", "good"]) == 2
    assert "pip install 'lrpjax[text]'" in capsys.readouterr().err


def test_an_attention_network_is_explained(run, monkeypatch):
    head = nnx.Linear(small_text.CONFIG.features, 3, rngs=nnx.Rngs(0))
    model = minilm.BertClassifier(small_text.encoder(), head)
    whole = small_text.classifier(model)
    monkeypatch.setitem(models.TEXT_MODELS, "bert", lambda: whole)
    code, _, _ = run("a good film", "unlikely", "--out", "page.html", model="bert")
    assert code == 0
    for text, one in stored("page.jsonl").items():
        assert np.shape(one["relevance"]) == (1, len(whole.tokenize([text]).tokens[0]))
        assert np.abs(one["relevance"]).max() > 0
