import itertools
import shlex
import shutil

import numpy as np
import pytest
from detectron2.data import detection_utils
from PIL import Image
from toy_runs import TASKS, classification, detection, toy_setup

from detnas.data.loader import TrainingData
from detnas.data.reading import UnreadableImage, read_image
from detnas.evaluation.evaluators import build_test_loader, read_test_images

#: how a file can be damaged, and what is then said of it
DAMAGES = {
    "empty": (lambda file: file.write_bytes(b""), "it is no image, or none of a known format"),
    "text": (lambda file: file.write_text("no image"), "it is no image, or none of a known format"),
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-300]), "image file is truncated"),
    "gone": (lambda file: file.unlink(), "No such file or directory"),
}


@pytest.fixture
def root(toy_root, tmp_path):
    """A copy of the generated data, to be damaged."""
    return shutil.copytree(toy_root, tmp_path / "damaged")


def damage_all(folder, damage):
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix in (".jpg", ".png"))
    for file in files:
        damage(file)
    return files


@pytest.mark.parametrize("damage, workers", [*((damage, 0) for damage in DAMAGES), ("cut off", 1)])
def test_a_damaged_training_image_is_one_sentence_with_file_and_annotations(root, tmp_path, damage, workers):
    change, reason = DAMAGES[damage]
    overrides = {**detection(root), "DATALOADER.NUM_WORKERS": workers, "OUTPUT_DIR": tmp_path}
    cfg = toy_setup("toy_2_train_supernet", overrides)
    data = TrainingData(cfg)
    files = damage_all(root / "detection" / "train", change)
    with pytest.raises(UnreadableImage) as caught:
        next(data.batches())
    said = f", which {root}/detection/train.json names, cannot be read as an image: {reason}"
    words = str(caught.value)
    assert any(words.startswith(f"{file}{said}") for file in files) and "\n" not in words
    assert f"`python tools/check_dataset.py {shlex.quote(cfg.DATASETS.TRAIN[0])}` lists all" in words


@pytest.mark.parametrize("task, workers", [("classifier", 0), ("detector", 1)])
def test_a_damaged_test_image_is_one_sentence_too(root, tmp_path, task, workers):
    name, data = TASKS[task]
    cfg = toy_setup(name, {**data(root), "DATALOADER.NUM_WORKERS": workers, "OUTPUT_DIR": tmp_path})
    (test,) = cfg.DATASETS.TEST
    loader = build_test_loader(cfg, read_test_images(test))
    damage_all(root, DAMAGES["empty"][0])
    with pytest.raises(UnreadableImage) as caught:
        next(iter(loader))
    source = "" if name.startswith("toy_1") else f", which {root}/detection/val.json names,"
    assert f"{source} cannot be read as an image" in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_of_another_size_than_its_annotation_says_is_one_sentence(root, tmp_path):
    cfg = toy_setup("toy_2_train_supernet", {**detection(root), "OUTPUT_DIR": tmp_path})
    files = damage_all(root / "detection" / "train", lambda file: Image.new("RGB", (30, 20)).save(file))
    with pytest.raises(UnreadableImage) as caught:
        next(TrainingData(cfg).batches())
    words = str(caught.value)
    assert any(words.startswith(f"{f} has 30x20 pixels, but {root}/detection/train.json says 128x128") for f in files)


@pytest.mark.parametrize("mode, dtype", [("I;16", np.uint16), ("I", np.int32), ("F", np.float32)])
def test_an_image_of_more_than_8_bits_is_an_error(tmp_path, mode, dtype):
    file = tmp_path / f"deep.{'png' if mode == 'I;16' else 'tif'}"
    Image.fromarray(np.full((4, 6), 300, dtype)).save(file)
    with pytest.raises(OSError, match=f"more than 8 bits .Pillow's mode {mode}.: save it with 8 bits"):
        read_image(str(file), "BGR")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "turned"])
def test_an_image_of_8_bits_is_read_as_detectron2_reads_it(tmp_path, mode):
    image = Image.fromarray(np.random.RandomState(0).randint(0, 255, (5, 7, 3), np.uint8))
    file = str(tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}")
    if mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(file, exif=exif)
    else:
        image.convert(mode).save(file)
    for format in ("BGR", "RGB", "L"):
        assert np.array_equal(read_image(file, format), detection_utils.read_image(file, format))


def test_the_first_batches_are_read_where_a_later_image_is_damaged(root, tmp_path):
    cfg = toy_setup("toy_1_pretrain_supernet", {**classification(root), "OUTPUT_DIR": tmp_path})
    first = [x["file_name"] for x in next(TrainingData(cfg).batches())]
    for file in damage_all(root / "classification" / "train", lambda file: None):
        if str(file) not in first:
            file.write_bytes(b"")
    batches = TrainingData(cfg).batches()
    assert [x["file_name"] for x in next(batches)] == first
    with pytest.raises(UnreadableImage):
        list(itertools.islice(batches, 2))
