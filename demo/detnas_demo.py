"""The demo of DetNAS: a supernet is trained and searched; the winner and others are trained alone."""

import functools
import os
import statistics

from common import TEST_SET, as_text, generate_images, run_side_by_side, test_ap

from detnas.config.load import load_config
from detnas.files import read_json
from detnas.launch.setup import register_datasets
from detnas.search.log import read_log
from detnas.search.settings import read_settings

OUTPUT = "output/demo"
LOGS, RESULTS_FILE = (os.path.join(OUTPUT, name) for name in ("log", "results.md"))
REPORT = os.path.join(OUTPUT, "supernet", "report.html")
RANDOM = 3

CONFIG = "configs/demo/outlines_2_train_supernet.yaml"
SEARCH = f"search_net.py --config-file {CONFIG}"
ALONE = "train_net.py --config-file configs/demo/outlines_alone.yaml --resume MODEL.DETNAS.ARCH {arch} " \
        f"OUTPUT_DIR {OUTPUT}/alone_{{arch}}"
INHERITED = f"{SEARCH} --arch {{arch}} MODEL.WEIGHTS {OUTPUT}/supernet/model_final.pth OUTPUT_DIR {OUTPUT}/inherited " \
            f"{TEST_SET}"
#: name -> arguments of python
STEPS = {"train the supernet": f"train_net.py --config-file {CONFIG} --resume", "search": SEARCH}


@functools.cache
def random_networks():
    """The first random networks that the search will evaluate, known before it starts."""
    cfg = load_config(CONFIG)
    register_datasets(cfg)
    limits, initial, searcher = read_settings(cfg)
    drawn = [path for path in searcher.lineage([], 0) if path not in initial.values()]
    return list(map(limits.space.format, drawn[:RANDOM]))


def found():
    """Name -> (arch, score in the search) of networks to compare; one arch can have two names."""
    log = read_log(os.path.join(OUTPUT, "supernet"))
    best = log.best(None)
    chosen = {"the winner": best[0], "the best of one op": next(c for c in best if c.network in log.known)}
    chosen.update({f"random {n}": log.get(log.space.parse(arch)) for n, arch in enumerate(random_networks(), 1)})
    return {name: (log.space.format(c.network), c.score) for name, c in chosen.items()}


def run_all(steps):
    """Run the steps that are not done: the search, and the trainings that judge it."""
    generate_images(steps)
    first = {f"train random {n} alone": ALONE.format(arch=arch) for n, arch in enumerate(random_networks(), 1)}
    run_side_by_side(steps, {"train the supernet": STEPS["train the supernet"], **first})
    steps("search", *STEPS["search"].split())
    networks = found()
    names = {arch: name for name, (arch, _) in networks.items() if arch not in random_networks()}
    rest = {f"train {name} alone": ALONE.format(arch=arch) for arch, name in names.items()}
    rest["test the winner"] = INHERITED.format(arch=networks["the winner"][0])
    rest["report"] = f"{SEARCH} --report"
    run_side_by_side(steps, rest)


def results(seconds):
    """The tables at the end, as text."""
    networks = found()
    inherited = read_json(os.path.join(OUTPUT, "inherited", "evaluation.json"))["metrics"]["bbox/AP"]
    rows = [
        [f"{name}, {arch}, trained alone", score, test_ap(f"{OUTPUT}/alone_{arch}")]
        for name, (arch, score) in networks.items()
    ]
    first, one_op, *others = rows
    mean = [statistics.mean(row[column] for row in others) for column in (1, 2)]
    scores = [
        first,
        ["the winner with the supernet's weights", first[1], inherited],
        one_op,
        [f"mean of {len(others)} random networks, trained alone", *mean],
    ]
    files = [
        ["every candidate of the search", f"{OUTPUT}/supernet/search.jsonl"],
        ["picture of the search", f"{OUTPUT}/supernet/search.png"],
        ["the winner's arch", f"{OUTPUT}/supernet/best.yaml"],
        ["its detector with the supernet's weights", f"{OUTPUT}/supernet/best.pth"],
        ["its detector, trained alone", f"{OUTPUT}/alone_{networks['the winner'][0]}/model_final.pth"],
        ["output of all commands", LOGS],
        ["this table", RESULTS_FILE],
    ]
    return as_text(scores, ["network", "AP in the search", "AP on the test images"], seconds, files)
