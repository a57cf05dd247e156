"""The demo of DetNAS: a supernet is trained and searched; the winner and others are each trained alone."""

import os
import statistics

from common import TEST_SET, as_text, generate_images, run_side_by_side, test_ap

from detnas.config.load import load_config
from detnas.files import read_json
from detnas.search.log import read_log
from detnas.search.settings import build_searcher, initial_paths, supernet_limits

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


def random_networks():
    """The first random ones that the search will evaluate: they are drawn before it starts."""
    limits = supernet_limits(cfg := load_config(CONFIG))
    initial = initial_paths(cfg, limits)
    first = build_searcher(cfg, limits, initial).lineage([], 0)
    return [limits.space.format(path) for path in first if path not in initial.values()][:RANDOM]


def found(others):
    """What the search tells of some networks: name -> (arch, score); one arch can have two names."""
    log = read_log(os.path.join(OUTPUT, "supernet"))
    scores = {log.space.format(c.network): c.score for c in log.best(None)}  # best first
    plain = next(arch for arch in scores if len(set(arch)) == 1)
    chosen = {"the winner": next(iter(scores)), "the best of one op": plain}
    chosen.update({f"random {number}": arch for number, arch in enumerate(others, 1)})
    return {name: (arch, scores[arch]) for name, arch in chosen.items()}


def run_all(steps):
    """Everything that is not done yet: the search, and what tells whether it was worth it."""
    generate_images(steps)
    others = random_networks()
    alone = {f"train random {number} alone": ALONE.format(arch=arch) for number, arch in enumerate(others, 1)}
    run_side_by_side(steps, {"train the supernet": STEPS["train the supernet"], **alone})
    steps("search", *STEPS["search"].split())
    networks = found(others)
    names = {arch: name for name, (arch, _) in networks.items() if arch not in others}
    rest = {f"train {name} alone": ALONE.format(arch=arch) for arch, name in names.items()}
    rest["test the winner"] = INHERITED.format(arch=networks["the winner"][0])
    rest["report"] = f"{SEARCH} --report"
    run_side_by_side(steps, rest)


def results(seconds):
    """The table at the end, as text."""
    networks = found(random_networks())
    inherited = read_json(os.path.join(OUTPUT, "inherited", "evaluation.json"))["metrics"]["bbox/AP"]
    rows = [
        [f"{name}, {arch}, trained alone", score, test_ap(f"{OUTPUT}/alone_{arch}")]
        for name, (arch, score) in networks.items()
    ]
    first, one_op, *others = rows
    mean = [statistics.mean(row[column] for row in others) for column in (1, 2)]
    scores = [
        first,
        ["the winner without training of its own", first[1], inherited],
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
