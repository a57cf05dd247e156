"""tools/study.py: with a real study of two iterations, and with steps that only leave their results."""

import concurrent.futures
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from scripts import script
from toy_runs import DEMO, SHORT, classification, detection, own_loggers

import search_net
import train_net
from detnas import get_space
from detnas.command_line import argument_parser
from find_detector.steps import StepFailed

TINY = get_space("tiny")
study = script("tools", "study")

SEARCH = {"POPULATION": 3, "NUM_PARENTS": 2, "NUM_MUTATE": 1, "NUM_CROSS": 1, "GENERATIONS": 2, "METRIC": "bbox/AP50"}
SOLVER = {"SOLVER.MAX_ITER": 2, "SOLVER.STEPS": "()", "SOLVER.CHECKPOINT_PERIOD": 1, "MODEL.WEIGHTS": ""}
SCRIPTS = {"train_net.py": (train_net.main, argument_parser), "search_net.py": (search_net.main, search_net.parser)}


def write_config(folder, name, base, settings):
    """A yaml file over one of the demo's."""
    nested = {"_BASE_": str(DEMO / f"{base}.yaml"), "OUTPUT_DIR": str(folder / name)}
    for key, value in settings.items():
        *parents, last = key.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(nested))
    return str(file)


@pytest.fixture(scope="module")
def configs(toy_root, tmp_path_factory):
    """The three configs of a study of the generated data, as arguments."""
    folder = tmp_path_factory.mktemp("study")
    search = {f"SEARCH.{key}": value for key, value in {**SEARCH, "RECALIBRATION_IMAGES": 4}.items()}
    common = {**SHORT, **SOLVER, **search}
    data, test = detection(toy_root), {**detection(toy_root, test="test"), "MODEL.DETNAS.ARCH": "supernet"}
    supernet = write_config(folder, "supernet", "toy_2_train_supernet", {**common, **data})
    pretrain = {**common, **classification(toy_root), "SEARCH.CONSTRAINTS": []}
    classifier = write_config(folder, "classifier", "toy_1_pretrain_supernet", pretrain)
    retrain = write_config(folder, "retrain", "toy_4_retrain", {**common, **test})
    return ["--supernet", supernet, "--classifier", classifier, "--retrain", retrain]


def run_here(arguments, log, say, threads, fds):
    """A step in this process."""
    main, parser = SCRIPTS[Path(arguments[0]).name]
    with own_loggers():
        main(parser().parse_args(arguments[1:]))
    return 1.0


class InTurn(concurrent.futures.Executor):
    """One after the other in the main thread, where alone a training can handle signals."""

    def __init__(self, jobs):
        pass

    def submit(self, function, *args):
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*args))
        except Exception as e:
            future.set_exception(e)
        return future


def run_study(configs, output, *flags, run=run_here):
    args = study.parser().parse_args([*configs, "--output", str(output), "--jobs", "1", *flags])
    return study.main(args, run, InTurn)


@pytest.fixture(scope="module")
def whole(configs, tmp_path_factory):
    """(folder, networks, what was run) of a real study: every network is trained for two iterations."""
    folder, ran = tmp_path_factory.mktemp("whole") / "study", []

    def run(arguments, *args):
        ran.append(arguments)
        return run_here(arguments, *args)

    return folder, run_study(configs, folder, "--random", "2", "--seeds", "0", "1", run=run), ran


def test_a_study_trains_each_network_alone_with_each_seed(whole):
    folder, networks, ran = whole
    names = ["random 1", "random 2", "ShuffleNetv2 style", "winner", "classification winner"]
    assert [n.name for n in networks] == names
    assert all(n.alone.keys() == {0, 1} for n in networks)
    found = json.loads((folder / "study.json").read_text())
    assert [n["arch"] for n in found["networks"]] == [n.arch for n in networks]
    assert networks[2].arch == "00-00-00-00"
    # Two supernets and searches, fitness of five with and without recalibration, trained twice; the winner's weights.
    assert len(ran) == 2 * 2 + 5 * 2 + 5 * 2 + 2 + 1
    config = yaml.safe_load((folder / "alone" / "winner_1" / "config.yaml").read_text())
    assert config["SEED"] == 1 and config["MODEL"]["DETNAS"]["ARCH"] == networks[3].arch


