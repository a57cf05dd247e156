"""
Files of a run damaged at random, and settings of any value: one sentence and exit code 2, or the result, and never a
traceback. DETNAS_FUZZ says how many cases each test tries.
"""

import json
import os
import random
import shutil

import pytest
import yaml
from fuzzing import CASES, VALUES, damaged, end_well, places
from scripts import ROOT
from toy_runs import classification, command, own_loggers, tree

import search_net
import train_net
from detnas.config.load import load_config
from detnas.config.settings import check_settings
from detnas.cost.latency import MeasuredTimes
from detnas.errors import UserError, user_errors
from detnas.report.command import main as report
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from detnas.space import SPACES

CONFIG = f"{ROOT}/configs/demo/toy_2_train_supernet.yaml"


def test_a_log_that_is_damaged(capsys, tmp_path):
    space, whole, folder = SPACES["tiny"], tmp_path / "whole", tmp_path / "damaged"
    header = {"method": "detnas", "space": "tiny", "metric": "bbox/AP", "constraints": ["backbone_flops <= 30e6"],
              "objectives": ["backbone_flops"], "population": 4, "initial": {"all 3x3": "00-00-00-00"}, "seed": 0}
    log, rng = SearchLog(str(whole), space, header), random.Random(0)
    for number in range(6):
        looks = ({"images": 2, "score": 1.0},) if number == 4 else ()
        log.append(Candidate(space.random(rng), number // 3, None if number == 4 else 20.0 + number, {"bbox/AP": 20.0},
                             {"backbone_flops": 1e6 * number}, looks=looks))
    log.append_event({"event": "reignition", "generation": 1, "network": "00-00-00-00", "metrics": {"top1": 3.0}})
    log.close()
    folder.mkdir()
    content, shown = (whole / "search.jsonl").read_bytes(), [["--list"], ["--best", "3"], ["--front"], ["--report"]]
    for case in range(CASES):
        rng = random.Random(case)
        (folder / "search.jsonl").write_bytes(damaged(rng, content))
        if case % 5:
            words = ["--config-file", CONFIG, *rng.choice(shown), "OUTPUT_DIR", str(folder)]
            end_well(capsys, case, search_net.main, search_net.parser().parse_args(words))
        else:
            end_well(capsys, case, report, [str(folder), "--out", str(tmp_path / "a.png")])


def test_settings_of_any_value(capsys, tmp_path):
    keys = [place for place in places(yaml.safe_load(load_config(CONFIG).dump())) if place and "" not in place]
    keys = [place for place in keys if all(isinstance(key, str) for key in place)]

    def check(file, words):
        check_settings(load_config(file, words))

    for case in range(CASES):
        rng = random.Random(case)
        place, value = rng.choice(keys), rng.choice(VALUES)
        end_well(capsys, (case, place, value), check, CONFIG, [".".join(place), str(value)])
        for key in reversed(place):
            value = {key: value}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"_BASE_": CONFIG, **value}))
        end_well(capsys, (case, place, value), check, str(tmp_path / "config.yaml"), [])


def test_a_config_that_stands_on_itself(tmp_path):
    file = tmp_path / "a.yaml"
    for text in ("_BASE_: a.yaml", "MODEL: &m\n  DETNAS: *m", f"MODEL: {'[' * 2000}", f"_BASE_: {tmp_path}"):
        file.write_text(text)
        with pytest.raises(UserError, match="a.yaml|directory"):
            load_config(str(file))


def test_measured_times_that_are_damaged(capsys, tmp_path):
    file = tmp_path / "latency.json"
    times = MeasuredTimes("a machine", str(file))
    times.of({"a": 1, "b": 2}, lambda subjects: [1.5, 2.5])
    content = json.dumps(json.loads(file.read_text())).encode() + b"\n"
    for case in range(CASES):
        file.write_bytes(damaged(random.Random(case), content))
        end_well(capsys, case, lambda: MeasuredTimes("a machine", str(file)).of({"a": 1}, lambda subjects: [1.5]))


def test_a_training_whose_files_are_damaged_goes_on_or_says_why_not(capsys, toy_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**classification(toy_root), "DATASETS.TEST": "()", "SOLVER.CHECKPOINT_PERIOD": 1, "SOLVER.STEPS": "[]"}

    def train(iterations):
        args = command("toy_1_pretrain_supernet", {**settings, "OUTPUT_DIR": "run", "SOLVER.MAX_ITER": iterations})
        args.resume = True
        with own_loggers():
            train_net.main(args)

    train(2)
    shutil.copytree("run", "whole")
    files = sorted(file for file in os.listdir("whole") if not file.startswith(("events", "log", "run.lock")))
    assert {"config.yaml", "data.json", "last_checkpoint", "metrics.json", "model_0000000.pth"} < set(files)
    before = tree(toy_root)
    for case in range(CASES // 4):
        shutil.rmtree("run")
        shutil.copytree("whole", "run")
        rng = random.Random(case)
        for file in rng.sample(files, rng.randrange(1, 3)):
            content = damaged(rng, (tmp_path / "whole" / file).read_bytes(), of_json=False)
            (tmp_path / "run" / file).write_bytes(content)
        end_well(capsys, case, user_error_ends, train, 3)
    assert tree(toy_root) == before and set(os.listdir()) == {"run", "whole"}


def user_error_ends(function, *args):
    """Run something as a script does."""
    with user_errors():
        function(*args)
