"""Weights & Biases and MLflow in trainings and searches, with stand-ins for both packages."""

import importlib.machinery
import sys
import types

import pytest
from toy_runs import command, detection

import search_net
import train_net
from detnas.training import writers

SMALL = {"SEARCH.POPULATION": 3, "SEARCH.NUM_MUTATE": 1, "SEARCH.NUM_CROSS": 1, "SEARCH.NUM_PARENTS": 2,
         "SEARCH.RECALIBRATION_IMAGES": 4, "SEARCH.METRIC": "bbox/AP50"}


def stand_in(name, **attributes):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(attributes)
    return module


@pytest.fixture
def wandb(monkeypatch):
    """What was asked of the package: a list of (what, arguments)."""
    calls = []
    run = types.SimpleNamespace(
        define_metric=lambda *args, **kwargs: calls.append(("axis", args, kwargs)),
        log=lambda values: calls.append(("log", values)),
        finish=lambda: calls.append(("finish",)),
    )

    def init(**kwargs):
        calls.append(("init", kwargs))
        return run

    monkeypatch.setitem(sys.modules, "wandb", stand_in("wandb", init=init))
    return calls


class Client:
    """Of MLflow; what was asked of it."""

    calls, experiments, broken = [], {}, False

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name):
        self.experiments[name] = types.SimpleNamespace(experiment_id=str(len(self.experiments) + 1))
        return self.experiments[name].experiment_id

    def create_run(self, number, run_name):
        self.calls.append(("run", number, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"run {len(self.calls)}"))

    def update_run(self, run_id, status):
        self.calls.append(("again", run_id, status))

    def log_dict(self, run_id, settings, name):
        self.calls.append(("settings", settings, name))

    def log_batch(self, run_id, metrics):
        if self.broken:
            raise ConnectionError("no server\nat all")
        self.calls.append(("log", run_id, metrics))

    def set_terminated(self, run_id):
        self.calls.append(("end", run_id))


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setattr(Client, "calls", [])
    monkeypatch.setattr(Client, "experiments", {})
    monkeypatch.setattr(Client, "broken", False)
    entities = types.SimpleNamespace(Metric=lambda *args: args)
    monkeypatch.setitem(sys.modules, "mlflow", stand_in("mlflow", MlflowClient=Client, entities=entities))
    return Client


def train(root, folder, *flags, **overrides):
    data = {**detection(root), "MODEL.WEIGHTS": '""', "TEST.EVAL_PERIOD": 0, "DATASETS.TEST": "()", **overrides}
    train_net.main(command("toy_2_train_supernet", {**data, "OUTPUT_DIR": folder}, *flags))


def search(root, folder, **overrides):
    data = {**detection(root), **SMALL, "OUTPUT_DIR": folder, **overrides}
    return search_net.main(
        command("toy_2_train_supernet", data, "--random-weights", parser=search_net.parser())
    )


def test_a_training_is_written_to_weights_and_biases_and_goes_on_there(toy_root, tmp_path, wandb):
    train(toy_root, tmp_path / "toy", **{"SOLVER.MAX_ITER": 2, "WRITERS": "['wandb']"})
    (begun,) = [call[1] for call in wandb if call[0] == "init"]
    assert begun["project"] == "detnas" and begun["name"] == "toy training" and begun["dir"] == str(tmp_path / "toy")
    assert begun["config"]["SOLVER"]["MAX_ITER"] == 2 and begun["resume"] == "allow"
    logged = [call[1] for call in wandb if call[0] == "log"]
    assert logged[-1]["iteration"] == 1 and {"total_loss", "lr"} <= logged[-1].keys() and wandb[-1] == ("finish",)
    assert ("axis", ("*",), {"step_metric": "iteration"}) in wandb
    train(toy_root, tmp_path / "toy", "--resume", **{"SOLVER.MAX_ITER": 3, "WRITERS": "['wandb']"})
    train(toy_root, tmp_path / "toy", **{"SOLVER.MAX_ITER": 2, "WRITERS": "['wandb']"})
    first, again, anew = [call[1]["id"] for call in wandb if call[0] == "init"]
    assert first == again != anew