def test_a_study_compares_inherited_weights_with_random_ones(whole):
    folder, _, ran = whole
    inherited = [r for r in ran if "inherited" in " ".join(r)]
    assert len(inherited) == 2 and all(r[r.index("MODEL.WEIGHTS") + 1].endswith("inherited.pth") for r in inherited)
    tested = json.loads((folder / "fitness" / "winner_tested" / "evaluation.json").read_text())
    scores = json.loads((folder / "study.json").read_text())["winner"]
    assert scores["the supernet's, recalibrated, not trained on"] == [tested["metrics"]["bbox/AP50"]]


def test_a_study_leaves_tables_and_a_picture(whole):
    folder, _, _ = whole
    assert not (folder / "trained.png").exists() and not (folder / "pretrained").exists()
    text = (folder / "study.md").read_text()
    assert "fitness, recalibrated" in text and "2 random networks" in text and "all 5" in text
    assert (folder / "study.png").stat().st_size > 1000


def test_a_finished_study_runs_nothing_again(whole, configs):
    folder, networks, _ = whole

    def never(*args):
        raise AssertionError("a step ran again")

    assert run_study(configs, folder, "--random", "2", run=never) == networks


def test_a_study_that_fails_goes_on_where_it_stopped(whole, configs, tmp_path, capsys):
    folder, networks, ran = whole
    copy, again = tmp_path / "study", []
    shutil.copytree(folder, copy)
    steps = json.loads((copy / "steps.json").read_text())
    for name in ("winner seed 1", "random 2 plain"):
        del steps[name]
    # As if it had been run there.
    (copy / "steps.json").write_text(json.dumps(steps).replace(str(folder), str(copy)))

    def fails(arguments, log, *args):
        raise StepFailed(f"failed; its output is in {log}")

    with pytest.raises(SystemExit, match="error: winner seed 1 failed; its output is in .*start again"):
        run_study(configs, copy, "--random", "2", run=fails)

    def counts(arguments, *args):
        again.append(arguments)
        return run_here(arguments, *args)

    assert run_study(configs, copy, "--random", "2", run=counts) == networks
    assert len(again) == 2


