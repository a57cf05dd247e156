import collections
import functools
from pathlib import Path

import pytest
import yaml
from detectron2.modeling import build_model

from detnas import Constraint, CostTable, config_space
from detnas.command_line import argument_parser
from detnas.config.load import load_config
from detnas.config.settings import check_settings
from detnas.cost.flops import shapes_alone
from detnas.modeling.choices import is_supernet
from spnas.serial_search import SerialSearch

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.rglob("*.yaml"))
LEAVES = [name for name in FILES if not Path(name).name.startswith("Base-")]
#: A config inherits from at most this many others, one after the other; a second search from that of the first, too.
MAX_BASES = 4
MAX_LEAF_LINES = 25


@functools.lru_cache
def load(name):
    """The config for a build, not to be changed; the arch of a search that has not run yet is all 0."""
    cfg = load_config(str(CONFIGS / name), ["MODEL.DEVICE", "cpu"])
    if cfg.MODEL.DETNAS.ARCH.endswith(".yaml"):
        cfg.MODEL.DETNAS.ARCH = "0" * config_space(cfg).num_blocks
    return cfg


def bases(path):
    """The files that a config inherits from, nearest first."""
    found = []
    while base := yaml.safe_load(path.read_text()).get("_BASE_"):
        path = path.parent / base
        found.append(path)
    return found


#: those that were built
MODELS = set()


@pytest.mark.parametrize("name", LEAVES)
def test_every_leaf_builds_its_model(name):
    cfg = load(name).clone()
    # Without memory or arithmetic; sizes and names are the same. Many train one model in different ways.
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "meta", ""
    if cfg.MODEL.dump() in MODELS:
        return
    with shapes_alone():
        model = build_model(cfg)
    assert type(model).__name__ in (cfg.MODEL.META_ARCHITECTURE, f"Elastic{cfg.MODEL.ELASTIC.DETECTOR}")
    if "detnas" in cfg.MODEL.BACKBONE.NAME:
        assert is_supernet(model) == (cfg.MODEL.DETNAS.ARCH == "supernet")
    MODELS.add(cfg.MODEL.dump())


@pytest.mark.parametrize("name", FILES)
def test_a_config_has_few_bases_and_the_last_one_is_the_projects(name):
    chain = [CONFIGS / name, *bases(CONFIGS / name)]
    assert len(chain) - 1 <= MAX_BASES
    assert chain[-1].resolve() == CONFIGS / "Base-DetNAS.yaml"


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_is_short_and_its_settings_go_together(name):
    assert len((CONFIGS / name).read_text().splitlines()) <= MAX_LEAF_LINES
    cfg = load(name)
    # Images enter every network in the same way.
    # A pre-trained network has pixels of its own.
    pixels = cfg.INPUT.FORMAT, list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)
    assert pixels == ("BGR", [0.0] * 3, [1.0] * 3) or name.startswith(("Pretrained/", "ElasticDet/"))
    solver = cfg.SOLVER
    assert solver.WARMUP_ITERS < solver.MAX_ITER
    if "MultiStep" in solver.LR_SCHEDULER_NAME:
        assert list(solver.STEPS) == sorted(solver.STEPS) and all(step < solver.MAX_ITER for step in solver.STEPS)


def test_every_leaf_has_an_output_folder_of_its_own():
    folders = collections.Counter(load(name).OUTPUT_DIR for name in LEAVES)
    assert [folder for folder, count in folders.items() if count > 1] == []


def test_the_limits_of_a_search_can_be_met_and_its_numbers_fit():
    measure = functools.lru_cache(CostTable.measure)
    for cfg in map(load, LEAVES):
        # Steps 2 and 3 share a config: a detector's supernet.
        is_supernet = "detnas" in cfg.MODEL.BACKBONE.NAME and cfg.MODEL.DETNAS.ARCH == "supernet"
        if is_supernet and cfg.MODEL.META_ARCHITECTURE != "ImageClassifier":
            table = measure(config_space(cfg), tuple(cfg.SEARCH.FLOPS_RESOLUTION))
            for limit in map(Constraint.parse, cfg.SEARCH.CONSTRAINTS):
                limit.check_reachable(table.space.name, table.bounds(limit.metric))
            check_settings(cfg)
            assert cfg.SEARCH.NUM_PARENTS <= cfg.SEARCH.POPULATION


