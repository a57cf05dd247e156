"""
Exports detectors of searches, runs them in each engine of this machine, and tests the files.

    python -m find_detector.detectors --output FOLDER --test DATA --most 6 FAMILY PLAIN

FAMILY and PLAIN are folders of searches with detectors in front/. FOLDER/detectors gets one folder for each, with its
config, weights, ONNX file and a script that runs it without Detectron2; FOLDER/detectors/detectors.json has AP and
latency of the same file. Killed, the same command goes on.
"""

import argparse
import functools
import json
import os
from typing import Any, Dict, List

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.logger import setup_logger

import elasticdet  # noqa: F401  it registers its keys
import pretrained  # noqa: F401  it registers its keys
from detnas.cost.latency import processor
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.data.datasets import register_dataset
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import build_test_loader, coco_form, only_warnings, read_test_images
from detnas.export.check import check_file, check_images
from detnas.export.detector_latency import times_in_turns
from detnas.export.engines import engine_version, installed_engines, open_onnx, write_script
from detnas.export.network import load_network, load_network_config, write_network
from detnas.export.traced import DETECTOR, write_part
from detnas.files import read_json, write_text
from detnas.search.log import read_log
from detnas.search.tables import pareto_front
from detnas.search.winner import FRONT, choose_winners

from .resampling import ResampledAP, interval

FOLDER = "detectors"
DETECTORS_FILE = os.path.join(FOLDER, "detectors.json")
TORCH = "torch"
#: seconds for all runs of the engines together, and most runs of each
_SECONDS, _RUNS = 30, 50


def fastest_first(folder: str, most: int) -> list:
    """Names of detectors of the front of a search, at most so many, spread over the latency, the fastest first."""
    log = read_log(folder)
    chosen = choose_winners(pareto_front(log, [DETECTOR_LATENCY]), [DETECTOR_LATENCY], most)
    chosen.sort(key=lambda candidate: candidate.costs[DETECTOR_LATENCY])
    return [log.space.format(candidate.network) for candidate in chosen]


def export(source: str, child: str, folder: str, test: str) -> None:
    """Write config, weights, a checked ONNX file and its script of a child in ``source``/front."""
    file = os.path.join(source, FRONT, f"{child}.yaml")
    cfg = load_network_config(file, ["DATASETS.TEST", f"('{test}',)"])
    images = check_images(cfg)[:3]
    cfg, model = write_network(folder, cfg, load_network(cfg, file.replace(".yaml", ".pth")).state_dict(), "")
    check_file(write_part(model, DETECTOR, "onnx", folder, images[0][1]), DETECTOR, model, images)
    write_script(folder, cfg)


def measure(folders: List[str], test: str) -> List[Dict[str, List[float]]]:
    """
    For each folder of :func:`export` {engine: median and 95th percentile in milliseconds}, all in turns, on the test
    image that has the most objects.
    """
    engines, runs = [TORCH, *installed_engines()], []
    for folder in folders:
        cfg = load_network_config(os.path.join(folder, "model.yaml"), ["DATASETS.TEST", f"('{test}',)"])
        model, (_, image) = load_network(cfg, os.path.join(folder, "model.pth")), check_images(cfg)[0]
        runs.append(torch.no_grad()(functools.partial(DETECTOR.run, model, [{"image": image}])))
        for engine in engines[1:]:
            run = open_onnx(os.path.join(folder, "detector.onnx"), engine, torch.get_num_threads())
            runs.append(functools.partial(run, image))
    found = [[float(np.median(taken)), float(np.quantile(taken, 0.95))]
             for taken in times_in_turns(runs, _SECONDS, _RUNS)]
    return [dict(zip(engines, found[i:i + len(engines)])) for i in range(0, len(found), len(engines))]


