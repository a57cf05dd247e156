#!/usr/bin/env python
"""
Does the search's fitness tell how good a network is? Random networks, the search's winner, ShuffleNetv2 style and the
winner of a search by classification are each trained alone, with one recipe and several seeds. Their scores are
compared with their fitness in the supernet, with and without recalibration:

    python experiments/study.py                      on $DETNAS_DATA/bccd_voc and grocery_cls; hours on 2 cores
    python experiments/study.py --supernet CONFIG --classifier CONFIG --retrain CONFIG --output FOLDER
    python experiments/study.py --pretrain CONFIG --retrain CONFIG --output FOLDER    each network is pre-trained first

Every step is a usual command line; its output is in the folder's log/. Stopped or killed, it goes on when started
again. Writes study.md (tables), study.png and study.json, and with --pretrain trained.png (paper, Fig. 3 and Table 5).
"""

import argparse
import concurrent.futures
import contextlib
import os
import random
import sys

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.utils.file_io import PathManager
from shared import ROOT
from study_tables import Network, write_study

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.table import CostTable
from detnas.data.mapper import is_classifier
from detnas.errors import UserError, user_errors
from detnas.files import read_json
from detnas.launch.outputs import read_metrics
from detnas.search.log import SearchLog
from detnas.search.settings import supernet_limits
from find_detector.steps import StepFailed, Steps, run_step

TRAIN, SEARCH = (os.path.join(ROOT, name) for name in ("train_net.py", "search_net.py"))
SHUFFLENET, WINNER, CLASSIFICATION = "ShuffleNetv2 style", "winner", "classification winner"


