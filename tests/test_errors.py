"""
A script that is given what it cannot take: one sentence, exit code 2, and what was there stays as it was. At the end, a
table of the settings that cannot be.
"""

import json

import pytest
import torch
from detectron2.modeling import build_model
from toy_runs import classification, command, detection, own_loggers, toy_setup, tree

import search_net
import train_net
from detnas import get_space
from detnas.command_line import argument_parser
from detnas.launch.setup import launch
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog

pytestmark = pytest.mark.usefixtures("run")
DETECTOR = "toy_2_train_supernet"
#: whatever a script may leave
ANYTHING = None


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
        with own_loggers(), pytest.raises(SystemExit) as caught:
            if script is search_net:
                search_net.main(command(*args, parser=parser))
            else:
                launch(script.main, command(*args, parser=parser))
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        after = tree(tmp_path)
        # The lock's file says whose it was last.
        assert {name for name in before if after.get(name) != before[name]} <= {"run/run.lock"}
        new = {name.removeprefix("run/") for name in set(after) - set(before) if name.startswith("run/")}
        assert leaves is ANYTHING or new <= set(leaves)
        return line.removeprefix("error: ")

    return check


@pytest.fixture
def spoilt(toy_root, tmp_path):
    """Function that changes the training json and gives the overrides for it, with the json's path."""

    def spoil(change):
        data = json.loads((toy_root / "detection" / "train.json").read_text())
        change(data)
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(data))
        return path, {**detection(toy_root), "DATASETS.TRAIN": f"('coco:{path}:{toy_root}/detection/train',)"}

    return spoil


@pytest.fixture
def supernet(toy_root, tmp_path):
    """Checkpoint of a detector with random weights."""
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "other"}
    with own_loggers():
        model = build_model(toy_setup("toy_2_train_supernet", overrides))
    torch.save({"model": model.state_dict()}, tmp_path / "supernet.pth")
    return tmp_path / "supernet.pth"


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_missing_data_folder_says_what_is_missing_and_make_demo(fails, run, script):
    words = fails(script, DETECTOR, {"OUTPUT_DIR": run})
    assert "datasets/toy/" in words and "does not exist" in words and "`make demo`" in words


@pytest.mark.parametrize(
    "arch, reason", [("2120", "4 blocks"), ("00000009", "9 at stage4.1"), ("DetNAS", "not an arch")]
)
def test_an_arch_that_does_not_fit_is_explained_in_evaluation(fails, run, toy_root, supernet, arch, reason):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, "--arch", arch, leaves=["log.txt"])
    assert f'--arch "{arch}"' in words and reason in words and '"tiny"' in words


def test_an_unknown_space_lists_the_spaces(fails, run, toy_root):
    overrides = {**classification(toy_root), "OUTPUT_DIR": run, "MODEL.DETNAS.SPACE": "300G"}
    sentence = 'unknown space "300G"; there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny, custom'
    assert fails(train_net, "toy_1_pretrain_supernet", overrides) == sentence


def test_an_unknown_key_in_a_file_is_named_with_the_file(fails, tmp_path):
    (tmp_path / "own.yaml").write_text("SEARCH: {POPULATIONS: 5}")
    words = fails(train_net, tmp_path / "own.yaml", {})
    assert "SEARCH.POPULATIONS" in words and "own.yaml" in words


def test_a_missing_config_file_is_named(fails, tmp_path):
    assert fails(train_net, tmp_path / "gone.yaml", {}) == f"config file {tmp_path}/gone.yaml does not exist"


def test_an_option_after_the_overrides_is_explained(refused):
    words = ["--config-file", "", "SOLVER.MAX_ITER", "3", "--eval-only", "SEED", "1"]
    sentence = "--eval-only stands among the KEY VALUE overrides; options go before them"
    assert refused(launch, train_net.main, argument_parser().parse_args(words)) == sentence


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_json_with_an_image_that_does_not_exist_names_file_and_id(fails, run, spoilt, script):
    path, overrides = spoilt(lambda data: data["images"][2].update(file_name="gone.jpg"))
    words = fails(script, DETECTOR, {**overrides, "OUTPUT_DIR": run})
    assert f"{path}: image 3: gone.jpg is not in" in words


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many GPUs")
@pytest.mark.parametrize("script", [train_net, search_net])
def test_more_gpus_than_there_are_is_an_error(fails, run, script):
    words = fails(script, DETECTOR, {"OUTPUT_DIR": run}, "--num-gpus", "8")
    assert f"--num-gpus 8: this machine has {torch.cuda.device_count()} GPUs" in words
    assert torch.cuda.is_available() or "--cpu-processes N starts N processes without GPUs" in words


