"""Pictures of relevance: zero in the middle, robust ranges, and figures that own themselves."""

import subprocess
import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import Colormap, ListedColormap, Normalize
from PIL import Image

from lrpjax import plot

# The colours of -limit, zero and +limit, from the definitions of the maps.
ENDS_AND_MIDDLE = {
    "seismic": ([0, 0, 76], [255, 255, 255], [127, 0, 0]),
    "bwr": ([0, 0, 255], [255, 255, 255], [255, 0, 0]),
    "coldnhot": ([0, 255, 255], [0, 0, 0], [255, 255, 255]),
    "hot": ([0, 0, 0], [0, 0, 0], [255, 255, 255]),
    "gray": ([0, 0, 0], [0, 0, 0], [255, 255, 255]),
    "wred": ([255, 255, 255], [255, 255, 255], [255, 0, 0]),
}


@pytest.fixture
def relevance():
    return np.random.default_rng(0).standard_normal((3, 16, 12, 3)).astype(np.float32)


def nth_largest(maps, percentile):
    """The percentile by its definition: linear between the two nearest of the sorted |R|."""
    ordered = sorted(abs(float(value)) for value in np.ravel(maps))
    place = percentile / 100 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("cmap", ENDS_AND_MIDDLE)
def test_zero_is_the_middle_colour_and_the_limits_are_the_ends(cmap):
    pixels = plot.heatmap([[-2.0, 0.0, 2.0]], cmap=cmap, percentile=100, channel_axis=None)
    assert pixels.dtype == np.uint8
    assert tuple(pixels[0].tolist()) == ENDS_AND_MIDDLE[cmap]


@pytest.mark.parametrize("cmap", ENDS_AND_MIDDLE)
def test_a_map_of_zeros_has_the_middle_colour_everywhere(cmap):
    pixels = plot.heatmap(np.zeros((2, 5, 4, 3)), cmap=cmap)
    assert pixels.shape == (2, 5, 4, 3)
    assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [ENDS_AND_MIDDLE[cmap][1]]


def test_coldnhot_turns_red_and_yellow_on_the_way_to_white():
    thirds = np.array([[1 / 3, 2 / 3, -1 / 2]])
    pixels = plot.heatmap(thirds, cmap="coldnhot", limit=1, channel_axis=None)[0].astype(int)
    known = np.array([[255, 0, 0], [255, 255, 0], [0, 0, 255]])
    # The nearest of 257 colours is at most half a step away: 255 in 256/6 steps, halved, is 3.
    assert np.abs(pixels - known).max() <= 3


def test_any_map_of_matplotlib_or_a_colormap_itself_is_taken():
    assert plot.heatmap(np.ones((2, 2, 3)), cmap="PiYG").shape == (2, 2, 3)
    three = ListedColormap(["red", "black", "lime"])
    pixels = plot.heatmap([[-1.0, 0.0, 1.0]], cmap=three, channel_axis=None)
    assert pixels[0].tolist() == [[255, 0, 0], [0, 0, 0], [0, 255, 0]]
    assert isinstance(plot.colour_map("bwr"), Colormap)


def test_an_unknown_colour_map_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'sesmic'.*seismic, bwr, coldnhot"):
        plot.heatmap(np.zeros((2, 2, 3)), cmap="sesmic")


@pytest.mark.parametrize("percentile", [50, 99.5, 100])
def test_the_range_is_a_percentile_of_the_absolute_sums_over_channels(relevance, percentile):
    maps = relevance.astype(np.float64).sum(-1)
    expected = [nth_largest(one, percentile) for one in maps]
    np.testing.assert_allclose(
        plot.symmetric_limit(relevance, percentile=percentile), expected, rtol=1e-12
    )
    together = plot.symmetric_limit(relevance, percentile=percentile, normalise="batch")
    np.testing.assert_allclose(together, [nth_largest(maps, percentile)] * 3, rtol=1e-12)


def test_one_hot_pixel_does_not_stretch_the_range():
    hot = np.random.default_rng(2).standard_normal((30, 30, 3))
    calm = plot.symmetric_limit(hot)
    hot[3, 3] = 1e6
    assert plot.symmetric_limit(hot) < 2 * calm
    assert plot.symmetric_limit(hot, percentile=100) == pytest.approx(3e6)