class Study:
    """The steps of a study. Methods that run steps can be called again."""

    def __init__(self, args, run=run_step):
        for flag, number, least in (("--random", args.random, 2), ("--jobs", args.jobs, 1)):
            if number < least:
                raise UserError(f"{flag} {number}: it must be at least {least}")
        self.args, self.folder = args, args.output
        self.supernet = load_config(args.supernet)
        self.classifier = load_config(args.classifier)
        self.alone = load_config(args.retrain, args.opts)
        self.pretrain = load_config(args.pretrain) if args.pretrain else None
        self.space = config_space(self.supernet)
        others = [(self.classifier, args.classifier), (self.alone, args.retrain)]
        for cfg, file in others + ([(self.pretrain, args.pretrain)] if args.pretrain else []):
            found = config_space(cfg)
            if found != self.space:
                raise UserError(f'{file} is of space "{found.name}"; {args.supernet} of "{self.space.name}"')
        self.check_weights()
        self.limits = supernet_limits(self.supernet)
        self.steps = Steps(self.folder, max(1, (os.cpu_count() or 1) // args.jobs), run, ROOT)

    def check_weights(self):
        """UserError if initial weights are given twice, or ``--pretrain`` is no classifier with one test set."""
        given, args = self.alone.MODEL.WEIGHTS, self.args
        if self.pretrain is None:
            if given:
                raise UserError(f"{args.retrain}: MODEL.WEIGHTS is {given}; a study trains from random ones, or from "
                                "those of --pretrain CONFIG")
        elif "MODEL.WEIGHTS" in args.opts:
            raise UserError(f"MODEL.WEIGHTS {given}: with --pretrain each network starts from weights of its own")
        elif not is_classifier(self.pretrain) or len(self.pretrain.DATASETS.TEST) != 1:
            raise UserError(f"--pretrain {args.pretrain}: it must be a classifier's config with one set to test on")

    def known(self):
        """name -> path of networks that need no search: random ones within the search's limits, and all 3x3."""
        rng, paths = random.Random(f"study {self.args.seed}"), {}
        while len(paths) < self.args.random:
            path = self.space.random(rng)
            if self.limits(path) and path not in paths.values():
                paths[f"random {len(paths) + 1}"] = path
        paths[SHUFFLENET] = (0,) * self.space.num_blocks
        return paths

    def search(self, what, config, cfg, *opts):
        """Train a supernet unless it is there, and search it; returns the winner's path."""
        weights = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
        if not PathManager.isfile(weights):
            self.steps(f"{what} supernet", TRAIN, "--config-file", config, "--resume")
        folder = os.path.join(self.folder, f"{what}_search")
        command = [SEARCH, "--config-file", config, "MODEL.WEIGHTS", weights, "OUTPUT_DIR", folder, *opts]
        self.steps(f"{what} search", *command)
        return SearchLog(folder, self.space).best()[0].network

    def fitness(self, name, path, kind):
        """Score in the supernet; ``kind``: "recalibrated", "plain", or "tested" (recalibrated, on test images)."""
        folder = os.path.join(self.folder, "fitness", f"{name} {kind}".replace(" ", "_"))
        weights = os.path.join(self.supernet.OUTPUT_DIR, "model_final.pth")
        flags = ["--no-recalibration"] if kind == "plain" else []
        opts = ["DATASETS.TEST", str(tuple(self.alone.DATASETS.TEST))] if kind == "tested" else []
        command = [SEARCH, "--config-file", self.args.supernet, "--arch", self.space.format(path), *flags]
        self.steps(f"{name} {kind}", *command, "MODEL.WEIGHTS", weights, "OUTPUT_DIR", folder, *opts)
        return read_json(os.path.join(folder, "evaluation.json"))["metrics"][self.supernet.SEARCH.METRIC]

    def pretrained(self, name, seed):
        """Checkpoint of a network's pre-training, which :meth:`train_alone` makes."""
        return os.path.join(self.folder, "pretrained", f"{name} {seed}".replace(" ", "_"), "model_final.pth")

    def top1(self, name, seed):
        """Top-1 on the validation images, in percent, after the pre-training."""
        return _last(os.path.dirname(self.pretrained(name, seed)), "classification/top1")

    def train_alone(self, name, path, seed):
        """Score of a path trained alone, from random weights or, with --pretrain, from its pre-trained ones."""
        if self.pretrain is None:
            return self.train(name, path, seed)
        weights = self.pretrained(name, seed)
        command = [TRAIN, "--config-file", self.args.pretrain, "--resume", "MODEL.DETNAS.ARCH", self.space.format(path)]
        command += ["SEED", str(seed), "OUTPUT_DIR", os.path.dirname(weights)]
        self.steps(f"{name} pre-training seed {seed}", *command)
        return self.train(name, path, seed, weights)

    def train(self, name, path, seed, weights=None):
        """Score of a path trained alone, from random weights or a checkpoint."""
        folder = os.path.join(self.folder, "alone", f"{name} {seed}".replace(" ", "_"))
        command = [TRAIN, "--config-file", self.args.retrain, "--resume", "MODEL.DETNAS.ARCH", self.space.format(path)]
        command += ["SEED", str(seed), "OUTPUT_DIR", folder, *self.args.opts]
        self.steps(f"{name} seed {seed}", *command, *(["MODEL.WEIGHTS", weights] if weights else []))
        return _last(folder, self.alone.SEARCH.METRIC)


def _last(folder, metric):
    """Last value of a metric in a training."""
    return [line[metric] for line in read_metrics(folder) if metric in line][-1]


def compare(study, pool):
    """Run all steps in a pool; returns ([:class:`Network`], {initial weights of the winner: its scores})."""
    args, paths = study.args, study.known()
    detection = pool.submit(study.search, "detection", args.supernet, study.supernet)
    opts = ("SEARCH.METRIC", "classification/top1")
    classification = pool.submit(study.search, "classification", args.classifier, study.classifier, *opts)

    def alone(name):
        return {seed: pool.submit(study.train_alone, name, paths[name], seed) for seed in args.seeds}

    def fitness(name):
        return {kind: pool.submit(study.fitness, name, paths[name], kind) for kind in ("recalibrated", "plain")}

    trained = {name: alone(name) for name in paths}
    paths[WINNER] = detection.result()
    file = os.path.join(study.folder, "detection_search", "best.pth")
    again = f"{WINNER} inherited"
    inherited = {seed: pool.submit(study.train, again, paths[WINNER], seed, file) for seed in args.seeds}
    tested = pool.submit(study.fitness, WINNER, paths[WINNER], "tested")
    trained[WINNER] = alone(WINNER)
    judged = {name: fitness(name) for name in paths}
    paths[CLASSIFICATION] = classification.result()
    trained[CLASSIFICATION], judged[CLASSIFICATION] = alone(CLASSIFICATION), fitness(CLASSIFICATION)

    table, start = CostTable.measure(study.space), "random" if study.pretrain is None else "pre-trained"
    networks = [
        Network(
            name,
            study.space.format(path),
            table.flops(path),
            **{kind: score.result() for kind, score in judged[name].items()},
            alone={seed: score.result() for seed, score in trained[name].items()},
        )
        for name, path in paths.items()
    ]
    weights = {
        "the supernet's, recalibrated, not trained on": [tested.result()],
        f"{start}, then trained alone": [score.result() for score in trained[WINNER].values()],
        "the supernet's, then trained alone": [score.result() for score in inherited.values()],
    }
    return networks, weights


def report(study, networks, weights):
    """Write all results into the study's folder; returns the text of study.md."""
    recipe, top1 = f"alone: {in_words(study.alone)}.", None
    if study.pretrain is not None:
        recipe += f" Pre-trained before: {in_words(study.pretrain)}."
        top1 = {n.name: {seed: study.top1(n.name, seed) for seed in n.alone} for n in networks}
    return write_study(study.folder, networks, study.alone.SEARCH.METRIC, recipe, weights, top1)


def in_words(cfg):
    """A training recipe as text."""
    return f"{cfg.SOLVER.MAX_ITER} iterations, batch {cfg.SOLVER.IMS_PER_BATCH}"


def main(args, run=run_step, executor=concurrent.futures.ThreadPoolExecutor):
    with user_errors():
        study = Study(args, run)
        print(f"{args.random} random networks, {len(args.seeds)} seeds, {args.jobs} at once; output in {args.output}. "
              "Ctrl-C and start again to go on.", flush=True)
        with contextlib.closing(study.steps), executor(args.jobs) as pool:
            try:
                networks, weights = compare(study, pool)
            except KeyboardInterrupt:
                # Ctrl-C in a terminal reaches the steps, too; they save what they have.
                sys.exit("Stopped. Start again to go on.")
            except StepFailed as e:
                sys.exit(f"error: {e}; start again to go on from here")
            finally:
                study.steps.end("the study has ended")
    files = "study.md, study.png, study.json" + (", trained.png" if args.pretrain else "")
    print(f"\n{report(study, networks, weights)}\n\nAlso in {args.output}: {files}")
    return networks


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, file, what in (
        ("--supernet", "configs/demo/bccd_2_scratch.yaml", "trains a supernet on detection, and searches it"),
        ("--classifier", "configs/demo/bccd_1_pretrain_supernet.yaml", "the same on classification"),
        ("--retrain", "experiments/configs/bccd_study.yaml", "step 4: trains one network; tested on DATASETS.TEST"),
    ):
        parser.add_argument(flag, default=file, metavar="CONFIG", help=what)
    parser.add_argument("--pretrain", metavar="CONFIG", help="a classifier's: pre-trains each network first")
    parser.add_argument("--output", default=os.path.join("output", "study"), metavar="FOLDER")
    parser.add_argument("--random", type=int, default=12, metavar="N", help="random networks")
    parser.add_argument("--seed", type=int, default=0, help="of the random networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings")
    parser.add_argument("--jobs", type=int, default=2, help="steps at once; each has its share of the cores")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the config of --retrain")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
