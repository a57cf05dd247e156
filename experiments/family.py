#!/usr/bin/env python
"""
Is a family of detectors worth its training? Detectors of all sizes from one training, and others from as many CPU
seconds of one thread:

    python experiments/family.py --seeds 0 1 2               blood cells, hours
    python experiments/family.py --only one_192 sizes        some of its trainings

- one_SIZE: a plain detector of that size, for the whole time, swept over sizes and proposals, which trains nothing.
- upper: one training at the larger half of the sizes, swept over all.
- sizes: one training at all sizes. widths: with narrower FPNs and heads, too. blocks: with parts of the backbone, too.
- alone_SIZE: a plain detector of that size, for the whole time; quarter_SIZE: for a quarter of it.

Iterations are as many as fit into the time, by the seconds of a step, which are measured first, and milliseconds, those
of the exported detector in ONNX Runtime, for all children together at the end: let the machine be idle then. The
children that are shown are those of the front on held-out images; their AP is that on test images. Stopped or killed,
the study goes on when it is started again. Prints a table and draws a picture.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import os
import re
import shutil
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import matplotlib.pyplot as plt
import torch
from seed_runs import FIRST, SeedRuns, step_seconds
from shared import IN_ONE_PROCESS, ROOT

import elasticdet  # noqa: F401  it registers its keys
import pretrained  # noqa: F401  it registers its keys
from detnas.config.load import candidate_space, load_config, with_settings
from detnas.errors import user_errors
from detnas.export.detector_latency import DetectorMeter
from detnas.files import read_json, write_text
from detnas.launch.outputs import read_metrics
from detnas.search.log import read_log
from detnas.search.tables import pareto_front
from elasticdet.space import SIZE
from find_detector.steps import goes_on_later

#: steps that are measured; of a family more, since they differ
MEASURED, OF_FAMILY = 20, 200
#: settings of a search that has not the time for all candidates
EVOLVED = (
    "SEARCH.POPULATION", 30, "SEARCH.GENERATIONS", 2, "SEARCH.NUM_PARENTS", 10, "SEARCH.NUM_MUTATE", 12,
    "SEARCH.NUM_CROSS", 8,
)
COST = "detector_latency_ms"
#: limits in milliseconds of the table's lines
LIMITS = 4, 5, 6, 8, 10, 12, 15, 20, 30
#: beginning of a name -> in the picture
LABELS = {
    "one": "plain, trained at one size, swept:", "upper": "plain, trained at the larger sizes, swept",
    "sizes": "family: sizes", "widths": "family: sizes, widths",
    "blocks": "family: sizes, widths, blocks", "alone": "plain, one size:", "quarter": "plain, a quarter of the time:",
}
#: family -> beginnings of the keys that its children differ in beside the size
PLACES = {
    "upper": ("MODEL.RPN",),
    "sizes": ("MODEL.RPN",),
    "widths": ("MODEL.RPN", "MODEL.FPN", "MODEL.ROI"),
    "blocks": ("MODEL.RPN", "MODEL.FPN", "MODEL.ROI", "MODEL.TIMM", "MODEL.DETNAS"),
}


class Study:
    """The trainings of one data set: a family with proposals and widths, in its config."""

    def __init__(self, args, data):
        self.config, self.folder = f"experiments/configs/family_{data}.yaml", os.path.join(args.output, data)
        self.seconds = 60 * args.minutes
        cfg = load_config(os.path.join(ROOT, self.config))
        self.choices = list(cfg.MODEL.ELASTIC.CHOICES)
        self.space, self.test = candidate_space(cfg), args.test[data]
        os.makedirs(self.folder, exist_ok=True)

    def options(self, name):
        """Overrides of a training, and its share of the time."""
        kind, _, size = name.partition("_")
        if kind in PLACES:
            sizes = self.space.choices[0].values
            upper = ("MODEL.ELASTIC.SIZES", str(sizes[len(sizes) // 2:])) if kind == "upper" else ()
            return (*self.places(kind), *upper), 1
        index = self.space.choices[0].values.index(int(size))
        settings = self.space.settings((index, *self.space.largest[1:]))
        # In all but the size it is as the config says.
        settings = {key: value for key, value in settings.items() if key not in [choice[0] for choice in self.choices]}
        words = [word for key, value in settings.items() for word in (key, repr(value))]
        return tuple(words), 1 / 4 if kind == "quarter" else 1

    def places(self, kind):
        """Overrides for the places of a family, or of a sweep."""
        keys = PLACES.get(kind, PLACES["sizes"])
        return "MODEL.ELASTIC.CHOICES", str([choice for choice in self.choices if choice[0].startswith(keys)])

    def iterations(self, name):
        """How many fit into the time."""
        options, share = self.options(name)
        measured = OF_FAMILY if name in PLACES else MEASURED
        return round(share * self.seconds / self.step(re.sub("quarter|alone", "one", name), options, measured))

    def step(self, name, options, measured=MEASURED):
        """CPU seconds of a training step, measured once."""
        file = os.path.join(self.folder, "steps.json")
        known = read_json(file, {})
        if name not in known:
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                taken = pool.submit(step_seconds, self.config, [*options, *IN_ONE_PROCESS], FIRST + measured).result()
            known[name] = statistics.mean(taken[FIRST:])
            write_text(file, json.dumps(known, indent=1))
        return known[name]

    def run(self, name, seed):
        """Train, and evaluate on the test images; of one and of families all that a training leaves."""
        runs = SeedRuns(os.path.join(self.folder, f"{name}-{seed}"), seed)
        options, test = self.options(name)[0], ("DATASETS.TEST", f"('{self.test}',)")
        settings = (*options, *IN_ONE_PROCESS, "SOLVER.MAX_ITER", self.iterations(name))
        is_swept = name in PLACES or name.startswith("one")
        runs.run("trained", "train_net.py", self.config, *settings, *(("DATASETS.TEST", "()") if is_swept else test))
        if not is_swept:
            (found,) = [line for line in read_metrics(runs.path("trained")) if "bbox/AP" in line]
            child = self.child({SIZE: int(name.partition("_")[2])})
            return [{"child": child, "val": found["bbox/AP"], "test": found["bbox/AP"]}]
        options = self.places(name)
        size = candidate_space(load_config(os.path.join(ROOT, self.config), list(options))).size
        search = ("SEARCH.POPULATION", size)
        if size > EVOLVED[1]:
            search = EVOLVED
        weights = runs.path("trained", "model_final.pth")
        if name == "upper":
            # Beside its config a search would refuse the sizes that were not trained.
            weights = shutil.copy(weights, runs.path("upper.pth"))
        options = (*options, *IN_ONE_PROCESS, "MODEL.WEIGHTS", weights)
        runs.run("val", "search_net.py", self.config, *options, *search)
        log = read_log(runs.path("val"))
        chosen, text = pareto_front(log, [COST]), log.space.format
        initial = [text(candidate.network) for candidate in chosen]
        shown = ("SEARCH.INITIAL", str(initial), "SEARCH.POPULATION", len(chosen))
        runs.run("test", "search_net.py", self.config, *options, *test, *shown)
        tested = read_log(runs.path("test"))
        return [{"child": self.child(log.space.values(c.network)), "val": c.score, "test": tested.get(c.network).score}
                for c in chosen]

    def child(self, values):
        """The child of the whole family that has these values, and the most of everything else."""
        indices = (choice.values.index(values.get(choice.name, choice.values[-1])) for choice in self.space.choices)
        return self.space.format(tuple(indices))

    def time(self, rows):
        """Add the milliseconds of their children to rows."""
        cfg = load_config(os.path.join(ROOT, self.config))
        cfg = with_settings(cfg, self.space.settings(self.space.largest))
        torch.set_num_threads(1)
        children = sorted({row["child"] for row in rows})
        meter = DetectorMeter(cfg, self.space, os.path.join(self.folder, "latency.json"))
        times = meter([self.space.parse(child) for child in children])
        for row in rows:
            row["ms"] = times[children.index(row["child"])]


def within(rows, limit):
    """AP on the test images of the child that is best on the held-out ones among those within a limit."""
    return max(((row["val"], row["test"]) for row in rows if row["ms"] <= limit), default=(0, float("nan")))[1]


def table(results):
    """Lines: AP of what leaves several detectors, within limits in milliseconds; then of each single detector."""
    single = {name: runs for name, runs in results.items() if len(runs[0]) == 1}
    names = [name for name in results if name not in single]
    yield " | ".join(["", "at most", *names, ""])
    for limit in LIMITS:
        cells = (spread(within(rows, limit) for rows in results[name]) for name in names)
        yield " | ".join(["", f"{limit} ms", *cells, ""])
    for name, runs in single.items():
        yield " | ".join(["", name, f"{runs[0][0]['ms']:.1f} ms", spread(rows[0]["test"] for rows in runs), ""])


def spread(figures):
    """The mean, least and greatest, without those that no seed has."""
    figures = [figure for figure in figures if not math.isnan(figure)]
    return f"{statistics.mean(figures):.1f} ({min(figures):.1f} to {max(figures):.1f})" if figures else ""


def draw(results, file, title):
    """Test AP over milliseconds: a line for each seed of what leaves several detectors, a point for each single one."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for number, (name, runs) in enumerate(results.items()):
        kind, _, size = name.partition("_")
        for seed, rows in enumerate(runs):
            rows = sorted(rows, key=lambda row: row["ms"])
            axes.plot(
                [row["ms"] for row in rows], [row["test"] for row in rows], color=f"C{number}", linewidth=1,
                marker="o" if len(rows) > 1 else "x^"[kind == "quarter"], markersize=3 if len(rows) > 1 else 6,
                label=None if seed else " ".join([LABELS[kind], size]).strip(), linestyle="-" if len(rows) > 1 else "",
            )
    axes.set(xscale="log", xlabel="milliseconds an image, ONNX Runtime, one thread", ylabel="AP on test images")
    axes.set_title(title)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def main(args):
    with user_errors(), goes_on_later():
        studies = {data: Study(args, data) for data in args.data}
        jobs = [
            (data, name, seed) for seed in args.seeds for data in args.data for name in args.only or args.names[data]
        ]
        for data, name, _ in jobs:
            studies[data].iterations(name)
        results = read_json(args.json, {})
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            running = {
                pool.submit(studies[data].run, name, seed): f"{data} {name} {seed} {args.minutes}"
                for data, name, seed in jobs
            }
            for future in concurrent.futures.as_completed(running):
                results[running[future]] = future.result()
                write_text(args.json, json.dumps(results, indent=1, sort_keys=True))
        if args.only:
            return
        for data, study in studies.items():
            found = {}
            for key, rows in sorted(results.items()):
                of, name, _, minutes = key.split()
                if (of, minutes) == (data, str(args.minutes)):
                    found.setdefault(name, []).append(rows)
            study.time([row for runs in found.values() for rows in runs for row in rows])
            write_text(args.json, json.dumps(results, indent=1, sort_keys=True))
            found = {name: found[name] for name in args.names[data] if name in found}
            title = f"{data}, {args.minutes} CPU minutes for each training"
            draw(found, f"{os.path.splitext(args.json)[0]}_{data}_{args.minutes}.png", title)
            print(f"\n{title}", *table(found), sep="\n")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--minutes", type=int, default=10, help="CPU time of each training (quarter_...: a quarter of it)")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--data", nargs="+", default=["bccd"])
    add("--only", nargs="+", metavar="TRAINING", help="these alone, without table and picture")
    add("--jobs", type=int, default=2, help="trainings side by side")
    add("--output", default="output/family")
    add("--json", default="experiments/family.json")
    parser.set_defaults(
        names={
            "bccd": "one_192 sizes widths blocks alone_96 quarter_64 quarter_96 quarter_192 quarter_288".split(),
            "bccd_wide": "one_192 upper sizes blocks alone_96 quarter_64 quarter_96 quarter_192 quarter_288".split(),
            "pcb": "one_448 sizes blocks alone_224 quarter_160 quarter_224 quarter_448 quarter_640".split(),
            "pcb_lite0": "one_448 sizes alone_224 quarter_160 quarter_224 quarter_448 quarter_640".split(),
        },
        test={
            "bccd": "voc:$DETNAS_DATA/bccd_voc/VOCdevkit/VOC2007:test",
            "bccd_wide": "voc:$DETNAS_DATA/bccd_voc/VOCdevkit/VOC2007:test",
            "pcb": "coco:$DETNAS_DATA/deep_pcb/test.json:$DETNAS_DATA/deep_pcb/images",
            "pcb_lite0": "coco:$DETNAS_DATA/deep_pcb/test.json:$DETNAS_DATA/deep_pcb/images",
        },
    )
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
