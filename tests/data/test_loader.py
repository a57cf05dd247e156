import itertools

import pytest
import torch
from toy_runs import TASKS, classification, toy_setup

from detnas.data.loader import TrainingData, _ResumedSampler

pytest_plugins = ["toy_fixtures"]


def batches(cfg, count, start=0):
    return list(itertools.islice(TrainingData(cfg).batches(start), count))


def equal(a, b):
    return [[torch.equal(x["image"], y["image"]) for x, y in zip(p, q)] for p, q in zip(a, b)]


@pytest.mark.parametrize("name, data", TASKS.values())
def test_batches_are_the_same_wherever_the_training_starts(toy_root, tmp_path, name, data):
    cfg = toy_setup(name, {**data(toy_root), "OUTPUT_DIR": tmp_path})
    whole = batches(cfg, 6)
    for start in (0, 1, 4):
        later = batches(cfg, 2, start)
        assert all(map(all, equal(later, whole[start:])))
    assert not all(map(all, equal(whole[:3], whole[3:])))


def test_another_seed_gives_other_images(toy_root, tmp_path):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path}
    first, second = (batches(toy_setup("toy_1_pretrain_supernet", {**overrides, "SEED": seed}), 1) for seed in (0, 1))
    assert not any(map(any, equal(first, second)))


def test_an_image_that_comes_again_is_augmented_anew(toy_root, tmp_path):
    cfg = toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})
    seen = {}
    for batch in batches(cfg, 12):
        for x in batch:
            seen.setdefault(x["file_name"], []).append(x["image"])
    again = [images for images in seen.values() if len(images) > 1]
    assert again and any(not torch.equal(images[0], images[1]) for images in again)


@pytest.mark.parametrize("start", range(9))
def test_wide_and_high_images_are_grouped_as_if_the_training_had_not_stopped(start):
    dicts = [{"width": 4 + index % 3, "height": 5} for index in range(10)]
    order = [index * 7 % 10 for index in range(60)]

    def grouped(stream):
        """Batches of three as Detectron2 fills them."""
        waiting = {True: [], False: []}
        for draw in stream:
            bucket = waiting[dicts[draw % 10]["width"] > 5]
            bucket.append(draw)
            if len(bucket) == 3:
                yield list(bucket)
                bucket.clear()

    whole = list(grouped(_ResumedSampler(order, dicts, 0, 3, True)))
    assert list(grouped(_ResumedSampler(order, dicts, start, 3, True))) == whole[start:]
