#!/usr/bin/env python
"""
Among the sub-networks of EfficientNet-Lite2 that take no longer than Lite0 in the same detector: does a search find one
that beats Lite0 after as much training?

    python experiments/sub_networks.py --seeds 0 1               blood cells, 80 minutes on two cores

For each seed a family of them is trained for the time of one training, the best one within Lite0's milliseconds is
searched for on held-out images and tested as the family leaves it, and a network of its shape, with the weights of
Lite2, is trained alone for as long as Lite0 was. Iterations are as many as fit into the time; milliseconds are of ONNX
Runtime and one thread: let the machine be idle. Lite0's figures are those of family.py, its training "one_192". Stopped
or killed, the study goes on when it is started again.
"""

import argparse
import concurrent.futures
import json
import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from family import COST, EVOLVED, Study
from seed_runs import SeedRuns
from shared import IN_ONE_PROCESS, ROOT

from detnas.config.load import load_config, with_settings
from detnas.errors import user_errors
from detnas.files import read_json, write_text
from detnas.launch.outputs import read_metrics
from detnas.search.log import read_log
from elasticdet.space import SIZE
from find_detector.steps import goes_on_later

#: pixels of the images; family.py trains Lite0 for them as "one_192"
SIDE = 192
TEST = "voc:$DETNAS_DATA/bccd_voc/VOCdevkit/VOC2007:test"


class SubNetworks(Study):
    def train(self, seed):
        self.runs(seed).run("trained", "train_net.py", self.config, *self.places("blocks"), *IN_ONE_PROCESS,
                            "SOLVER.MAX_ITER", self.iterations("blocks"), "DATASETS.TEST", "()")

    def search(self, seed, limit):
        """The best sub-network within so many milliseconds; its AP on held-out images, and in the family on others."""
        runs = self.runs(seed)
        settings = (*self.places("blocks"), *IN_ONE_PROCESS, "MODEL.WEIGHTS", runs.path("trained", "model_final.pth"))
        runs.run("val", "search_net.py", self.config, *settings, *EVOLVED, "SEARCH.CONSTRAINTS",
                 f"('detector_latency_ms <= {limit:.2f}',)")
        best = read_log(runs.path("val")).best()[0]
        child = self.space.format(best.network)
        test = ("DATASETS.TEST", f"('{self.test}',)")
        runs.run("test", "search_net.py", self.config, *settings, *test, flags=("--arch", child))
        tested = read_json(runs.path("test", "evaluation.json"))["metrics"]["bbox/AP"]
        return {"child": child, "ms": best.costs[COST], "val": best.score, "in family": tested}

    def alone(self, seed, child):
        """AP on the test images of a sub-network that was trained alone."""
        words, runs = self.words(child), self.runs(seed)
        runs.run("alone", "train_net.py", self.config, *words, *IN_ONE_PROCESS, "SOLVER.MAX_ITER",
                 round(self.seconds / self.step(child, words)), "DATASETS.TEST", f"('{self.test}',)")
        (found,) = [line["bbox/AP"] for line in read_metrics(runs.path("alone")) if "bbox/AP" in line]
        return found

    def words(self, child):
        """Overrides for a sub-network alone."""
        cfg = with_settings(load_config(os.path.join(ROOT, self.config)), self.space.settings(self.space.parse(child)))
        parts = {f"MODEL.TIMM.{key}": cfg.MODEL.TIMM[key] for key in ("DEPTHS", "EXPANSIONS", "KERNELS")}
        settings = {**parts, "MODEL.META_ARCHITECTURE": "GeneralizedRCNN", "MODEL.ELASTIC.DETECTOR": "",
                    "MODEL.ELASTIC.SIZES": [], "MODEL.ELASTIC.CHOICES": []}
        return [word for key, value in settings.items() for word in (key, repr(value))]

    def runs(self, seed):
        return SeedRuns(os.path.join(self.folder, str(seed)), seed)


def main(args):
    with user_errors(), goes_on_later():
        torch.set_num_threads(1)
        study, lite0 = SubNetworks(args, "lite2"), Study(args, "bccd")
        study.iterations("blocks")
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(study.train, args.seeds))
        rows = [{"child": lite0.child({SIZE: SIDE})}]
        lite0.time(rows)
        # One at a time: they measure milliseconds.
        found = [study.search(seed, rows[0]["ms"]) for seed in args.seeds]
        for row in found:
            study.step(row["child"], study.words(row["child"]))
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for row, ap in zip(found, pool.map(study.alone, args.seeds, [row["child"] for row in found])):
                row["alone"] = ap
        known = read_json(os.path.join(ROOT, "experiments", "family.json"))
        alone = [max(rows, key=lambda row: row["val"])["test"]
                 for name, rows in known.items() if name.startswith("bccd one_192")]
        lite0 = {"ms": rows[0]["ms"], "alone": alone}
        results = json.dumps({"Lite0": lite0, "of Lite2": found}, indent=1)
        write_text(args.json, results)
        print(results)


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--minutes", type=int, default=10, help="CPU time of each training")
    add("--seeds", type=int, nargs="+", default=[0, 1])
    add("--jobs", type=int, default=2, help="trainings side by side")
    add("--output", default="output/family")
    add("--json", default="experiments/sub_networks.json")
    parser.set_defaults(test={"bccd": TEST, "lite2": TEST})
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
