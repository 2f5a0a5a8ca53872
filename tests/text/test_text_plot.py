"""Coloured texts: what is cut where, which colours, and pages that are safe to open."""

from html.parser import HTMLParser

import numpy as np
import pytest

from lrpjax import plot
from lrpjax.plot import Segment

TEXT = "Café <b>so</b> dull & \u202e long\u0000"
TOKENS = [("[CLS]", 0, 0), ("cafe", 0, 4), ("<", 5, 6), ("so", 8, 10), ("dull", 15, 19)]


class Page(HTMLParser):
    """The texts, colours and tags of a page, as a browser reads it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.tokens, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":  # which has no end
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.texts.append(data)
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "span" and "title" in attributes:
            self.tokens.append((data, attributes["title"], attributes["style"]))


def relevance(*values):
    return plot.text_segments(TEXT, TOKENS[: len(values)], values)


def test_a_text_is_cut_at_its_tokens_and_nothing_of_it_is_lost():
    segments = relevance(0.5, 1.0, -1.0, 2.0, -2.0)
    assert [s.text for s in segments if s.relevance is not None] == [
        "[CLS]",
        "Café",
        "<",
        "so",
        "dull",
    ]
    assert "".join(s.text for s in segments[1:]) == TEXT
    assert segments[-1] == Segment(TEXT[19:], None)


def test_tokens_that_share_a_letter_show_it_once():
    segments = plot.text_segments("½", [("1", 0, 1), ("##⁄", 0, 1)], [1.0, 2.0])
    assert segments == [Segment("½", 1.0), Segment("##⁄", 2.0)]


def test_colours_are_symmetrical_about_zero():
    values = np.array([0.0, 0.25, -0.25, 1.0, -1.0, 2.0, -2.0])
    rgb = lambda colour: np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    backgrounds = [rgb(background) for background, _ in plot.text_colours(values)]
    np.testing.assert_array_equal(backgrounds[0], 255)
    away = [255 - one for one in backgrounds]
    for i in (1, 3, 5):
        positive, negative = away[i], away[i + 1]
        assert positive[0] < positive[1:].min() and negative[2] < negative[:2].min()
        # As far from white as the relevance is from zero, for either sign.
        for one, end in ((positive, away[5]), (negative, away[6])):
            np.testing.assert_allclose(one, end * values[i] / 2, atol=0.51)
    np.testing.assert_array_equal(plot.text_colours(3 * values), plot.text_colours(values))
    assert plot.text_colours([5.0], limit=2.0) == plot.text_colours([2.0], limit=2.0)


def test_letters_stand_out_from_their_background():
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for background, letters in plot.text_colours(np.linspace(-1, 1, 41)):
        low, high = sorted((luminance(background), luminance(letters)))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.1, contrast of plain text


def test_a_page_shows_each_text_escaped_with_its_legend_and_loads_nothing():
    segments = relevance(0.5, 1.0, -1.0, 2.0, -2.25)
    html = plot.text_html(segments, label="<i>good</i>", logit=1.5)
    page = Page(plot.text_page([html, html], title="A & <B>"))
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "body", "h1"),
        *("figure", "figcaption", "bdi", "span", "div"),
    }
    everything = "".join(page.texts)
    assert everything.count(TEXT.rstrip("\0")) == 2
    assert everything.count("<i>good</i>, logit 1.5, sum of relevance 0.25") == 2
    assert "A & <B>" in everything
    attributes = " ".join(str(a) for _, a in page.tags)
    assert "http" not in attributes and "url(" not in attributes and "src" not in attributes


def test_tokens_have_their_colours_and_numbers():
    values = [0.5, 1.0, -1.0, 2.0, -2.0]
    page = Page(plot.text_html(relevance(*values)))
    expected = plot.text_colours(values)
    shown = ["[CLS]", "Café", "<", "so", "dull"]
    assert [(text, float(title)) for text, title, _ in page.tokens] == list(
        zip(shown, values, strict=True)
    )
    for (_, _, style), (background, letters) in zip(page.tokens, expected, strict=True):
        assert f"background:{background};color:{letters}" in style


def test_nothing_and_zeros_can_be_shown():
    assert Page(plot.text_html([])).tokens == []
    ((_, title, style),) = Page(plot.text_html([Segment("so", 0.0)])).tokens
    assert (float(title), "#ffffff" in style) == (0.0, True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.text_segments("so", [("so", 0, 2)], []), r"shape \(0,\) for 1 token"),
        (lambda: plot.text_segments("so", [("so", 0, 2)], [np.nan]), "at 1 of 1 tokens"),
        (lambda: plot.text_html([Segment("so", np.inf)]), "at 1 of 1 tokens"),
        (lambda: plot.text_html([Segment("so", 1.0)], limit=0.0), "above 0, not 0.0"),
        (lambda: plot.text_colours([1.0], limit=np.nan), "above 0, not nan"),
    ],
)
def test_what_cannot_be_shown_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
