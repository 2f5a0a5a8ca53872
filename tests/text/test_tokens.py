"""Word pieces with their places, and words made of them again."""

import sys

import numpy as np
import pytest
from support import small_text
from support.small_text import VOCABULARY

from lrpjax.models import minilm
from lrpjax.models.minilm import Token, per_word


def test_a_token_knows_where_it_stands():
    texts = ["A gôod film.", "Unlikely  ☃"]
    ids, mask, tokens = small_text.tokenizer()(texts)
    assert [[token.string for token in row] for row in tokens] == [
        ["[CLS]", "a", "good", "film", ".", "[SEP]"],
        ["[CLS]", "un", "##like", "##ly", "[UNK]", "[SEP]"],
    ]
    covered = [
        [text[t.start : t.end] for t in row] for text, row in zip(texts, tokens, strict=True)
    ]
    assert covered == [["", "A", "gôod", "film", ".", ""], ["", "Un", "like", "ly", "☃", ""]]
    assert (ids.dtype, mask.dtype, ids.shape) == (np.int32, np.int32, (2, 8))
    assert ids[1].tolist() == [VOCABULARY[token.string] for token in tokens[1]] + [0, 0]
    assert mask.tolist() == [[1] * 6 + [0] * 2] * 2


def test_long_texts_are_cut_and_short_ones_padded():
    tokenizer = small_text.tokenizer(longest=5)
    ids, mask, tokens = tokenizer(["good " * 9, "bad"], length=6)
    assert ids.shape == (2, 6)
    assert mask.sum(1).tolist() == [5, 3]
    assert tokens[0][-1].string == "[SEP]"
    assert tokens[0][-2].end == len("good good good")
    with pytest.raises(ValueError, match="5 tokens; they do not fit into 4"):
        tokenizer(["good " * 9], length=4)


def test_what_is_no_text_and_no_tokenizer_is_refused(monkeypatch):
    tokenizer = small_text.tokenizer()
    with pytest.raises(ValueError, match="no text"):
        tokenizer([])
    with pytest.raises(TypeError, match="one string"):
        tokenizer("a film")
    with pytest.raises(ValueError, match="this is no tokenizer"):
        minilm.WordPieces("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'lrpjax\[text\]'"):
        minilm.WordPieces("{}")


def test_the_relevance_of_words_is_the_sum_over_their_pieces():
    text = "Unlikely good, unlike a film"
    ((tokens),) = small_text.tokenizer()([text]).tokens
    relevance = np.arange(1.0, len(tokens) + 3)
    relevance[len(tokens) :] = 0  # padding
    words = per_word(tokens, relevance)
    spans = [text[word.start : word.end] for word in words]
    assert spans == ["", "Unlikely", "good", ",", "unlike", "a", "film", ""]
    assert [word.string for word in words][:2] == ["[CLS]", "unlikely"]
    assert [word.relevance for word in words] == [1, 2 + 3 + 4, 5, 6, 7 + 8, 9, 10, 11]
    assert sum(word.relevance for word in words) == relevance.sum()


def test_relevance_of_another_text_is_refused():
    tokens = [Token("a", 0, 1), Token("##b", 1, 2)]
    with pytest.raises(ValueError, match=r"shape \(1,\) for 2 tokens"):
        per_word(tokens, [1.0])
    with pytest.raises(ValueError, match="at padding"):
        per_word(tokens, [1.0, 2.0, 0.5])
    # A piece that touches nothing before it is a word of its own.
    assert len(per_word([Token("a", 0, 1), Token("##b", 2, 3)], [1.0, 2.0])) == 2