def test_other_settings_need_another_folder(whole, configs, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        run_study(configs, whole[0], "--random", "2", "SOLVER.BASE_LR", "0.5")
    assert "holds another study" in capsys.readouterr().err


def test_two_studies_cannot_share_a_folder(configs, tmp_path):
    steps = study.Steps(str(tmp_path), 1)
    with pytest.raises(ValueError, match="is in use by a study"):
        study.Steps(str(tmp_path), 1)
    steps.close()


@pytest.fixture(scope="module")
def pretrain(configs, toy_root):
    """A classifier's config that trains one network, as an argument."""
    folder = Path(configs[1]).parent
    settings = {**SHORT, **SOLVER, **classification(toy_root), "MODEL.DETNAS.ARCH": "some/best.yaml"}
    return ["--pretrain", write_config(folder, "pretrain", "toy_4_pretrain", settings)]


def test_each_network_is_trained_from_a_pretraining_of_its_own(whole, configs, pretrain, tmp_path):
    # As a recipe of step 4 says it; each network has weights of its own instead.
    retrain = Path(configs[-1])
    config = yaml.safe_load(retrain.read_text())
    config["MODEL"]["WEIGHTS"] = "gone.pth"
    (retrain.parent / "pretrained.yaml").write_text(yaml.safe_dump(config))
    words = [*configs[:-1], str(retrain.parent / "pretrained.yaml"), *pretrain]
    folder, ran = tmp_path / "study", []

    def run(arguments, *args):
        ran.append(arguments)
        output = Path(arguments[arguments.index("OUTPUT_DIR") + 1])
        # Searches and fitness are those of the other study.
        if output.parent.name != "fitness" and not output.name.endswith("_search"):
            return run_here(arguments, *args)
        shutil.copytree(whole[0] / output.relative_to(folder), output, dirs_exist_ok=True)
        return 1.0

    networks = run_study(words, folder, "--random", "2", "--seeds", "3", run=run)
    # Each of the five networks, and the winner from the supernet's weights.
    trained = [r[r.index("OUTPUT_DIR") + 1] for r in ran if str(retrain.parent / "pretrained.yaml") in r]
    assert len(trained) == 6
    for n in networks:
        name = f"{n.name} 3".replace(" ", "_")
        files = (folder / step / name / "config.yaml" for step in ("pretrained", "alone"))
        before, after = (yaml.safe_load(file.read_text()) for file in files)
        assert before["MODEL"]["META_ARCHITECTURE"] == "ImageClassifier" and before["SEED"] == 3
        assert before["MODEL"]["DETNAS"]["ARCH"] == after["MODEL"]["DETNAS"]["ARCH"] == n.arch
        assert after["MODEL"]["WEIGHTS"] == str(folder / "pretrained" / name / "model_final.pth")
    found = json.loads((folder / "study.json").read_text())
    assert found["top1"].keys() == {n.name for n in networks}
    assert "pre-trained, then trained alone" in found["winner"]
    text = (folder / "study.md").read_text()
    assert re.search(r"\| 2 random networks +\| [0-9.]+ ± [0-9.]+ +\| [0-9.]+ ± [0-9.]+ ", text)
    assert "Pre-trained before: 2 iterations, batch 4." in text
    assert (folder / "trained.png").stat().st_size > 1000

    def never(*args):
        raise AssertionError("a step ran again")

    assert run_study(words, folder, "--random", "2", "--seeds", "3", run=never) == networks


@pytest.mark.parametrize(
    "given, opts, words",
    [
        (None, ["MODEL.WEIGHTS", "some.pth"], "MODEL.WEIGHTS some.pth: with --pretrain each network starts from"),
        ("--retrain", [], "must be a classifier's config with one set to test on"),
    ],
)
def test_a_pretraining_that_is_none_or_is_not_used_is_refused(configs, pretrain, tmp_path, given, opts, words):
    flags = ["--pretrain", configs[configs.index(given) + 1]] if given else pretrain
    with pytest.raises(ValueError, match=words):
        run_study(configs, tmp_path, *flags, *opts)


def test_a_recipe_that_starts_from_weights_is_refused(configs, tmp_path):
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is some.pth; a study trains from random ones"):
        run_study(configs, tmp_path, "MODEL.WEIGHTS", "some.pth")


@pytest.mark.parametrize("flag, words", [("--random", "--random 0: it must be at least 2"), ("--jobs", "--jobs 0: ")])
def test_a_study_of_nothing_is_refused(configs, tmp_path, flag, words):
    with pytest.raises(ValueError, match=words):
        study.Study(study.parser().parse_args([*configs, "--output", str(tmp_path), flag, "0"]))


def test_configs_of_two_spaces_are_refused(configs, tmp_path):
    with pytest.raises(ValueError, match='is of space "300M"; .* of "tiny"'):
        run_study([*configs[:4], "--retrain", str(DEMO / "bccd_study.yaml")], tmp_path)


def test_random_networks_are_within_the_limits_of_the_search(configs, tmp_path):
    args = study.parser().parse_args([*configs, "--output", str(tmp_path), "--random", "30"])
    built = study.Study(args)
    known = built.known()
    assert len(set(known.values())) == 31
    assert all(built.limits(path) for name, path in known.items() if name.startswith("random"))
    built.steps.close()
