import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detnas.evaluation.matches import BoxMatches
from detnas.evaluation.matching import Objects

IMAGES, CLASSES = 40, (3, 7, 9)


def matches_of(dataset, results, ids):
    return BoxMatches.of_results(Objects(dataset), results, ids)


def random_data(seed):
    """Objects of three classes, a few of them crowds, and detections near and far from them, some with equal scores."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, IMAGES + 1):
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = (*rng.uniform(0, 60, 2), *rng.uniform(8, 40, 2))
            category = int(rng.choice(CLASSES))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": [x, y, w, h],
                "area": w * h, "iscrowd": int(rng.random() < 0.1),
            })
            for _ in range(rng.integers(0, 3)):
                dx, dy = rng.normal(0, 4, 2)
                score = round(float(rng.random()), 1)
                results.append({"image_id": image, "category_id": category, "bbox": [x + dx, y + dy, w, h],
                                "score": score})
        results.append({"image_id": image, "category_id": int(rng.choice(CLASSES)), "bbox": [5, 5, 9, 9],
                        "score": round(float(rng.random()) / 2, 2)})
    dataset = {
        "images": [{"id": i, "width": 100, "height": 100} for i in range(1, IMAGES + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": str(i)} for i in CLASSES],
    }
    return dataset, results


def reference(dataset, results, ids):
    """AP, AP50 and AP75 by pycocotools on some images."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.imgIds = list(ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * evaluation.stats[:3]


@pytest.mark.parametrize("seed", range(3))
def test_precision_of_all_and_of_some_images_is_that_of_pycocotools(seed):
    dataset, results = random_data(seed)
    ids = range(1, IMAGES + 1)
    matches = matches_of(dataset, results, ids)
    part = sorted(np.random.default_rng(seed).choice(IMAGES, 15, replace=False))
    weights = np.zeros(IMAGES)
    weights[part] = 1
    for thresholds, number in ((slice(None), 0), (slice(1), 1), (slice(5, 6), 2)):
        found = matches.average_precision(thresholds=thresholds)
        assert found == pytest.approx(reference(dataset, results, ids)[number])
        found = matches.average_precision(weights, thresholds)
        assert found == pytest.approx(reference(dataset, results, [i + 1 for i in part])[number])


def test_an_image_that_counts_twice_is_two_images():
    dataset, results = random_data(5)
    weights = np.ones(IMAGES)
    weights[[2, 7]] = 2, 3
    twins = [(3, 101), (8, 102), (8, 103)]
    for record in list(dataset["annotations"]):
        dataset["annotations"] += [{**record, "id": 1000 * twin + record["id"], "image_id": twin}
                                   for of, twin in twins if record["image_id"] == of]
    dataset["images"] += [{"id": twin, "width": 100, "height": 100} for _, twin in twins]
    all_results = results + [{**r, "image_id": twin} for of, twin in twins for r in results if r["image_id"] == of]
    # pycocotools breaks ties by the order of the images: no two scores are equal here.
    rng = np.random.default_rng(0)
    noise = {id(r): rng.uniform(0, 1e-3) for r in results}
    exact = [{**r, "score": r["score"] + noise[id(r)]} for r in results]
    copies = [{**e, "image_id": twin} for of, twin in twins for e in exact if e["image_id"] == of]
    assert len(exact) + len(copies) == len(all_results)
    once = matches_of(dataset, exact, range(1, IMAGES + 1))
    ids = [*range(1, IMAGES + 1), *(twin for _, twin in twins)]
    assert once.average_precision(weights) == pytest.approx(reference(dataset, exact + copies, ids)[0], abs=1e-6)


def test_rows_of_weights_give_what_each_gives_alone():
    matches = matches_of(*random_data(1), range(1, IMAGES + 1))
    weights = np.random.default_rng(0).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=6)
    together = matches.average_precision(weights)
    assert together.shape == (6,)
    assert together.tolist() == [matches.average_precision(row) for row in weights]


def test_without_detections_precision_is_0_and_without_objects_it_is_no_number():
    dataset, results = random_data(1)
    assert matches_of(dataset, [], range(1, IMAGES + 1)).average_precision() == 0
    empty = {**dataset, "annotations": []}
    assert np.isnan(matches_of(empty, results, range(1, IMAGES + 1)).average_precision())