def test_several_machines_need_a_url_and_in_a_search_ray(fails, run):
    assert "SEARCH.RAY_ADDRESS" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    words = fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    assert "--num-machines 2 needs --dist-url tcp://HOST:PORT" in words


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_several_machines_need_gpus(fails, run):
    flags = ["--num-machines", "2", "--dist-url", "tcp://127.0.0.1:29500"]
    assert "needs GPUs on each" in fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, *flags)


def test_a_search_without_a_trained_supernet_says_how_to_get_one(fails, run, toy_root):
    words = fails(search_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run}, leaves=["log.txt"])
    assert f"no trained network at {run}/model_final.pth: train it with train_net.py, or give MODEL.WEIGHTS" in words


def test_an_evaluation_of_the_best_without_a_search_is_an_error(fails, run, toy_root, supernet):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, "--eval-only", leaves=["log.txt"])
    assert f"{run}/search.jsonl" in words and "search_net.py writes it" in words


def test_weights_that_do_not_match_list_the_first_names(fails, run, toy_root, supernet):
    state = torch.load(supernet, weights_only=True)["model"]
    block = "backbone.bottom_up.stage2.1.3."
    gone = [name for name in state if name.startswith(block) and not name.endswith("num_batches_tracked")]
    torch.save({"model": {name: value for name, value in state.items() if name not in gone}}, supernet)
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    for script in (train_net, search_net):
        words = fails(script, DETECTOR, overrides, leaves=ANYTHING)
        assert f"weights {supernet} do not match the model" in words
        assert f"{len(gone)} names are missing in the file ({', '.join(gone[:3])}, ...)" in words


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


def test_a_search_with_other_settings_is_refused(fails, run, toy_root, supernet):
    run.mkdir()
    log = SearchLog(str(run), get_space("tiny"), {"space": "tiny", "seed": 7})
    log.append(Candidate((0,) * 8, 0, 1.0))
    log.close()
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, leaves=["log.txt"])
    assert "seed was 7 and is 0" in words and "OUTPUT_DIR" in words


#: KEY -> values that it cannot have; the sentence begins with the key
SETTINGS = {
    "MODEL.DETNAS.SHUFFLE": ["odd"],
    "MODEL.DETNAS.FREEZE_AT": [-1],
    "INPUT.CLASSIFIER.SIZE": [0],
    "INPUT.CLASSIFIER.CROP_AREA": ["(0.9,0.1)", "(0.5,)", "(0.0,1.0)"],
    "INPUT.CLASSIFIER.COLOR_JITTER": [-0.4],
    "INPUT.SCALE_JITTER.SIZE": ["(640,)", "(0,640)"],
    "INPUT.SCALE_JITTER.RANGE": ["(1.2,0.8)", "(0.0,1.0)"],
    "DATALOADER.NUM_WORKERS": [-1],
    "DATALOADER.IMAGE_CACHE_GB": [-1.0],
    "SOLVER.IMS_PER_BATCH": [0, -8],
    "SOLVER.ACCUMULATE": [0],
    "SOLVER.BASE_LR": [-1.0, 1e9],
    "SOLVER.MAX_ITER": [-1, 0],
    "SOLVER.LR_SCHEDULER_NAME": ["Cosine"],
    "SOLVER.CHECKPOINT_PERIOD": [0],
    "SUPERNET.PATH_SAMPLING": ["random"],
    "SUPERNET.BALANCED_FLOPS": ["(3e6,2e6)", "(1e6,)", "('a','b')"],
    "SUPERNET.BALANCED_BINS": [0],
    "SUPERNET.EVAL_RANDOM_PATHS": [-1],
    "SUPERNET.EVAL_IMAGES": [-1],
    "SEARCH.FLOPS_RESOLUTION": ["(0,0)", "(224,)"],
    "SEARCH.DETECTOR_RESOLUTION": ["(800,0)"],
    "SEARCH.LATENCY_BATCH": [0],
    "SEARCH.POPULATION": [0],
    "SEARCH.NUM_PARENTS": [0],
    "SEARCH.GENERATIONS": [0],
    "SEARCH.NUM_MUTATE": [-1],
    "SEARCH.NUM_CROSS": [-1],
    "SEARCH.MUTATE_PROB": [7.0],
    "SEARCH.SEARCHER": ["annealing"],
    "SEARCH.EXECUTOR": ["slurm"],
    "SEARCH.WORKERS": [0],
    "SEARCH.TRIES": [0],
    "SEARCH.TIMEOUT": [-1],
    "SEARCH.RECALIBRATION_IMAGES": [0],
    "SEARCH.RECALIBRATION_BATCH": [0],
    "SEARCH.EVALUATION_BATCH": [0],
    "SEARCH.IMAGE_CACHE_GB": [-1.0],
    "SEARCH.AUTOCAST": ["fp8"],
}
#: of another type, or no key at all
KEYS = [("SOLVER.MAX_ITER", "many"), ("SOLVER.BASE_LR", "nan"), ("DATASETS.TRAIN", "5"),
        ("SEARCH.CONSTRAINTS", "5"), ("SOLVER", "5"),
        ("SOLVER.MAXITER", "5"), ("MODEL.DETNAS.ARCH.X", "5"), ("NOTHING", "5")]