def test_a_map_with_relevance_on_a_single_pixel_still_shows_it():
    lonely = np.zeros((100, 100))
    lonely[7, 9] = 0.25
    assert plot.symmetric_limit(lonely, channel_axis=None) == 0.25
    assert plot.heatmap(lonely, channel_axis=None)[7, 9].tolist() == [127, 0, 0]


def test_images_are_normalised_alone_or_as_a_batch(relevance):
    scaled = relevance * np.array([1, 10, 100], np.float32)[:, None, None, None]
    alone = plot.heatmap(scaled)
    for one, pixels in zip(scaled, alone, strict=True):
        np.testing.assert_array_equal(plot.heatmap(one), pixels)
    # Alone, the scale of a map does not show; in a batch, the weakest one pales.
    assert np.abs(plot.heatmap(relevance).astype(int) - alone).max() <= 2
    batch = plot.heatmap(scaled, normalise="batch")
    whiteness = batch.astype(float).mean(axis=(1, 2, 3))
    assert whiteness[0] > whiteness[1] > whiteness[2]


def test_a_given_limit_replaces_the_percentile(relevance):
    maps = relevance.sum(-1)
    np.testing.assert_array_equal(
        plot.heatmap(maps, limit=2.5, channel_axis=None),
        plot.heatmap(np.clip(maps, -2.5, 2.5), limit=[2.5, 2.5, 2.5], channel_axis=None),
    )
    with pytest.raises(ValueError, match="above 0"):
        plot.heatmap(maps, limit=0, channel_axis=None)


def test_relevance_may_be_channels_first_jax_and_half_precision(relevance):
    expected = plot.heatmap(relevance)
    np.testing.assert_array_equal(
        plot.heatmap(np.moveaxis(relevance, -1, 1), channel_axis=1), expected
    )
    np.testing.assert_array_equal(plot.heatmap(jnp.asarray(relevance)), expected)
    half = plot.heatmap(jnp.asarray(relevance, jnp.bfloat16)).astype(int)
    assert np.abs(half - expected).mean() < 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((2, 2, 3), np.nan), "NaN or infinite at 4 of 4"),
        (np.array([[[np.inf], [0.0]]]), "NaN or infinite at 1 of 2"),
        (np.zeros(4), "rows and columns"),
        (np.zeros((0, 2, 3)), "nothing to show"),
        (np.zeros((2, 2, 3), complex), "complex"),
    ],
)
def test_relevance_that_cannot_be_shown_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        plot.heatmap(bad)


