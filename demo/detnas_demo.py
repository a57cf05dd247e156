"""The demo of DetNAS: a supernet is trained and searched; the winner and others are each trained alone."""

import json
import os
import statistics

from common import TEST_SET, as_text, generate_images, run_side_by_side, test_ap

from detnas.files import read_json

OUTPUT = "output/demo"
LOGS, RESULTS_FILE = (os.path.join(OUTPUT, name) for name in ("log", "results.md"))
REPORT = os.path.join(OUTPUT, "supernet", "report.html")
RANDOM = 3

SEARCH = "search_net.py --config-file configs/demo/outlines_2_train_supernet.yaml"
ALONE = "train_net.py --config-file configs/demo/outlines_alone.yaml --resume MODEL.DETNAS.ARCH {arch} " \
        f"OUTPUT_DIR {OUTPUT}/alone_{{arch}}"
INHERITED = f"{SEARCH} --arch {{arch}} MODEL.WEIGHTS {OUTPUT}/supernet/model_final.pth OUTPUT_DIR {OUTPUT}/inherited " \
            f"{TEST_SET}"
#: name -> arguments of python
STEPS = {
    "train the supernet": "train_net.py --config-file configs/demo/outlines_2_train_supernet.yaml --resume",
    "search": SEARCH,
}


def read_lines(*path):
    with open(os.path.join(OUTPUT, *path)) as f:
        return [json.loads(line) for line in f]


def found():
    """
    What the search tells: name -> (arch, score) of the winner, of the best network of one op, and of the first random
    ones; one arch can have two names.
    """
    candidates = [c for c in read_lines("supernet", "search.jsonl")[1:] if c["score"] is not None]
    plain = [c for c in candidates if len(set(c["network"].replace("-", ""))) == 1]
    others = [c for c in candidates if c["generation"] == 0 and c not in plain]
    winner, *_ = sorted(candidates, key=lambda c: (-c["score"], c["network"]))
    chosen = {"the winner": winner, "the best of one op": max(plain, key=lambda c: c["score"])}
    chosen.update({f"random {number}": c for number, c in enumerate(others[:RANDOM], 1)})
    return {name: (c["network"], c["score"]) for name, c in chosen.items()}


def run_all(steps):
    """Everything that is not done yet: the search, then what tells whether it was worth it."""
    generate_images(steps)
    for name, arguments in STEPS.items():
        steps(name, *arguments.split())
    networks = found()
    names = {}
    for name, (arch, _) in networks.items():
        # One arch can have two names.
        names.setdefault(arch, name)
    rest = {f"train {name} alone": ALONE.format(arch=arch) for arch, name in names.items()}
    rest["test the winner"] = INHERITED.format(arch=networks["the winner"][0])
    rest["report"] = f"{SEARCH} --report"
    run_side_by_side(steps, rest)


def results(seconds):
    """The table at the end, as text."""
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
