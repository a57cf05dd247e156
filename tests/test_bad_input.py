"""
Settings and files that a script cannot take, as a table: whatever it is, one sentence that names it and exit code 2.
"""

import pytest
import torch
from toy_runs import detection

import search_net
import train_net

pytest_plugins = ["error_fixtures"]
pytestmark = pytest.mark.usefixtures("run")
DETECTOR = "toy_2_train_supernet"

#: KEY -> values that it cannot have; the sentence begins with the key
SETTINGS = {
    "SEED": [2**31],
    "MODEL.DEVICE": ["''", "tpu", "cuda:", "cuda:x", "gpu"],
    "MODEL.PIXEL_STD": ["[]", "[1.0,0.0,1.0]"],
    "MODEL.ANCHOR_GENERATOR.SIZES": ["[]", "[[]]", "[[-8]]", "[['a']]"],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": ["[[0.0]]"],
    "MODEL.DETNAS.SHUFFLE": ["odd"],
    "MODEL.DETNAS.FREEZE_AT": [-1],
    "MODEL.FPN.OUT_CHANNELS": [0],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": [0],
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": [0, -8],
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": [1.5],
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": [-0.1],
    "MODEL.ROI_BOX_HEAD.CONV_DIM": [0],
    "INPUT.FORMAT": ["GRB"],
    "INPUT.MIN_SIZE_TRAIN": ["(0,)", "()", "('a',)"],
    "INPUT.MAX_SIZE_TRAIN": [0],
    "INPUT.MIN_SIZE_TEST": [-1],
    "INPUT.RANDOM_FLIP": ["diagonal"],
    "INPUT.CLASSIFIER.SIZE": [0],
    "INPUT.CLASSIFIER.CROP_AREA": ["(0.9,0.1)", "(0.5,)", "(0.0,1.0)"],
    "INPUT.CLASSIFIER.COLOR_JITTER": [-0.4],
    "DATALOADER.NUM_WORKERS": [-1],
    "DATALOADER.IMAGE_CACHE_GB": [-1.0],
    "DATALOADER.SAMPLER_TRAIN": ["Random"],
    "SOLVER.IMS_PER_BATCH": [0, -8],
    "SOLVER.REFERENCE_WORLD_SIZE": [-1],
    "SOLVER.ACCUMULATE": [0],
    "SOLVER.BASE_LR": [-1.0, 1e9],
    "SOLVER.MOMENTUM": [1.5],
    "SOLVER.WEIGHT_DECAY": [-1e-4],
    "SOLVER.MAX_ITER": [-1, 0],
    "SOLVER.LR_SCHEDULER_NAME": ["Cosine"],
    "SOLVER.GAMMA": [0.0],
    "SOLVER.WARMUP_ITERS": [-1],
    "SOLVER.WARMUP_METHOD": ["slow"],
    "SOLVER.CHECKPOINT_PERIOD": [0],
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ["length"],
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": [0.0],
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
    ({"SEARCH.CONSTRAINTS": "('backbone_flops <= 1e3',)"}, 'no path of "tiny" has at most'),
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
#: content of an annotation file, and what is said of it
JSON = [("", "not a JSON file"), ("{", "not a JSON file"), ("[]", 'no "images"'),
        ('{"images": []}', '"images" is empty'), ('{"images": [{}]}', 'no "annotations"'),
        ('{"images": [{}], "annotations": []}', '"annotations" is empty')]


@pytest.mark.parametrize("key, value", [(key, value) for key, values in SETTINGS.items() for value in values])
def test_a_setting_that_cannot_be_is_named_with_what_it_may_be(fails, run, toy_root, key, value):
    words = fails(train_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run, key: value})
    assert words.startswith(f"{key} is ") and "; it must be " in words


@pytest.mark.parametrize("key, value", KEYS)
def test_a_key_that_is_none_and_a_value_of_another_type_are_named(fails, run, key, value):
    assert key in fails(train_net, DETECTOR, {"OUTPUT_DIR": run, key: value})


def test_a_key_that_is_nearly_one_is_answered_with_it(fails, run):
    words = fails(train_net, DETECTOR, {"SOLVER.MAXITER": 5})
    assert words == "SOLVER.MAXITER is no setting; did you mean SOLVER.MAX_ITER?"


@pytest.mark.parametrize("overrides, words", LATER)
def test_a_supernets_training_judges_its_search(fails, run, toy_root, overrides, words):
    data = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    assert words in fails(train_net, DETECTOR, {**data, **overrides}, leaves=["log.txt"])


@pytest.mark.parametrize("name", DATA)
def test_data_that_is_not_there_is_named(fails, run, name):
    assert name.split(":")[-1] in fails(train_net, DETECTOR, {"OUTPUT_DIR": run, "DATASETS.TRAIN": f"('{name}',)"})


@pytest.mark.parametrize("content, words", JSON)
def test_an_annotation_file_that_is_none_is_named(fails, run, tmp_path, content, words):
    (tmp_path / "own.json").write_text(content)
    data = f"('coco:{tmp_path}/own.json:{tmp_path}',)"
    said = fails(train_net, DETECTOR, {"OUTPUT_DIR": run, "DATASETS.TRAIN": data})
    assert f"{tmp_path}/own.json" in said and words in said


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


def test_less_than_one_candidate_cannot_be_shown(fails, run):
    assert "--best 0" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, "--best", "0")