@pytest.mark.parametrize(
    "options", [{"percentile": 0}, {"percentile": 101}, {"normalise": "pixel"}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        plot.heatmap(np.zeros((2, 2, 3)), **options)


def test_an_overlay_leaves_the_photograph_in_grey_where_there_is_no_relevance(relevance):
    photograph = np.random.default_rng(1).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    quiet = relevance[0].copy()
    quiet[:8] = 0
    grey = np.asarray(Image.fromarray(photograph).convert("L")).astype(int)
    for cmap in ENDS_AND_MIDDLE:
        pixels = plot.overlay(photograph, quiet, cmap=cmap).astype(int)
        assert np.abs(pixels[:8] - grey[:8, :, None]).max() <= 1
    assert np.abs(plot.overlay(photograph, quiet, alpha=0) - grey[..., None]).max() <= 1


def test_an_overlay_has_the_colour_of_the_heatmap_where_relevance_is_strongest():
    strong = np.array([[1.0, -1.0]])
    pixels = plot.overlay(np.zeros((1, 2)), strong, alpha=1, channel_axis=None)
    np.testing.assert_array_equal(
        pixels, plot.heatmap(strong, cmap="bwr", percentile=100, channel_axis=None)
    )


def test_photographs_come_as_bytes_floats_or_pillow_images(relevance):
    photograph = np.random.default_rng(1).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    expected = plot.overlay(photograph, relevance[0])
    for same in (photograph / 255, photograph.astype(np.float32), Image.fromarray(photograph)):
        np.testing.assert_array_equal(plot.overlay(same, relevance[0]), expected)
    for bad in (photograph - 127.0, photograph[..., :2], photograph[0, :, 0]):
        with pytest.raises(ValueError, match="photograph"):
            plot.overlay(bad, relevance[0])
    with pytest.raises(ValueError, match=r"\(16, 12\).*\(15, 12\)"):
        plot.overlay(photograph[:15], relevance[0])


def test_a_figure_shows_the_photograph_and_one_heatmap_per_class(relevance):
    photograph = np.random.default_rng(1).integers(0, 256, (32, 24, 3), dtype=np.uint8)
    titles, scores = ["espresso", "cup_$1$", "eggnog"], [0.951, 0.02, 0.001]
    drawn = plot.figure(photograph, relevance, titles=titles, scores=scores)
    first, *rest = drawn.axes
    maps, bars = rest[:3], rest[3:]
    assert first.get_title() == "photograph"
    np.testing.assert_array_equal(first.images[0].get_array(), photograph)
    assert [axes.get_title() for axes in maps] == ["espresso 0.95", "cup_$1$ 0.02", "eggnog 0.00"]
    limits = plot.symmetric_limit(relevance)
    for axes, bar, one, limit in zip(maps, bars, relevance, limits, strict=True):
        shown = axes.images[0]
        np.testing.assert_allclose(shown.get_array(), one.sum(-1), rtol=1e-5, atol=1e-6)
        assert isinstance(shown.norm, Normalize)
        assert (shown.norm.vmin, shown.norm.vmax) == (-limit, limit)
        assert shown.colorbar.ax is bar
        assert bar.get_yticks().tolist() == [-limit, 0, limit]
        np.testing.assert_array_equal(
            shown.to_rgba(shown.get_array(), bytes=True)[..., :3], plot.heatmap(one)
        )


def test_a_figure_with_a_shared_range_has_equal_colour_bars(relevance):
    scaled = relevance * np.array([1, 10, 100], np.float32)[:, None, None, None]
    drawn = plot.figure(np.zeros((16, 12, 3)), scaled, normalise="batch", columns=2)
    ranges = {axes.images[0].norm.vmax for axes in drawn.axes[1:4]}
    assert ranges == {nth_largest(scaled.astype(np.float64).sum(-1), 99.5)}
    assert len({round(axes.get_position().y0, 2) for axes in drawn.axes[:4]}) == 2, "two rows"


def test_a_figure_of_one_map_of_zeros_is_drawn(tmp_path):
    drawn = plot.figure(np.zeros((4, 4)), np.zeros((4, 4)), channel_axis=None)
    drawn.savefig(tmp_path / "zeros.png")
    assert Image.open(tmp_path / "zeros.png").format == "PNG"
    assert (drawn.axes[1].images[0].norm.vmin, drawn.axes[1].images[0].norm.vmax) == (-1, 1)


@pytest.mark.parametrize("options", [{"titles": ["one"]}, {"scores": [1.0]}, {"columns": 0}])
def test_a_figure_that_does_not_add_up_is_refused(relevance, options):
    with pytest.raises(ValueError, match=r"heatmaps|column"):
        plot.figure(np.zeros((16, 12, 3)), relevance, **options)


def test_drawing_needs_no_display_and_leaves_pyplot_alone():
    program = (
        "import sys, numpy as np; from lrpjax import plot\n"
        "assert 'matplotlib' not in sys.modules, 'matplotlib is imported only to draw'\n"
        "plot.figure(np.zeros((4, 4, 3)), np.ones((2, 4, 4, 3))).savefig(sys.stdout.buffer)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, env={"PATH": ""})
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout.startswith(b"\x89PNG")


def test_drawing_leaves_the_settings_of_matplotlib_alone(relevance):
    before = dict(matplotlib.rcParams), sorted(matplotlib.colormaps)
    plot.figure(np.zeros((16, 12, 3)), relevance, cmap="coldnhot").canvas.draw()
    assert (dict(matplotlib.rcParams), sorted(matplotlib.colormaps)) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'lrpjax\[plot\]'"):
        plot.heatmap(np.zeros((2, 2, 3)))


def test_a_single_map_needs_no_word_about_channels():
    one = np.array([[-2.0, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(plot.heatmap(one), plot.heatmap(one, channel_axis=None))