def detect(folder: str, engine: str, test: str) -> list:
    """What the file of a folder finds in all test images, in COCO's result form."""
    cfg = load_network_config(os.path.join(folder, "model.yaml"))
    # No workers: see open_onnx.
    cfg.DATALOADER.NUM_WORKERS = 0
    run, found = open_onnx(os.path.join(folder, "detector.onnx"), engine, torch.get_num_threads()), []
    for (image,) in build_test_loader(cfg, read_test_images(test)):
        boxes, scores, classes = run(image["image"].float())
        instances = Instances(tuple(image["image"].shape[1:]), pred_boxes=Boxes(boxes), scores=scores,
                              pred_classes=classes)
        instances = detector_postprocess(instances, image["height"], image["width"])
        found += instances_to_coco_json(instances, image["image_id"])
    numbers = MetadataCatalog.get(test).get("thing_dataset_id_to_contiguous_id", {})
    ids = {number: category for category, number in numbers.items()}
    return [{**one, "category_id": ids.get(one["category_id"], one["category_id"])} for one in found]


def best_engine(times: List[Dict[str, List[float]]]) -> str:
    """Which engine runs the files fastest, all detectors together."""
    return min(set(times[0]) - {TORCH}, key=lambda engine: sum(each[engine][0] for each in times))


def recommend(rows: List[Dict[str, Any]]) -> str:
    """The fastest detector of those that cannot be told from the best one."""
    return min((row for row in rows if row["equal_to_best"]), key=lambda row: row["ms"])["name"]


def compare(output: str, test: str, sources: List[str], most: int) -> None:
    """
    Write :data:`DETECTORS_FILE`.

    Args:
        output: folder of the run.
        test: name of the test images as in a config.
        sources: folders of the searches; of all but the first half as many detectors.
        most: detectors of the first one.
    """
    register_dataset(test)
    path, rows = functools.partial(os.path.join, output, FOLDER), []
    for number, source in enumerate(sources):
        kind = os.path.basename(source)
        for child in fastest_first(source, most if not number else max(1, most // 2)):
            name = f"{kind}_{child}"
            if not os.path.isfile(path(name, "detect.py")):
                try:
                    export(source, child, path(name), test)
                except UserError as e:
                    print(f"left out {name}: {e}", flush=True)
                    continue
            rows.append({"name": name, "kind": kind, "child": child})
            print(f"exported {name}", flush=True)
    if not rows:
        raise UserError(f"no detector of {' and '.join(sources)} could be exported; what is wrong stands above")
    folders = [path(row["name"]) for row in rows]
    times = measure(folders, test)
    engine, truth = best_engine(times), coco_form(test)
    tested = []
    for row, folder, taken in zip(rows, folders, times):
        tested.append(ResampledAP(truth, detect(folder, engine, test)))
        write_script(folder, load_network_config(os.path.join(folder, "model.yaml")), engine)
        row.update(tested[-1].figures(), engines=taken, ms=taken[engine][0], ms95=taken[engine][1],
                   bytes=os.path.getsize(os.path.join(folder, "detector.onnx")))
        print(f"tested {row['name']}: AP {row['AP']:.1f}, {row['ms']:.1f} ms", flush=True)
    count = min(one.affordable() for one in tested)
    drawn = [one.drawn(count) for one in tested]
    best = drawn[max(range(len(rows)), key=lambda number: rows[number]["AP"])]
    for row, aps in zip(rows, drawn):
        row["interval"], (_, high) = interval(aps), interval(aps - best)
        row["equal_to_best"] = high >= 0
    versions = {name: engine_version(name) for name in installed_engines()}
    write_text(os.path.join(output, DETECTORS_FILE), json.dumps({
        "engine": engine, "versions": {TORCH: f"torch {torch.__version__}", **versions}, "machine": processor(),
        "threads": torch.get_num_threads(), "images": len(truth["images"]), "recommended": recommend(rows),
        "detectors": rows}, indent=1))


def main(argv=None) -> None:
    args = parser().parse_args(argv)
    with user_errors(), only_warnings("detectron2", "fvcore", "detnas"):
        if not read_json(os.path.join(args.output, DETECTORS_FILE), {}):
            os.makedirs(os.path.join(args.output, FOLDER), exist_ok=True)
            setup_logger(os.path.join(args.output, FOLDER), name="find_detector")
            compare(args.output, args.test, args.searches, args.most)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--test", required=True, metavar="DATA", help="test images, named as in a config")
    parser.add_argument("--most", type=int, default=6, metavar="N", help="detectors of the first search")
    parser.add_argument("searches", nargs="+", metavar="SEARCH", help="folder of a search")
    return parser


if __name__ == "__main__":
    main()
