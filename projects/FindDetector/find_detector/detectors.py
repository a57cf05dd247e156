"""
Exports the detectors that searches found, times them in each engine of this machine, and tests the exported files.

    python -m find_detector.detectors output=FOLDER test=DATA seconds=120 most=9 sources=FAMILY sources=PLAIN

FAMILY and PLAIN are folders of searches with detectors in front/. Each detector gets a folder in FOLDER/detectors: its
config, weights, ONNX file and a script that needs no Detectron2. detectors.json there has AP and latency of the ONNX
files. After a kill, the same command goes on. Shapes: images (3, H, W), N detections with boxes (N, 4).
"""

import collections
import functools
import json
import os
import time
from typing import Any, Dict, List, Tuple

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances

import elasticdet  # noqa: F401  it registers its keys
import pretrained  # noqa: F401  it registers its keys
from detnas.cost.latency import processor
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.data.datasets import register_dataset, register_datasets
from detnas.errors import UserError
from detnas.evaluation.evaluators import build_test_loader, coco_form, only_warnings, read_test_images
from detnas.export.check import check_file, check_images
from detnas.export.detector_latency import engine_times
from detnas.export.engines import TORCH, engine_version, open_onnx, write_script
from detnas.export.network import load_network, load_network_config, write_network
from detnas.export.traced import DETECTOR, write_part
from detnas.files import write_text
from detnas.search.log import read_log
from detnas.search.tables import pareto_front
from detnas.search.winner import FRONT, choose_winners

from .drawing import write_sheet
from .resampling import ResampledAP, interval
from .steps import TOLD, call

FOLDER = "detectors"
DETECTORS_FILE = os.path.join(FOLDER, "detectors.json")
SHEET = "sheet.png"
#: most detectors of the first search; fewest of all: the best of both, a cheaper one nearly as good, the fastest
MOST, FEWEST = 6, 4
#: seconds for all engines together, at most this share of all, most runs of each engine, test images in the picture
_SECONDS, _TIMING, _RUNS, _DRAWN = 30, 1 / 4, 50, 12
#: share of detections in which a file may differ from its network: of proposals with exactly equal scores the engine
#: takes some, and it is the file that is tested
_MOST_ALONE = 0.5
#: time of export, timing and detections together, in times of the export alone; seconds of a detector's interval
_WHOLE, _INTERVAL = 1.8, 4


