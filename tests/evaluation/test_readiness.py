import json
import math

import pytest

from detnas.evaluation.readiness import kendall_tau, read_evaluations, readiness_warning


def test_tau_is_1_for_the_same_order_and_no_number_where_there_is_none():
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert math.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))


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
        "the supernet's ranking of 2 fixed paths agreed by 0.31 (tau) with the evaluation before"
    )
    write(tmp_path, settled, {"iteration": 9, "supernet/mean": 1.0})
    assert "was not measured" in readiness_warning(weights)
