import json
import math
import random

import pytest

from detnas.evaluation.readiness import kendall_tau, read_evaluations, readiness_warning


def test_tau_is_1_for_the_same_order_and_minus_1_for_the_opposite_one():
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # 5 pairs in the same order, 1 in the other.
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)


@pytest.mark.parametrize("a, b", [([], []), ([1], [1]), ([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [2, 2, 2])])
def test_tau_is_no_number_where_there_is_no_order(a, b):
    assert math.isnan(kendall_tau(a, b))


@pytest.mark.parametrize("values", [3, 8, 1000])
def test_tau_is_that_of_scipy_also_with_ties(values):
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(values)
    for length in (2, 5, 16, 40):
        a, b = ([rng.randrange(values) for _ in range(length)] for _ in range(2))
        assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, nan_ok=True)


def write(folder, *lines):
    texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
    (folder / "metrics.json").write_text("".join(texts))


def test_evaluations_are_read_in_their_order_without_other_lines_and_half_ones(tmp_path):
    assert read_evaluations(str(tmp_path)) == []
    first, second = ({"iteration": i, "supernet/mean": 1.0} for i in (9, 4))
    write(tmp_path, {"iteration": 0, "total_loss": 2.0}, first, second, '{"iteration": 14, "supernet/mea')
    assert read_evaluations(str(tmp_path)) == [first, second]


def test_a_ranking_that_still_changed_or_was_not_compared_is_warned_of(tmp_path):
    weights = str(tmp_path / "model_final.pth")
    assert "was not measured (no supernet/agreement in " in readiness_warning(weights)
    names = {f"{name}/bbox/{metric}": 1.0 for name in ("all_3x3", "random_1") for metric in ("AP", "AP50")}
    settled = {"iteration": 9, "supernet/mean": 1.0, "supernet/agreement": 0.6, **names}
    changing = {**settled, "supernet/agreement": 0.31}
    write(tmp_path, changing, settled)
    assert readiness_warning(weights) is None
    write(tmp_path, settled, changing)
    assert readiness_warning(weights).startswith(
        "the supernet's ranking of 2 fixed paths agreed by 0.31 (tau) with that of the evaluation before"
    )
    write(tmp_path, settled, {"iteration": 9, "supernet/mean": 1.0})
    assert "was not measured" in readiness_warning(weights)
