"""
A script that is given what it cannot take: one sentence, exit code 2, and what was there stays as it was. At the end, a
table of the settings that cannot be.
"""

import functools
import itertools
import json

import pytest
import torch
from detectron2.utils import comm
from toy_runs import command, detection, own_loggers, toy_setup, tree

import search_net
import train_net
from detnas import get_space
from detnas.command_line import argument_parser
from detnas.config.load import load_config
from detnas.config.settings import check_settings
from detnas.errors import UnreadableImage, UserError, user_errors
from detnas.launch.setup import launch
from detnas.modeling.builders import build_network
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog

pytestmark = pytest.mark.usefixtures("run")
DETECTOR = "toy_2_train_supernet"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Output folder of the run, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def fails(capsys, tmp_path):
    """Function that runs a script, expects one sentence and exit code 2, and gives the sentence."""

    def check(script, *args, leaves=()):
        parser = search_net.parser() if script is search_net else argument_parser()
        before = {name: content for name, content in tree(tmp_path).items() if not name.endswith("log.txt")}
        capsys.readouterr()
        main = script.main if script is search_net else functools.partial(launch, script.main)
        with own_loggers(), pytest.raises(SystemExit) as caught:
            main(command(*args, parser=parser))
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        after = tree(tmp_path)
        # The lock's file says whose it was last.
        assert {name for name in before if after.get(name) != before[name]} <= {"run/run.lock"}
        new = {name.removeprefix("run/") for name in set(after) - set(before) if name.startswith("run/")}
        assert new <= set(leaves)
        return line.removeprefix("error: ")

    return check


@pytest.fixture
def supernet(toy_root, tmp_path, run):
    """Overrides of a run with the weights of a supernet, which are random."""
    file, overrides = tmp_path / "supernet.pth", {**detection(toy_root), "MODEL.WEIGHTS": ""}
    with own_loggers():
        cfg = toy_setup(DETECTOR, {**overrides, "OUTPUT_DIR": tmp_path / "other"})
        torch.save({"model": build_network(cfg).state_dict()}, file)
    return {**overrides, "OUTPUT_DIR": run, "MODEL.WEIGHTS": file}


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_missing_data_folder_says_what_is_missing_and_what_makes_it(fails, run, script):
    words = fails(script, DETECTOR, {"OUTPUT_DIR": run})
    assert "datasets/toy/" in words and "does not exist" in words and "`python demo/images.py toy`" in words


def test_an_arch_that_does_not_fit_is_explained_in_evaluation(fails, supernet):
    words = fails(search_net, DETECTOR, supernet, "--arch", "2120", leaves=["log.txt"])
    assert words.startswith('--arch "2120": 4 blocks; space "tiny" has 8')


def test_an_unknown_key_in_a_file_is_named_with_the_file(fails, tmp_path):
    (tmp_path / "own.yaml").write_text("SEARCH: {POPULATIONS: 5}")
    words = fails(train_net, tmp_path / "own.yaml", {})
    assert "SEARCH.POPULATIONS" in words and "own.yaml" in words


def test_an_option_after_the_overrides_is_explained(refused):
    words = ["--config-file", "", "SOLVER.MAX_ITER", "3", "--eval-only", "SEED", "1"]
    sentence = "--eval-only stands among the KEY VALUE overrides; options go before them"
    assert refused(launch, train_net.main, argument_parser().parse_args(words)) == sentence


def test_an_evaluation_without_test_images_is_an_error(fails, supernet):
    overrides = {**supernet, "DATASETS.TEST": "()", "DATASETS.TRAIN": "()"}
    assert fails(train_net, DETECTOR, overrides, "--eval-only", leaves=["log.txt"]).startswith("DATASETS.TEST is empty")


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many GPUs")
@pytest.mark.parametrize("script", [train_net, search_net])
def test_more_gpus_than_there_are_is_an_error(fails, run, script):
    words = fails(script, DETECTOR, {"OUTPUT_DIR": run}, "--num-gpus", "8")
    assert f"--num-gpus 8: this machine has {torch.cuda.device_count()} GPUs" in words
    assert torch.cuda.is_available() or "--cpu-processes N starts N processes without GPUs" in words


def test_several_machines_need_a_url_and_gpus_and_in_a_search_ray(fails, run):
    assert "SEARCH.RAY_ADDRESS" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    words = fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    assert "--num-machines 2 needs --dist-url tcp://HOST:PORT" in words
    if not torch.cuda.is_available():
        flags = ["--num-machines", "2", "--dist-url", "tcp://127.0.0.1:29500"]
        assert "needs GPUs on each" in fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, *flags)


def test_a_search_without_a_trained_supernet_says_how_to_get_one(fails, run, toy_root):
    words = fails(search_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run}, leaves=["log.txt"])
    assert f"no trained network at {run}/model_final.pth: train it with train_net.py, or give MODEL.WEIGHTS" in words


def test_an_evaluation_of_the_best_without_a_search_is_an_error(fails, run, supernet):
    words = fails(search_net, DETECTOR, supernet, "--eval-only", leaves=["log.txt"])
    assert f"{run}/search.jsonl" in words and "search_net.py writes it" in words


