"""Bootstrap intervals, paired differences, and the table and the figure that show them."""

import matplotlib
import numpy as np
import pytest

from lrpjax.evaluation import (
    METRICS,
    PerturbationCurves,
    bootstrap,
    curve_figure,
    paired_difference,
    table,
)

SETTINGS = {
    "operator": "UniformNoise(low=0.0, high=255.0)",
    "score": "probability",
    "region": [9, 9],
    "steps": 6,
    "per_step": 2,
    "repetitions": 3,
    "seed": 0,
}


def curves(name, fall, count=200, orders=("MoRF", "LeRF"), **settings):
    """Curves that fall from a score of each image's own, the first order's twice as fast."""
    rng = np.random.default_rng(0)
    start = rng.normal(5, 2, (1, count, 1))
    rate = fall * np.array([1.0, 0.5])[: len(orders), None, None]
    noise = 0.01 * np.random.default_rng(sum(map(ord, name))).normal(size=(len(orders), count, 7))
    scores = start - rate * np.arange(7) + noise
    kept = {**SETTINGS, **settings}
    return PerturbationCurves(name, orders, scores, np.zeros(count, int), kept)


def test_the_interval_is_that_of_means_of_images_drawn_again():
    values = np.random.default_rng(5).exponential(size=40)
    rng = np.random.default_rng(77)
    means = []
    for _ in range(4000):
        total = 0.0
        for _ in range(40):
            total += values[rng.integers(40)]
        means.append(total / 40)
    means.sort()
    found = bootstrap(values, level=0.9, resamples=4000)
    assert found.mean == pytest.approx(values.mean())
    # Two bootstraps of 4000 draws differ by about 2 % of the interval's width.
    width = means[3800] - means[200]
    assert found.low == pytest.approx(means[200], abs=0.08 * width)
    assert found.high == pytest.approx(means[3800], abs=0.08 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(6)
    covered = 0
    for number in range(300):
        found = bootstrap(rng.normal(size=60), level=0.8, resamples=300, seed=number)
        covered += found.low < 0 < found.high
    # 240 expected, with a standard deviation of 7; percentile intervals are a little short.
    assert 210 < covered < 262


def test_columns_share_their_draws_and_any_memory_limit_gives_the_same(monkeypatch):
    values = np.random.default_rng(7).normal(size=(50, 2, 3))
    whole = bootstrap(values, seed=3, resamples=100)
    assert whole.low.shape == (2, 3)
    doubled = bootstrap(np.concatenate([values, 2 * values], axis=1), seed=3, resamples=100)
    np.testing.assert_allclose(doubled.low[2:], 2 * doubled.low[:2])
    np.testing.assert_allclose(doubled.low[:2], whole.low)
    again = bootstrap(values, seed=3, resamples=100)
    np.testing.assert_array_equal(again.high, whole.high)
    monkeypatch.setattr("lrpjax.evaluation.statistics._DRAWS_AT_A_TIME", 50 * 7)
    np.testing.assert_allclose(bootstrap(values, seed=3, resamples=100).low, whole.low)


def test_one_image_has_no_interval():
    alone = bootstrap([3.0])
    assert (alone.mean, str(alone)) == (3.0, "3")
    assert np.isnan(alone.low) and not alone.excludes_zero


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([], {}),
        (3.0, {}),
        ([1.0, np.nan], {}),
        ([1.0, 2.0], {"level": 1.0}),
        ([1.0, 2.0], {"resamples": 0}),
    ],
)
def test_a_bootstrap_of_nothing_is_refused(values, options):
    with pytest.raises(ValueError):
        bootstrap(values, **options)


def test_a_paired_difference_is_known_better_than_either_mean():
    one, other = curves("one", 1.00), curves("other", 0.98)
    difference = paired_difference(one, other, "AOPC")
    # A curve that falls by c each step has an AOPC of 3 c.
    assert difference.mean == pytest.approx(3 * 0.02, abs=0.002)
    assert difference.excludes_zero
    assert difference.high - difference.low < 0.01
    area = bootstrap(one.auc())
    assert area.high - area.low > 1, "the images themselves differ much more"
    assert paired_difference(one, one, "AUC").excludes_zero is False
    for metric in METRICS:
        back = paired_difference(other, one, metric, order="LeRF")
        forth = paired_difference(one, other, metric, order="LeRF")
        assert back.mean == pytest.approx(-forth.mean)


def test_the_table_says_what_was_done_and_how_sure_it_is():
    one, other = curves("epsilon", 1.0), curves("gamma", 0.5)
    text = table([one, other], baseline="gamma")
    first, second, header, _, *rows = text.splitlines()
    assert first == (
        "200 images; operator UniformNoise(low=0.0, high=255.0); score probability; regions 9×9; "
        "6 steps of 2; 3 repetitions; seed 0"
    )
    assert second == "mean over images [95 % bootstrap interval]"
    assert header.split("  ")[0] == "method"
    assert [name for name in ("ABPC", "AOPC MoRF", "AUC MoRF", "AUC LeRF") if name in header] == [
        "ABPC",
        "AOPC MoRF",
        "AUC MoRF",
        "AUC LeRF",
    ]
    assert rows[0].startswith("epsilon  " + str(bootstrap(one.abpc())))
    assert str(bootstrap(other.auc("LeRF"))) in rows[1]
    assert rows[3] == "difference to gamma, image by image"
    assert str(paired_difference(one, other, "ABPC")) in rows[-1]
    assert len(rows) == 7, "gamma does not differ from itself"


def test_the_figure_shows_mean_curves_and_bands():
    one, other = curves("$ε$", 1.0), curves("gamma", 0.5)
    drawn = curve_figure([one, other], resamples=200)
    assert "UniformNoise" in drawn.get_suptitle() and "9×9" in drawn.get_suptitle()
    morf, lerf = drawn.axes
    assert morf.get_title() == "most relevant first (MoRF)"
    for axes, order in ((morf, "MoRF"), (lerf, "LeRF")):
        for line, band, given in zip(axes.lines, axes.collections, (one, other), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), 2 * np.arange(7))
            mean = given.curve(order).mean(0)
            np.testing.assert_allclose(line.get_ydata(), mean)
            edge = band.get_paths()[0].vertices
            at_end = edge[edge[:, 0] == 12][:, 1]
            assert at_end.min() < mean[-1] < at_end.max()
    assert [text.get_text() for text in morf.get_legend().get_texts()] == [r"\$ε\$", "gamma"]
    drawn.canvas.draw()
    assert "pyplot" not in dir(matplotlib) or not matplotlib.pyplot.get_fignums()


def test_orders_that_only_one_method_has_are_left_out():
    both, one = curves("both", 1.0), curves("one", 1.0, orders=("MoRF",))
    assert "LeRF" not in table([both, one])
    assert len(curve_figure([one, both], resamples=20).axes) == 1
    alone = curves("alone", 1.0, count=1)
    assert len(curve_figure([alone]).axes[0].collections) == 0
    row = table([alone]).splitlines()[-1]
    assert row.startswith("alone ") and "[" not in row
