"""The paper's tables, of output folders as trainings and searches leave them."""

import json
import re

import pytest
from scripts import ROOT, script
from toy_runs import dotted

from detnas import get_space
from detnas.config.load import load_config
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog

paper_tables = script("tools", "paper_tables")

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
COCO = {f"bbox/{name}": 36.64 - number for number, name in enumerate(NAMES)}
TINY = get_space("tiny")


def load(config, **settings):
    """A config of ``configs/`` with settings such as ``SOLVER__MAX_ITER=10``."""
    words = [str(word) for pair in dotted(settings).items() for word in pair]
    return load_config(str(ROOT / "configs" / f"{config}.yaml"), words)


def leave_run(folder, config, lines, **settings):
    """config.yaml, and metrics.json with these lines. Returns the folder's name."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(load(config, **settings).dump())
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


def trained(iteration, seconds=0.5):
    """The line of an iteration."""
    return {"iteration": iteration, "total_loss": 1.0, "time": seconds}


LINES = [trained(19, 0.5), trained(39, 1.5), {"iteration": 40, "bbox/AP50": 1.0}]
SUPERNET = {"config": "COCO/supernet_fpn_300M", "lines": LINES, "SOLVER__MAX_ITER": 40}


def leave_search(folder, workers=("here", "here"), seconds=90.0):
    log = SearchLog(str(folder), TINY, {"method": "detnas", "space": "tiny"})
    for number, worker in enumerate(workers):
        log.append(Candidate((number,) * TINY.num_blocks, score=1.0, seconds=seconds, worker=worker))
    log.close()
    return str(folder)


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
    other = evaluated(tmp_path / "b", MODEL__DETNAS__ARCH="0000-0000-00000000-0001", MODEL__WEIGHTS="")
    first, second = rows(paper_tables.results_table([found, other]))
    scores = dict(zip(NAMES, ("36.6", "35.6", "34.6", "33.6", "32.6", "31.6")))
    assert first == {"folder": "a", "network": "DetNAS-COCO-FPN-300M", "M multiply-adds": "288.1", "top-1": "73.8",
                     "detector": "Faster R-CNN", "tested on": "coco_2017_val", **scores}
    assert second["network"] == "0000-0000-00000000-0001" and second["top-1"] == ""


@pytest.mark.parametrize("config, results, shown, missing", [
    # Of VOC there is AP50, and no AP by size.
    ("VOC/detnas_retinanet_300M", {"bbox/AP": 50.0, "bbox/AP50": 81.5, "bbox/AP75": 55.0},
     {"AP50": "81.5", "detector": "RetinaNet"}, ["APs", "top-1"]),
    ("COCO/R_50_fpn_4conv1fc_1x", COCO, {"network": "ResNet-50"}, []),
    ("ImageNet/R_50", {"classification/top1": 76.0}, {"top-1": "76.0"}, ["AP"]),
])
def test_a_network_stands_with_what_was_measured_of_it(tmp_path, config, results, shown, missing):
    folder = evaluated(tmp_path / "a", config, results, load(config).SOLVER.MAX_ITER)
    (row,) = rows(paper_tables.results_table([folder]))
    assert row.items() >= shown.items() and not set(missing) & set(row)
    # As torchvision counts it, less the 2M of its linear layer.
    assert "R_50" not in config or float(row["M multiply-adds"]) == pytest.approx(4087, rel=0.01)


def test_of_several_test_sets_the_first_one_counts(tmp_path):
    sets = {"DATASETS__TEST": "('coco:a/one.json:a', 'coco:a/two.json:a')", "prefix": "coco:a/one.json:a/"}
    (row,) = rows(paper_tables.results_table([evaluated(tmp_path / "a", **sets)]))
    assert row["AP"] == "36.6" and row["tested on"] == "one.json"


def test_what_was_trained_again_replaces_what_was_there():
    lines = [trained(19), trained(39), {"iteration": 45, "bbox/AP": 1.0}, trained(59), trained(39), trained(59)]
    assert paper_tables.trained_last(lines) == [trained(19), trained(39), trained(59)]
    # In one writing, an evaluation can come before the iteration that it followed.
    lines = [trained(19), {"iteration": 40, "bbox/AP": 1.0}, trained(39)]
    assert paper_tables.trained_last(lines) == lines


@pytest.mark.parametrize("settings, words", [
    ({"config": "COCO/supernet_fpn_300M"}, "is the folder of a supernet"),
    ({"results": {}}, "holds no bbox/AP50 in metrics.json"),
    ({"iteration": 59999}, "was evaluated last after 60000 of 90000 iterations"),
])
def test_a_folder_without_a_finished_network_is_named_in_one_sentence(tmp_path, settings, words, refused):
    folder = evaluated(tmp_path / "a", **settings)
    assert re.search(f"^{folder} {words}", refused(paper_tables.main, ["results", folder]))


def test_a_training_that_began_again_is_not_finished_by_the_results_of_before(tmp_path):
    folder = evaluated(tmp_path / "a")
    with (tmp_path / "a" / "metrics.json").open("a") as f:
        f.write('{"iteration": 19, "total_loss": 3.0, "time": 0.5}\n')
    with pytest.raises(ValueError, match="holds no bbox/AP50"):
        paper_tables.results_table([folder])


def test_a_folder_without_a_config_and_a_damaged_one_are_named(tmp_path, refused):
    assert re.search(f"^{tmp_path} holds no config.yaml", refused(paper_tables.main, ["results", str(tmp_path)]))
    words = f"^{tmp_path} holds no config.yaml of train_net.py and no search.jsonl"
    assert re.search(words, refused(paper_tables.main, ["times", str(tmp_path)]))
    (tmp_path / "config.yaml").write_text("MODEL: !!python/object/apply:os.getcwd []")
    assert re.search(f"^{tmp_path}/config.yaml: ", refused(paper_tables.main, ["results", str(tmp_path)]))


def test_each_line_counts_for_the_iterations_since_the_one_before():
    assert paper_tables.training_seconds(LINES) == 20 * 0.5 + 20 * 1.5
    # The first iterations of a process have no time; those of the next line stand for them.
    assert paper_tables.training_seconds([{"iteration": 1, "total_loss": 1.0}, trained(9, 0.5)]) == 10 * 0.5
    assert paper_tables.training_seconds([{"iteration": 1, "total_loss": 1.0}]) is None


def test_a_training_that_went_on_counts_each_iteration_once(tmp_path):
    # Killed after 45 iterations and continued from a checkpoint after 30, then stopped at 50 and finished.
    lines = [trained(19, 1.0), trained(39, 1.0), trained(39, 2.0), trained(49, 3.0), trained(59, 4.0)]
    folder = leave_run(tmp_path / "a", "COCO/supernet_fpn_300M", lines, SOLVER__MAX_ITER=60)
    (row,) = rows(paper_tables.times_table([folder]))
    assert float(row["seconds"]) == 20 * 1.0 + 20 * 2.0 + 10 * 3.0 + 10 * 4.0 and row["done"] == "60 iterations"


def test_every_step_has_its_name_and_a_folder_with_both_has_two_rows(tmp_path):
    folders = {
        "supernet as classifier": leave_run(tmp_path / "1", "ImageNet/supernet_300M", LINES, SOLVER__MAX_ITER=40),
        "supernet on detection": leave_run(tmp_path / "2", **SUPERNET),
        "network as classifier": leave_run(tmp_path / "3", "ImageNet/R_50", LINES, SOLVER__MAX_ITER=40),
        "network on detection": leave_run(tmp_path / "4", "VOC/detnas_fpn_300M", LINES, SOLVER__MAX_ITER=40),
        "search": leave_search(tmp_path / "5"),
    }
    found = rows(paper_tables.times_table(list(folders.values())))
    assert [row["step"] for row in found] == [*folders, ""]
    leave_search(tmp_path / "2")
    assert [row["step"] for row in rows(paper_tables.times_table([folders["supernet on detection"]]))] == [
        "supernet on detection", "search", ""
    ]


def test_device_hours_are_seconds_of_all_devices_and_add_up(tmp_path):
    supernet = leave_run(tmp_path / "supernet", **SUPERNET)
    search = leave_search(tmp_path / "search", ("a:1", "b:1", "a:1"), 3600.0)
    first, second, both = rows(paper_tables.times_table([supernet, search]))
    # The config's 8 GPUs.
    assert first["devices"] == "8 GPUs" and first["device hours"] == f"{40 * 8 / 3600:.2f}"
    assert second == {"folder": "search", "step": "search", "done": "3 candidates", "seconds": "10800",
                      "devices": "2 workers", "device hours": "3.00"}
    assert both["folder"] == "all" and both["device hours"] == f"{3 + 40 * 8 / 3600:.2f}"


@pytest.mark.parametrize("settings, logs, devices", [
    ({"SOLVER__REFERENCE_WORLD_SIZE": 8, "SOLVER__ACCUMULATE": 4}, [], "2 GPUs"),
    ({"SOLVER__REFERENCE_WORLD_SIZE": 8, "MODEL__DEVICE": "cpu"}, [], "8 CPU processes"),
    ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, ["log.txt"], "1 GPU"),
    ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, ["log.txt", "log.txt.rank1"], "2 GPUs"),
    ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, [], "unknown"),
])
def test_devices_are_those_that_the_run_has_left_traces_of(tmp_path, settings, logs, devices):
    folder = leave_run(tmp_path / "a", **SUPERNET, **settings)
    for name in logs:
        (tmp_path / "a" / name).touch()
    (row,) = rows(paper_tables.times_table([folder]))
    assert row["devices"] == devices and (row["device hours"] == "unknown") == (devices == "unknown")


def test_what_was_not_recorded_is_unknown_and_not_summed(tmp_path, capsys):
    lines = [{"iteration": 9, "total_loss": 1.0}]
    folder = leave_run(tmp_path / "a", "COCO/supernet_fpn_300M", lines, SOLVER__MAX_ITER=40)
    paper_tables.main(["times", folder, leave_search(tmp_path / "b")])
    row, search = rows(capsys.readouterr().out)
    assert row["seconds"] == row["device hours"] == "unknown" and row["done"] == "10 of 40 iterations"
    assert search["step"] == "search"
