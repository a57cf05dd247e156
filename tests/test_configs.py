import collections
import functools
from pathlib import Path

import pytest
import yaml
from detectron2.modeling import build_model

from detnas import Constraint, CostTable, find_supernet, get_space
from detnas.engine.setup import load_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.rglob("*.yaml"))
LEAVES = [name for name in FILES if not Path(name).name.startswith("Base-")]
#: A config inherits from at most this many others, one after the other.
MAX_BASES = 3
MAX_LEAF_LINES = 25


def load(name):
    """The config for a build on the CPU; the arch of a search that has not run yet is all 0."""
    cfg = load_config(str(CONFIGS / name), ["MODEL.DEVICE", "cpu"])
    if cfg.MODEL.DETNAS.ARCH.endswith(".yaml"):
        cfg.MODEL.DETNAS.ARCH = "0" * get_space(cfg.MODEL.DETNAS.SPACE).num_blocks
    return cfg


def bases(path):
    """The files that a config inherits from, nearest first."""
    found = []
    while base := yaml.safe_load(path.read_text()).get("_BASE_"):
        path = path.parent / base
        found.append(path)
    return found


@functools.lru_cache
def measure(space, resolution):
    return CostTable.measure(get_space(space), resolution)


@pytest.mark.parametrize("name", FILES)
def test_every_config_loads(name):
    assert load_config(str(CONFIGS / name)).VERSION == 2


@pytest.mark.parametrize("name", LEAVES)
def test_every_leaf_builds_its_model(name):
    cfg = load(name)
    model = build_model(cfg)
    assert type(model).__name__ == cfg.MODEL.META_ARCHITECTURE
    if "detnas" in cfg.MODEL.BACKBONE.NAME:
        assert (find_supernet(model) is not None) == (cfg.MODEL.DETNAS.ARCH == "supernet")


@pytest.mark.parametrize("name", FILES)
def test_a_config_has_few_bases_and_the_last_one_is_the_projects(name):
    chain = [CONFIGS / name, *bases(CONFIGS / name)]
    assert len(chain) - 1 <= MAX_BASES
    assert chain[-1].resolve() == CONFIGS / "Base-DetNAS.yaml"


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_is_short(name):
    assert len((CONFIGS / name).read_text().splitlines()) <= MAX_LEAF_LINES


@pytest.mark.parametrize("name", LEAVES)
def test_images_enter_every_network_in_the_same_way(name):
    cfg = load(name)
    assert (cfg.INPUT.FORMAT, list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)) == ("BGR", [0.0] * 3, [1.0] * 3)


@pytest.mark.parametrize("name", LEAVES)
def test_the_steps_of_the_learning_rate_lie_within_the_run(name):
    solver = load(name).SOLVER
    assert list(solver.STEPS) == sorted(solver.STEPS)
    assert solver.WARMUP_ITERS < solver.MAX_ITER and all(step < solver.MAX_ITER for step in solver.STEPS)


def test_every_leaf_has_an_output_folder_of_its_own():
    folders = collections.Counter(load(name).OUTPUT_DIR for name in LEAVES)
    assert [folder for folder, count in folders.items() if count > 1] == []


def is_searched(name):
    """Steps 2 and 3 share a config: a detector's supernet."""
    cfg = load(name)
    return cfg.MODEL.DETNAS.ARCH == "supernet" and cfg.MODEL.META_ARCHITECTURE != "ImageClassifier"


@pytest.mark.parametrize("name", list(filter(is_searched, LEAVES)))
def test_the_limits_of_a_search_can_be_met_and_its_numbers_fit(name):
    cfg = load(name)
    table = measure(cfg.MODEL.DETNAS.SPACE, tuple(cfg.SEARCH.FLOPS_RESOLUTION))
    for text in cfg.SEARCH.CONSTRAINTS:
        Constraint.parse(text).check_reachable(table)
    assert cfg.SEARCH.NUM_MUTATE + cfg.SEARCH.NUM_CROSS <= cfg.SEARCH.POPULATION
    assert cfg.SEARCH.NUM_PARENTS <= cfg.SEARCH.POPULATION