#: what a supernet's training says of the search that comes hours later: overrides, words
LATER = [
    ({"SEARCH.POPULATION": 8}, "do not fit into a population of 8"),
    ({"SEARCH.METRIC": "bbox/AP95"}, 'SEARCH.METRIC "bbox/AP95" is not reported'),
    ({"SEARCH.CONSTRAINTS": "('backbone_flops <= 1e3',)"}, 'no network of "tiny" has at most'),
    ({"SEARCH.CONSTRAINTS": "('backbone_flops < 3',)"}, 'constraint "backbone_flops < 3"'),
    ({"SEARCH.CONSTRAINTS": "('speed <= 3',)"}, 'unknown metric "speed"'),
    ({"SEARCH.CONSTRAINTS": "('latency_ms <= soon',)"}, 'constraint "latency_ms <= soon"'),
    ({"SEARCH.OBJECTIVES": "['speed']"}, 'SEARCH.OBJECTIVES: unknown cost "speed"'),
    ({"SEARCH.INITIAL": "['99-99-99-99']"}, 'SEARCH.INITIAL "99-99-99-99"'),
    ({"SEARCH.INITIAL": "['gone.yaml']"}, "SEARCH.INITIAL: gone.yaml does not exist"),
]
#: what DATASETS.TRAIN cannot name
DATA = ["nowhere", "coco:a.json", "coco:gone.json:.", "coco:$GONE_VARIABLE/a.json:.", "voc:gone:train", "voc:.",
        "folder:gone", "folder:.", "folder:.:gone.txt"]


@pytest.mark.parametrize("key, value", [(key, value) for key, values in SETTINGS.items() for value in values])
def test_a_setting_that_cannot_be_is_named_with_what_it_may_be(fails, run, toy_root, key, value):
    words = fails(train_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run, key: value})
    assert words.startswith(f"{key} is ") and "; it must be " in words


@pytest.mark.parametrize("key, value", KEYS)
def test_a_key_that_is_none_and_a_value_of_another_type_are_named(fails, run, key, value):
    assert key in fails(train_net, DETECTOR, {"OUTPUT_DIR": run, key: value})


@pytest.mark.parametrize("overrides, words", LATER)
def test_a_supernets_training_judges_its_search(fails, run, toy_root, overrides, words):
    data = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    assert words in fails(train_net, DETECTOR, {**data, **overrides}, leaves=["log.txt"])


@pytest.mark.parametrize("name", DATA)
def test_data_that_is_not_there_is_named(fails, run, name):
    assert name.split(":")[-1] in fails(train_net, DETECTOR, {"OUTPUT_DIR": run, "DATASETS.TRAIN": f"('{name}',)"})


def test_a_training_without_data_says_so(fails, run, toy_root):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "DATASETS.TRAIN": "()"}
    assert "DATASETS.TRAIN is empty" in fails(train_net, DETECTOR, overrides, leaves=["log.txt"])


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many GPUs")
def test_a_gpu_that_is_not_there_is_named(fails, run, toy_root):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.DEVICE": "cuda:7"}
    words = fails(train_net, DETECTOR, overrides, leaves=["log.txt"])
    assert words.startswith("MODEL.DEVICE cuda:7: this machine has ")


@pytest.mark.parametrize("script", [train_net, search_net])
@pytest.mark.parametrize("folder", ["file", "file/run", "/proc/run"])
def test_an_output_folder_that_cannot_be_is_named(fails, toy_root, tmp_path, script, folder):
    (tmp_path / "file").write_text("")
    words = fails(script, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": folder})
    reason = "is a file" if folder == "file" else "cannot be made: "
    assert words.startswith(f"OUTPUT_DIR {folder} {reason}")


@pytest.mark.parametrize("flag", ["--list", "--front", "--report", "--best=3"])
def test_a_log_that_is_not_there_is_named(fails, run, flag):
    assert f"{run}/search.jsonl does not exist" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, flag)
