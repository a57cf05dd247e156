"""The table of trained networks."""

import re

import pytest
from run_folders import leave_run, trained

from detnas import report
from detnas.report.runs import trained_last

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
COCO = {f"bbox/{name}": 36.64 - number for number, name in enumerate(NAMES)}


def evaluated(folder, config="COCO/detnas_fpn_300M_1x", results=COCO, iteration=90000, prefix="", **settings):
    """A training that ended with an evaluation."""
    found = {f"{prefix}{name}": value for name, value in results.items()}
    return leave_run(folder, config, [trained(iteration - 1), {"iteration": iteration, **found}], **settings)


def rows(table):
    """The table's rows as dicts."""
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return [dict(zip(head, line)) for line in lines]


def test_the_table_has_what_the_papers_table_has(tmp_path):
    weights = tmp_path / "pretrained" / "model_final.pth"
    evaluated(weights.parent, "ImageNet/detnas_300M", {"classification/top1": 73.84}, 300000)
    found = evaluated(tmp_path / "a", MODEL__WEIGHTS=weights)
    other = evaluated(tmp_path / "b", ARCH="0000-0000-00000000-0001", MODEL__WEIGHTS="")
    first, second = rows(report.results_table([found, other]))
    scores = dict(zip(NAMES, ("36.6", "35.6", "34.6", "33.6", "32.6", "31.6")))
    assert first == {"folder": "a", "network": "DetNAS-COCO-FPN-300M", "M multiply-adds": "288.1", "top-1": "73.8",
                     "detector": "Faster R-CNN", "tested on": "coco_2017_val", **scores}
    assert second["network"] == "0000-0000-00000000-0001" and second["top-1"] == ""


def test_of_voc_there_is_ap50_and_no_ap_by_size(tmp_path):
    results = {"bbox/AP": 50.0, "bbox/AP50": 81.5, "bbox/AP75": 55.0}
    (row,) = rows(report.results_table([evaluated(tmp_path / "a", "VOC/detnas_retinanet_300M", results, 22500)]))
    assert row["AP50"] == "81.5" and row["detector"] == "RetinaNet" and "APs" not in row and "top-1" not in row


def test_a_resnet_has_its_name_and_its_multiply_adds(tmp_path):
    (row,) = rows(report.results_table([evaluated(tmp_path / "a", "COCO/R_50_fpn_4conv1fc_1x")]))
    # As torchvision counts it, less the 2M of its linear layer.
    assert row["network"] == "ResNet-50" and float(row["M multiply-adds"]) == pytest.approx(4087, rel=0.01)


def test_of_several_test_sets_the_first_one_counts(tmp_path):
    sets = {"DATASETS__TEST": "('coco:a/one.json:a', 'coco:a/two.json:a')", "prefix": "coco:a/one.json:a/"}
    (row,) = rows(report.results_table([evaluated(tmp_path / "a", **sets)]))
    assert row["AP"] == "36.6" and row["tested on"] == "one.json"


def test_a_classifier_stands_with_its_top1(tmp_path):
    folder = evaluated(tmp_path / "a", "ImageNet/R_50", {"classification/top1": 76.0}, 125000)
    (row,) = rows(report.results_table([folder]))
    assert row["top-1"] == "76.0" and "AP" not in row


def test_what_was_trained_again_replaces_what_was_there():
    lines = [trained(19), trained(39), {"iteration": 45, "bbox/AP": 1.0}, trained(59), trained(39), trained(59)]
    assert trained_last(lines) == [trained(19), trained(39), trained(59)]
    # In one writing, an evaluation can come before the iteration that it followed.
    lines = [trained(19), {"iteration": 40, "bbox/AP": 1.0}, trained(39)]
    assert trained_last(lines) == lines


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"config": "COCO/supernet_fpn_300M"}, "is the folder of a supernet"),
        ({"results": {}}, "holds no bbox/AP50 in metrics.json"),
        ({"iteration": 59999}, "was evaluated last after 60000 of 90000 iterations"),
    ],
)
def test_a_folder_without_a_finished_network_is_named_in_one_sentence(tmp_path, settings, words, refused):
    folder = evaluated(tmp_path / "a", **settings)
    assert re.search(f"^{folder} {words}", refused(report.main, ["--table", folder]))


def test_a_training_that_began_again_is_not_finished_by_the_results_of_before(tmp_path):
    folder = evaluated(tmp_path / "a")
    with (tmp_path / "a" / "metrics.json").open("a") as f:
        f.write('{"iteration": 19, "total_loss": 3.0, "time": 0.5}\n')
    with pytest.raises(ValueError, match="holds no bbox/AP50"):
        report.results_table([folder])


def test_a_folder_without_a_config_and_a_damaged_one_are_named(tmp_path, refused):
    assert re.search(f"^{tmp_path} holds no config.yaml", refused(report.main, ["--table", str(tmp_path)]))
    (tmp_path / "config.yaml").write_text("MODEL: !!python/object/apply:os.getcwd []")
    assert re.search(f"^{tmp_path}/config.yaml: ", refused(report.main, ["--table", str(tmp_path)]))


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--out", "a.png"], "have no --out or --html"),
        (["--figure", "top"], "--figure goes with folders"),
        (["--archs", "DetNASNet-1.3G"], "give one of these"),
        (["--times", "a"], "give one of these"),
    ],
)
def test_one_kind_of_output_at_a_time(flags, words, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert re.search(words, refused(report.main, [*flags, "--table", "a"]))
    assert list(tmp_path.iterdir()) == []