@pytest.mark.parametrize("there", [False, True])
def test_a_training_whose_weights_do_not_exist_leaves_nothing_but_its_log(fails, run, toy_root, tmp_path, there):
    if there:
        run.mkdir()
        (run / "config.yaml").write_text('MODEL: {DETNAS: {SPACE: "tiny"}}\n')
        (run / "model_final.pth").write_bytes(b"weights of days")
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": tmp_path / "gone.pth"}
    words = fails(train_net, DETECTOR, overrides, leaves=["log.txt", "run.lock"])
    assert f"weights {tmp_path}/gone.pth do not exist" in words


def test_an_output_folder_of_a_training_in_another_space_is_refused(fails, run, toy_root):
    run.mkdir()
    (run / "config.yaml").write_text('MODEL: {DETNAS: {SPACE: "300M"}}\n')
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    for script in (train_net, search_net):
        words = fails(script, DETECTOR, overrides)
        assert f"OUTPUT_DIR {run}" in words and '"300M"' in words and '"tiny"' in words


def test_a_search_without_training_images_is_refused(fails, supernet):
    leaves = ["log.txt", "run.lock", "search.jsonl"]
    assert "DATASETS.TRAIN is empty" in fails(search_net, DETECTOR, {**supernet, "DATASETS.TRAIN": "()"}, leaves=leaves)


def test_a_search_with_other_settings_is_refused(fails, run, supernet):
    run.mkdir()
    log = SearchLog(str(run), get_space("tiny"), {"space": "tiny", "seed": 7})
    log.append(Candidate((0,) * 8, 0, 1.0))
    log.close()
    words = fails(search_net, DETECTOR, supernet, leaves=["log.txt"])
    assert "seed was 7 and is 0" in words and "OUTPUT_DIR" in words


@pytest.mark.parametrize("error, said", [(UserError("a wrong key"), ""), (UnreadableImage("a.jpg"), "error: a.jpg\n")])
def test_of_several_processes_the_main_one_says_it_and_each_what_it_cannot_read(error, said, monkeypatch, capsys):
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    with pytest.raises(SystemExit) as caught, user_errors():
        raise error
    assert caught.value.code == 2 and capsys.readouterr().err == said


#: values -> the keys that cannot have them
WRONG = {
    "0": """INPUT.CLASSIFIER.SIZE SOLVER.IMS_PER_BATCH SOLVER.ACCUMULATE SOLVER.MAX_ITER SOLVER.CHECKPOINT_PERIOD
        SEARCH.LATENCY_BATCH SEARCH.POPULATION SEARCH.NUM_PARENTS SEARCH.GENERATIONS
        SEARCH.WORKERS SEARCH.TRIES SEARCH.RECALIBRATION_IMAGES SEARCH.RECALIBRATION_BATCH SEARCH.EVALUATION_BATCH""",
    "-1": """MODEL.DETNAS.FREEZE_AT DATALOADER.NUM_WORKERS SOLVER.IMS_PER_BATCH
        SOLVER.MAX_ITER SUPERNET.EVAL_RANDOM_PATHS SUPERNET.EVAL_IMAGES SEARCH.NUM_MUTATE SEARCH.NUM_CROSS
        SEARCH.TIMEOUT""",
    "-0.4": "INPUT.CLASSIFIER.COLOR_JITTER DATALOADER.IMAGE_CACHE_GB SOLVER.BASE_LR SEARCH.IMAGE_CACHE_GB",
    "7.0": "SEARCH.MUTATE_PROB",
    "1e9": "SOLVER.BASE_LR",
    "random": """MODEL.DETNAS.SHUFFLE SOLVER.LR_SCHEDULER_NAME
        SUPERNET.PATH_SAMPLING SEARCH.SEARCHER SEARCH.EXECUTOR SEARCH.AUTOCAST""",
    "(0.9,0.1) (0.5,) (0.0,1.0)": "INPUT.CLASSIFIER.CROP_AREA INPUT.SCALE_JITTER.RANGE",
    "0 -1": """MODEL.FPN.OUT_CHANNELS MODEL.RPN.BATCH_SIZE_PER_IMAGE MODEL.RPN.POST_NMS_TOPK_TEST
        MODEL.ROI_HEADS.NUM_CLASSES MODEL.ROI_BOX_HEAD.FC_DIM INPUT.MAX_SIZE_TEST TEST.DETECTIONS_PER_IMAGE""",
    "(-5,) () ('a',)": "INPUT.MIN_SIZE_TRAIN INPUT.CROP.SIZE MODEL.PIXEL_STD MODEL.PIXEL_MEAN",
    "[[0]] [[-1.0]] [] [['a']]": "MODEL.ANCHOR_GENERATOR.SIZES MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "5,3 (1,'a') (-1,)": "SOLVER.STEPS",
    "('a',) (0.5,0.3) (1e999,)": "SEARCH.RACING_PARTS",
    "0.0 7.0 1e999": "SEARCH.RACING_SHARE",
    "-5 99999999999999999999": "SEED",
    "cuda:x ipu": "MODEL.DEVICE",
    "(640,) (0,640)": "INPUT.SCALE_JITTER.SIZE SEARCH.FLOPS_RESOLUTION SEARCH.DETECTOR_RESOLUTION",
}
#: overrides of a supernet's training, words; it judges the search that comes hours later, too
MISTAKES = [
    # A value that is not allowed or of another type, or no key at all.
    *(({key: 5}, key) for key in ("DATASETS.TRAIN", "SEARCH.CONSTRAINTS", "SOLVER")),
    *(({key: 5}, key) for key in ("SOLVER.MAXITER", "MODEL.DETNAS.ARCH.X", "NOTHING")),
    *(({"SOLVER.MAX_ITER": value}, "SOLVER.MAX_ITER") for value in (0, "many")),
    ({"SOLVER.BASE_LR": "nan"}, "SOLVER.BASE_LR"),
    ({"DATASETS.TRAIN": "()"}, "DATASETS.TRAIN is empty"),
    ({"MODEL.DETNAS.SPACE": "300G"}, "there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny, custom"),
    ({"MODEL.ROI_HEADS.IN_FEATURES": "['p9']"}, "no network can be made of this config: KeyError 'p9' (roi_heads.py, "),
    ({"MODEL.ROI_BOX_HEAD.NAME": "Mine"}, "no network can be made of this config: KeyError"),
    ({"SEARCH.POPULATION": 8}, "do not fit into a population of 8"),
    ({"SEARCH.METRIC": "bbox/AP95"}, 'SEARCH.METRIC "bbox/AP95" is not reported'),
    ({"SEARCH.CONSTRAINTS": "('backbone_flops <= 1e3',)"}, 'no network of "tiny" has at most'),
    ({"SEARCH.CONSTRAINTS": "('backbone_flops < 3',)"}, 'constraint "backbone_flops < 3"'),
    ({"SEARCH.CONSTRAINTS": "('speed <= 3',)"}, 'unknown metric "speed"'),
    ({"SEARCH.CONSTRAINTS": "('backbone_latency_ms <= soon',)"}, 'constraint "backbone_latency_ms <= soon"'),
    ({"SEARCH.OBJECTIVES": "['speed']"}, 'SEARCH.OBJECTIVES: unknown cost "speed"'),
    ({"SEARCH.INITIAL": "['99-99-99-99']"}, 'SEARCH.INITIAL "99-99-99-99"'),
    ({"SEARCH.INITIAL": "['gone.yaml']"}, "SEARCH.INITIAL: gone.yaml does not exist"),
]


