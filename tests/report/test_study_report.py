import math

import pytest
from drawn_axes import drawn_axes

from detnas.report import study
from detnas.report.study import (Network, correlation_table, correlations, kendall, plot_study, study_table,
                                 trained_table)

NETWORKS = [
    Network("random 1", "00-11", 280e6, 30.0, 4.0, {0: 40.0, 1: 42.0}),
    Network("random 2", "01-11", 270e6, 32.0, 3.0, {0: 41.0, 1: 40.0}),
    Network("random 3", "02-11", 260e6, 34.0, 2.0, {0: 44.0, 1: 45.0}),
    Network("winner", "03-11", 250e6, 36.0, 1.0, {0: 47.0, 1: 46.0}),
]


def test_kendalls_tau_is_that_of_a_count_by_hand():
    # Of the six pairs only the first two are in another order.
    tau, low, high = kendall([1, 2, 3, 4], [2, 1, 3, 4])
    assert tau == pytest.approx((5 - 1) / 6)
    assert low <= tau <= high == 1.0


def test_the_interval_is_the_same_one_for_the_same_seed_and_narrow_for_many_pairs():
    xs, ys = list(range(200)), [x + 30 * math.sin(7 * x) for x in range(200)]
    tau, low, high = kendall(xs, ys, seed=1)
    assert kendall(xs, ys, seed=1) == (tau, low, high)
    assert 0 < high - low < 0.15 and low < tau < high


def test_what_does_not_vary_has_no_rank():
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3])[0])


def test_predictors_are_compared_with_the_mean_of_the_seeds_and_seeds_with_each_other():
    found = correlations(NETWORKS)
    means = [41.0, 40.5, 44.5, 46.5]
    assert found["fitness, recalibrated"] == (*kendall([30, 32, 34, 36], means), 4)
    assert found["fitness, not recalibrated"][0] == -found["fitness, recalibrated"][0] < 0
    assert found["multiply-adds"][0] == found["fitness, not recalibrated"][0]
    assert found["seed 0 with seed 1"] == (*kendall([40, 41, 44, 47], [42, 40, 45, 46]), 4)


def test_the_table_has_the_best_first_and_every_figure():
    rows = study_table(NETWORKS).splitlines()
    assert rows[2].replace("|", " ").split() == ["winner", "03-11", "250", "36.0", "1.0", "47.0", "46.0", "46.5"]
    assert len(rows) == 2 + 4 and "random 2" in rows[-1]


def test_the_correlations_stand_beside_each_other():
    rows = correlation_table({"all": correlations(NETWORKS), "random": correlations(NETWORKS[:3])}).splitlines()
    assert len(rows) == 2 + 4 and "all" in rows[0] and "random" in rows[0]
    assert "+0.67  [" in rows[2]


TOP1 = {f"random {i}": {0: 70.0 + i, 1: 72.0 + i} for i in (1, 2, 3)} | {"winner": {0: 75.0, 1: 76.0}}


def test_random_networks_are_a_mean_and_a_deviation_beside_the_others():
    rows = trained_table(NETWORKS, "bbox/AP", TOP1).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0] == ["network", "bbox/AP, trained", "top-1"] and len(cells) == 4
    # Of 41, 40.5 and 44.5: 42, and the square root of (1 + 2.25 + 6.25) / 2.
    assert cells[2] == ["3 random networks", "42.0 ± 2.2", "73.0 ± 1.0"]
    assert cells[3] == ["winner", "46.5", "75.5"]


def test_the_picture_of_trained_networks_has_the_band_of_the_random_ones(tmp_path, monkeypatch):
    with drawn_axes(monkeypatch, study) as drawn:
        study.plot_trained(NETWORKS, "bbox/AP", TOP1, str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    for ax, xs in zip(drawn[0], ([280, 270, 260, 250], [72, 73, 74, 75.5])):
        low, high = ax.patches[0].get_extents().transformed(ax.transData.inverted()).intervaly
        assert (low, high) == pytest.approx((42 - 4.75**0.5, 42 + 4.75**0.5))
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == list(zip(xs, [41, 40.5, 44.5, 46.5]))
        assert [text.get_text() for text in ax.texts] == ["winner"]


def test_the_picture_is_written(tmp_path):
    files = [tmp_path / "study.png", tmp_path / "study.svg"]
    plot_study(NETWORKS, "bbox/AP", *map(str, files))
    assert files[0].read_bytes()[:4] == b"\x89PNG"
    text = files[1].read_text()
    assert "<svg" in text