def test_each_candidate_of_a_search_is_written_once(toy_root, tmp_path, mlflow, wandb):
    words = "['mlflow', 'wandb']"
    log = search(toy_root, tmp_path / "toy", **{"SEARCH.GENERATIONS": 1, "WRITERS": words})
    log = search(toy_root, tmp_path / "toy", **{"SEARCH.GENERATIONS": 2, "WRITERS": words})
    history = log.history()
    batches = [call[2] for call in mlflow.calls if call[0] == "log"]
    assert [{step for _, _, _, step in batch} for batch in batches] == [{n} for n in range(1, 7)]
    for candidate, batch, best in zip(history, batches, [max(c.score for c in history[: n + 1]) for n in range(6)]):
        values = {name: value for name, value, _, _ in batch}
        assert values["search/score"] == candidate.score and values["search/best"] == best
        assert values["search/backbone_flops"] == candidate.costs["backbone_flops"]
    assert [call for call in mlflow.calls if call[0] in ("run", "again", "end")] == [
        ("run", "1", "toy search"), ("end", "run 1"), ("again", "run 1", "RUNNING"), ("end", "run 1")
    ]
    assert [call[1]["candidate"] for call in wandb if call[0] == "log"] == list(range(1, 7))


def test_a_server_that_fails_ends_no_training_and_is_said_once(toy_root, tmp_path, mlflow):
    mlflow.broken = True
    train(toy_root, tmp_path, **{"SOLVER.MAX_ITER": 2, "WRITERS": "['mlflow']"})
    text = (tmp_path / "log.txt").read_text()
    assert text.count('WRITERS "mlflow" failed and is left out from now on: no server\n') == 1
    assert (tmp_path / "model_final.pth").is_file()


def test_names_that_mlflow_does_not_take_are_mended(mlflow, toy_config, tmp_path):
    cfg = toy_config("toy_2_train_supernet", "OUTPUT_DIR", str(tmp_path), "WRITERS", "['mlflow']")
    (writer,) = writers.build_writers(cfg, "search", resume=True)
    writer.put({"bbox/AP-köter (50%)": 1.0}, 3)
    ((name, value, _, step),) = mlflow.calls[-1][2]
    assert (name, value, step) == ("bbox/AP-köter _50__", 1.0, 3)


@pytest.mark.parametrize("start", [train, search])
def test_a_missing_package_is_one_sentence_before_anything_else(toy_root, tmp_path, refused, monkeypatch, start):
    monkeypatch.setattr(writers.importlib.util, "find_spec", lambda name: None)
    sentence = refused(start, toy_root, tmp_path, WRITERS="['wandb']")
    assert sentence == 'WRITERS "wandb" needs a package that is not installed: pip install wandb'
    assert not (tmp_path / "metrics.json").exists() and not (tmp_path / "search.jsonl").exists()


def test_one_that_cannot_start_and_one_that_does_not_exist_are_one_sentence(toy_root, tmp_path, refused, monkeypatch):
    def init(**kwargs):
        raise RuntimeError("no key\nmore")

    monkeypatch.setitem(sys.modules, "wandb", stand_in("wandb", init=init))
    assert refused(train, toy_root, tmp_path, WRITERS="['wandb']") == 'WRITERS "wandb" cannot start: no key'
    assert 'WRITERS is [\'comet\']; it must be a list of "wandb" and' in refused(
        train, toy_root, tmp_path, WRITERS="['comet']"
    )


def test_there_are_no_writers_by_default(toy_root, tmp_path, wandb):
    train(toy_root, tmp_path, **{"SOLVER.MAX_ITER": 1})
    assert not wandb and not (tmp_path / "wandb_training.txt").exists()