@pytest.mark.parametrize("values", WRONG)
def test_a_setting_that_cannot_be_is_named_with_what_it_may_be(values):
    for key, value in itertools.product(WRONG[values].split(), values.split()):
        with pytest.raises(UserError, match=f"^{key} is .*; it must be "):
            check_settings(load_config(None, [key, value]))


@pytest.mark.parametrize("overrides, words", MISTAKES)
def test_a_mistake_in_the_settings_is_named_before_a_training(fails, run, toy_root, overrides, words):
    data = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    assert words in fails(train_net, DETECTOR, {**data, **overrides}, leaves=["log.txt", "run.lock"])


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many GPUs")
def test_a_gpu_that_is_not_there_is_named(fails, run, toy_root):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.DEVICE": "cuda:7"}
    words = fails(train_net, DETECTOR, overrides, leaves=["log.txt"])
    assert words.startswith("MODEL.DEVICE cuda:7: this machine has ")


@pytest.mark.parametrize("content", ["a: [1", "MY: {OWN: 3}\n", "\0"])
def test_a_config_of_something_else_is_not_written_over(fails, run, toy_root, content):
    run.mkdir()
    (run / "config.yaml").write_text(content)
    words = fails(train_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""})
    assert words.startswith(f"{run}/config.yaml would be written over, and is no config of a run")


@pytest.mark.parametrize("script", [train_net, search_net])
@pytest.mark.parametrize("folder", ["file", "file/run", "/proc/run", "/sys/run", "loop", "loop/run", "x" * 300])
def test_an_output_folder_that_cannot_be_is_named(fails, toy_root, tmp_path, script, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    words = fails(script, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": folder})
    reason = "is a file" if folder in ("file", "loop") else "cannot be made: "
    assert words.startswith(f"OUTPUT_DIR {folder} {reason}")


@pytest.mark.parametrize("flag", ["--list", "--front", "--report", "--best=3"])
def test_a_log_that_is_not_there_is_named(fails, run, flag):
    assert f"{run}/search.jsonl does not exist" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, flag)


def test_a_training_does_not_go_on_with_other_data_under_the_same_name(fails, run, toy_root):
    run.mkdir()
    name = f"coco:{toy_root}/detection/train.json:{toy_root}/detection/train"
    (run / "data.json").write_text(json.dumps({name: "9 images"}))
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    words = fails(train_net, DETECTOR, overrides, "--resume", leaves=["log.txt", "run.lock"])
    assert f"has changed since the training in {run} was begun: it had 9 images, and has 8 images" in words