@pytest.mark.parametrize("name", [name for name in LEAVES if load(name).SEARCH.METHOD == "spnas_serial"])
def test_the_start_network_of_a_serial_search_is_within_its_limits(name):
    cfg = load(name)
    space, _, searcher = SerialSearch.read(cfg)
    assert searcher.start in space
    if cfg.SEARCH.REIGNITIONS:
        assert (CONFIGS.parent / cfg.SEARCH.REIGNITION_CONFIG).is_file()


@pytest.mark.parametrize("name", [name for name in LEAVES if load(name).SEARCH.METHOD == "spnas_parallel"])
def test_a_parallel_search_goes_on_from_a_serial_one_of_the_same_detector(name):
    cfg = load(name)
    (serial,) = [other for other in map(load, LEAVES) if other.OUTPUT_DIR == cfg.SEARCH.SERIAL_OUTPUT]
    assert serial.SEARCH.METHOD == "spnas_serial"
    assert (serial.MODEL, serial.DATASETS, serial.INPUT) == (cfg.MODEL, cfg.DATASETS, cfg.INPUT)


RECIPES = CONFIGS.parent / "docs" / "recipes.md"
FAMILIES = ("ImageNet", "COCO", "VOC")


def recipes():
    """{config: (batch, lr, iterations, steps, weight decay, last column)} from the tables of the docs."""
    rows = {}
    for line in RECIPES.read_text().splitlines():
        if line.startswith("| `") and ".yaml`" in line:
            name, batch, lr, iterations, steps, decay, last = (cell.strip() for cell in line.strip("|").split("|"))
            assert name not in rows
            rows[name.strip("`")] = int(batch), float(lr), int(iterations), steps, float(decay), last
    return rows


def test_the_recipes_list_every_config_of_the_papers_data_sets():
    assert sorted(recipes()) == sorted(name for name in LEAVES if name.split("/")[0] in FAMILIES)


@pytest.mark.parametrize("name", recipes())
def test_a_config_holds_the_numbers_of_its_recipe(name):
    batch, lr, iterations, steps, decay, last = recipes()[name]
    cfg = load(name)
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER) == (batch, lr, iterations)
    assert solver.WEIGHT_DECAY == decay and solver.MOMENTUM == 0.9 and solver.REFERENCE_WORLD_SIZE == 8
    assert cfg.OUTPUT_DIR == f"output/{name.removesuffix('.yaml')}"
    if name.startswith("ImageNet/"):
        assert steps == "linear" and solver.LR_SCHEDULER_NAME == "LinearLR" and solver.WARMUP_ITERS == 0
        assert (solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_BIAS, cfg.MODEL.WEIGHTS) == (0, 0, "")
        return
    assert steps == ", ".join(map(str, solver.STEPS)) and solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR"
    assert cfg.MODEL.WEIGHTS == ("" if last == "random" else f"output/{last}/model_final.pth")
    assert solver.WEIGHT_DECAY_NORM == 0
    if last != "random":
        # A detector starts from a network of its own kind.
        pretrained = load(f"{last}.yaml").MODEL
        assert pretrained.META_ARCHITECTURE == "ImageClassifier" and pretrained.DETNAS == cfg.MODEL.DETNAS
        assert {**pretrained.RESNETS, "OUT_FEATURES": 0} == {**cfg.MODEL.RESNETS, "OUT_FEATURES": 0}


@pytest.mark.parametrize("name", [name for name in recipes() if "supernet" in name or not name.startswith("ImageNet/")])
def test_the_search_never_sees_the_test_images_and_the_winner_all_training_images(name):
    cfg = load(name)
    # A supernet that is only pre-trained on ImageNet is searched on detection.
    is_searched = "supernet" in name if not name.startswith("ImageNet/") else name.endswith("_cls.yaml")
    train, test, whole = {
        "COCO": ("coco_2017_train", ("coco_2017_val",), ("coco_2017_train",)),
        "VOC": ("voc_0712_trainval", ("voc_2007_test",), ("voc_2007_trainval", "voc_2012_trainval")),
        "ImageNet": ("imagenet_train", ("imagenet_val",), ("imagenet_train",)),
    }[name.split("/")[0]]
    parts = ((f"{train}_search",), (f"{train}_holdout",))
    assert (tuple(cfg.DATASETS.TRAIN), tuple(cfg.DATASETS.TEST)) == (parts if is_searched else (whole, test))
    if "supernet" in name:
        # The paper's search begins with random networks.
        assert list(cfg.SEARCH.INITIAL) == []


def test_without_a_config_file_the_small_space_is_trained_with_fpn_on_coco():
    args = argument_parser().parse_args([])
    assert Path(args.config_file).name == "supernet_fpn_300M.yaml" and Path(args.config_file).parent.name == "COCO"