def worth_most(sources: list) -> list:
    """
    Detectors on the Pareto fronts of searches as (folder of the search, child, name), the most useful first. Each front
    gives the best, the fastest and others between: at most :data:`MOST` of the first search, half as many of the
    others. A name has folder, pixels, proposals and, if several are equal, a number.
    """
    found, named = [], collections.Counter()
    for number, source in enumerate(sources):
        log, share = read_log(source), 2 if number else 1
        space = log.space
        chosen = choose_winners(pareto_front(log, [DETECTOR_LATENCY]), [DETECTOR_LATENCY], max(1, MOST // share))
        for place, one in enumerate(chosen):
            name = "_".join(map(str, (os.path.basename(source), *list(space.values(one.network).values())[:2])))
            named[name] += 1
            name += f"-{named[name]}" * (named[name] > 1)
            found.append((place * share, (source, space.format(one.network), name)))
    return [each for _, each in sorted(found, key=lambda each: each[0])]


def export(source: str, child: str, folder: str, test_set: list) -> None:
    """Export a child of ``source``/front, to be tested on ``test_set`` (KEY, VALUE), with a checked ONNX file."""
    file = os.path.join(source, FRONT, f"{child}.yaml")
    cfg = load_network_config(file, test_set)
    images = check_images(cfg)[:3]
    cfg, model = write_network(folder, cfg, load_network(cfg, file.replace(".yaml", ".pth")).state_dict(), "")
    check_file(write_part(model, DETECTOR, "onnx", folder, images[0][1]), DETECTOR, model, images, _MOST_ALONE)
    write_script(folder, cfg)


def measure(exported: Dict[str, Any], seconds: float) -> List[Dict[str, Tuple[float, float]]]:
    """For each folder: {engine: (median, 95th percentile) in ms}, in turns, on the test image with most objects."""
    networks = []
    for folder, cfg in exported.items():
        model = load_network(cfg, os.path.join(folder, "model.pth"))
        networks.append((os.path.join(folder, "detector.onnx"), DETECTOR, model, check_images(cfg)[0][1]))
    return engine_times(networks, seconds, _RUNS)


def detect(folder: str, cfg, engine: str, test: str, images: list, drawn: set) -> tuple:
    """Run a folder's file on test images: results in COCO's form, and (image, Instances) of those in ``drawn``."""
    # No workers: see open_onnx.
    cfg.DATALOADER.NUM_WORKERS = 0
    run = open_onnx(os.path.join(folder, "detector.onnx"), engine, torch.get_num_threads())
    found, kept = [], []
    for (image,) in build_test_loader(cfg, images):
        boxes, scores, classes = run(image["image"].float())
        instances = Instances(tuple(image["image"].shape[1:]), pred_boxes=Boxes(boxes), scores=scores,
                              pred_classes=classes)
        instances = detector_postprocess(instances, image["height"], image["width"])
        found += instances_to_coco_json(instances, image["image_id"])
        if image["file_name"] in drawn:
            kept.append((image, instances))
    numbers = MetadataCatalog.get(test).get("thing_dataset_id_to_contiguous_id", {})
    ids = {number: category for category, number in numbers.items()}
    return [{**one, "category_id": ids.get(one["category_id"], one["category_id"])} for one in found], kept


def best_engine(times: List[Dict[str, Tuple[float, float]]]) -> str:
    """The engine, except torch, with the least time for all detectors together."""
    return min(set(times[0]) - {TORCH}, key=lambda engine: sum(each[engine][0] for each in times))


def recommend(rows: List[Dict[str, Any]]) -> str:
    """Name of the fastest detector that cannot be told from the best one."""
    return min((row for row in rows if row["equal_to_best"]), key=lambda row: row["ms"])["name"]


def compare(output: str, test: str, sources: list, seconds: float, most: int) -> None:
    """
    Export, time and test detectors of the searches ``sources`` on ``test``, a data set named as in a config, and write
    :data:`DETECTORS_FILE` below ``output``: at most ``most``, fewer if exports take most of ``seconds``. UserError
    if none can be exported.
    """
    if os.path.isfile(os.path.join(output, DETECTORS_FILE)):
        return
    register_dataset(test)
    test_set = ["DATASETS.TEST", repr((test,))]
    path, rows, begun = functools.partial(os.path.join, output, FOLDER), [], time.monotonic() - time.process_time()
    for source, child, name in worth_most(sources)[:most]:
        passed, more = time.monotonic() - begun, len(rows) + 1
        if more > FEWEST and passed * _WHOLE * more / len(rows) + _INTERVAL * more > seconds:
            print(f"{TOLD}no more detectors: there is no time to test them", flush=True)
            break
        if not os.path.isfile(path(name, "detect.py")):
            try:
                export(source, child, path(name), test_set)
            except UserError as e:
                print(f"{TOLD}left out {name}: {e}", flush=True)
                continue
        rows.append({"name": name, "kind": os.path.basename(source)})
        print(f"{TOLD}exported {name}", flush=True)
    if not rows:
        raise UserError(f"no detector of {' and '.join(sources)} could be exported; what is wrong stands above")
    exported = {path(row["name"]): load_network_config(path(row["name"], "model.yaml"), test_set) for row in rows}
    # The test set may have fewer classes than the network, or another order.
    register_datasets([test], next(iter(exported.values())).MODEL.DETNAS.CLASSES)
    times = measure(exported, min(_SECONDS, _TIMING * seconds))
    engine, truth, images = best_engine(times), coco_form(test), read_test_images(test)
    tested, kept, drawn = [], {}, {image["file_name"] for image in read_test_images(test, _DRAWN)}
    for row, (folder, cfg), taken in zip(rows, exported.items(), times):
        found, kept[row["name"]] = detect(folder, cfg, engine, test, images, drawn)
        tested.append(ResampledAP(truth, found))
        write_script(folder, cfg, engine, torch.get_num_threads())
        row.update(tested[-1].figures(), engines=taken, ms=taken[engine][0], ms95=taken[engine][1],
                   bytes=os.path.getsize(os.path.join(folder, "detector.onnx")))
        print(f"{TOLD}tested {row['name']}: AP {row['AP']:.1f}, {row['ms']:.1f} ms", flush=True)
    count = min(one.affordable() for one in tested)
    resampled = [one.drawn(count) for one in tested]
    best = resampled[max(range(len(rows)), key=lambda number: rows[number]["AP"])]
    for row, aps in zip(rows, resampled):
        row["interval"], (_, high) = interval(aps), interval(aps - best)
        row["equal_to_best"] = high >= 0
    recommended = recommend(rows)
    write_sheet(kept[recommended], MetadataCatalog.get(test), os.path.join(output, SHEET))
    write_text(os.path.join(output, DETECTORS_FILE), json.dumps({
        "engine": engine, "versions": {name: engine_version(name) for name in times[0]}, "machine": processor(),
        "threads": torch.get_num_threads(), "images": len(truth["images"]), "recommended": recommended,
        "detectors": rows}, indent=1))


def main(words=None) -> None:
    with only_warnings("detectron2", "fvcore", "detnas"):
        call(compare, words)


if __name__ == "__main__":
    main()
