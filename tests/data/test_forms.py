"""Names of data sets: forms, paths alone, parts; data sets that are used together; what a data set is made of."""

import json
import random
import shutil

import pytest
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image
from stand_in import voc_xml

from detnas.data.clean import ImageFiles
from detnas.data.coco import read_coco
from detnas.data.datasets import check_unchanged, fingerprints, register_dataset, register_datasets
from detnas.data.forms import other_splits, parse_dataset_name
from detnas.data.voc import read_voc, read_voc_flat
from detnas.data.yolo import read_yolo
from detnas.errors import UserError

CLASSES = ("cat", "dog")


def draw(count=3, seed=0):
    """{name: (size, boxes (class number, x, y, w, h))}, of whole pixels."""
    rng, images = random.Random(seed), {}
    for number in range(count):
        width, height = rng.randint(30, 60), rng.randint(30, 60)
        boxes = []
        for _ in range(rng.randint(1, 4)):
            x, y = rng.randint(0, width - 9), rng.randint(0, height - 9)
            boxes.append((rng.randrange(2), x, y, rng.randint(2, width - x), rng.randint(2, height - y)))
        images[f"image {number}"] = (width, height), boxes
    # Every class is there.
    images["image 0"][1].extend([(0, 1, 1, 5, 5), (1, 2, 2, 5, 5)])
    return images


def save(folder, images):
    folder.mkdir(parents=True)
    for name, (size, _) in images.items():
        Image.new("RGB", size).save(folder / f"{name}.png")


def as_coco(folder, images):
    save(folder, images)
    anns = [(number, box) for number, (_, boxes) in enumerate(images.values()) for box in boxes]
    data = {
        "images": [{"id": i, "file_name": f"{name}.png", "width": size[0], "height": size[1]}
                   for i, (name, (size, _)) in enumerate(images.items())],
        "annotations": [{"id": i, "image_id": image, "category_id": box[0], "bbox": list(box[1:])}
                        for i, (image, box) in enumerate(anns)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
    }
    (folder / "_annotations.coco.json").write_text(json.dumps(data))
    return read_coco(str(folder / "_annotations.coco.json"), str(folder))


def as_voc(folder, images):
    save(folder / "JPEGImages", images)
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name, (size, boxes) in images.items():
        objects = [(CLASSES[number], box, False) for number, *box in boxes]
        (folder / "Annotations" / f"{name}.xml").write_text(voc_xml(size, objects))
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(images))
    return read_voc(str(folder), "train")


def as_voc_flat(folder, images):
    as_voc(folder.parent / "voc", images)
    shutil.copytree(folder.parent / "voc" / "JPEGImages", folder)
    shutil.copytree(folder.parent / "voc" / "Annotations", folder, dirs_exist_ok=True)
    return read_voc_flat(str(folder))


def as_yolo(folder, images):
    save(folder / "images" / "train", images)
    (folder / "labels" / "train").mkdir(parents=True)
    for name, ((width, height), boxes) in images.items():
        shares = [(n, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height) for n, x, y, w, h in boxes]
        lines = [" ".join(map(str, numbers)) for numbers in shares]
        (folder / "labels" / "train" / f"{name}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames: {list(CLASSES)}\n")
    return read_yolo(str(folder / "data.yaml"), "train")


FORMS = [as_coco, as_voc, as_voc_flat, as_yolo]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("write", FORMS)
def test_what_is_written_in_a_form_is_read_with_equal_boxes(tmp_path, write, seed):
    images = draw(4, seed)
    clean = write(tmp_path / "data", images)
    assert clean.classes == CLASSES and not clean.said and not clean.doubts
    found = {image["file_name"].rpartition("/")[2][:-4]: image for image in clean.images}
    assert found.keys() == images.keys()
    for name, (size, boxes) in images.items():
        assert (found[name]["width"], found[name]["height"]) == size
        read = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYWH_ABS) for a in found[name]["annotations"]]
        assert [a["category_id"] for a in found[name]["annotations"]] == [box[0] for box in boxes]
        assert all(a == pytest.approx(b[1:], abs=1e-9) for a, b in zip(read, boxes))


def damage(value, rng):
    """A sound value with one thing in it that is not."""
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        kinds = [None, "x", -1, 3.5, [], {}, True, float("nan")]
        inside = isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.9
        return {**value, key: damage(value[key], rng) if inside else rng.choice(kinds)}
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], damage(value[place], rng), *value[place + 1 :]]
    return rng.choice([None, "x", -1, [], {}])


def test_a_damaged_json_gives_a_sentence_or_all_of_its_boxes(tmp_path):
    images = draw()
    as_coco(tmp_path / "data", images)
    file = tmp_path / "data" / "_annotations.coco.json"
    sound, rng, read = json.loads(file.read_text()), random.Random(0), 0
    for _ in range(200):
        file.write_text(json.dumps(damage(sound, rng)))
        try:
            clean = read_coco(str(file), str(tmp_path / "data"))
        except UserError as e:
            assert str(e).startswith(f"{file}: ") and "\n" not in str(e)
            continue
        read += 1
        assert sum(len(image["annotations"]) for image in clean.images) == len(sound["annotations"])
    assert 0 < read < 100


def test_no_image_is_read_that_lies_outside_the_folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "images/b.png"):
        (tmp_path / name).touch()
    files = ImageFiles(str(tmp_path / "images"))
    for name in ("../a.png", str(tmp_path / "a.png"), "x/../../a.png"):
        assert files.find(name) is None
    inside = str(tmp_path / "images" / "b.png")
    assert files.find("b.png") == (inside, False) and files.find("../b.png") == files.find(inside) == (inside, True)


def test_a_path_alone_is_recognised(tmp_path):
    for write in FORMS:
        write(tmp_path / write.__name__ / "data", draw())
    folders = {write: tmp_path / write.__name__ / "data" for write in FORMS}
    names = {write: parse_dataset_name(str(folder)) for write, folder in folders.items()}
    file = folders[as_coco] / "_annotations.coco.json"
    assert names[as_coco] == parse_dataset_name(str(file)) == ["coco", str(file), str(folders[as_coco])]
    assert names[as_voc] == ["voc", str(folders[as_voc]), "train"]
    assert names[as_voc_flat] == ["voc-flat", str(folders[as_voc_flat])]
    assert names[as_yolo] == ["yolo", str(folders[as_yolo] / "data.yaml"), "train"]
    with pytest.raises(UserError, match=f"{tmp_path}: no annotations of a known form were found"):
        parse_dataset_name(str(tmp_path))


def test_an_export_is_named_by_its_folder_and_has_other_splits(tmp_path):
    for split in ("train", "valid", "test"):
        as_coco(tmp_path / split, draw())
    name = f"coco:{tmp_path}/%s/_annotations.coco.json:{tmp_path}/%s"
    assert ":".join(parse_dataset_name(str(tmp_path))) == name % ("train", "train")
    for split in ("val", "valid"):
        assert ":".join(parse_dataset_name(f"export:{tmp_path}:{split}")) == name % ("valid", "valid")
    assert other_splits(str(tmp_path)) == {"val": name % ("valid", "valid"), "test": name % ("test", "test")}
    assert other_splits(name % ("train", "train")) == other_splits("coco_2017_train") == {}
    assert other_splits(f"rest:2:{tmp_path}/train") == {}
    with pytest.raises(UserError, match='has no annotated folder of "night"; it has: train, val, test'):
        parse_dataset_name(f"export:{tmp_path}:night")


def test_paths_may_have_colons_spaces_and_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "a: b"
    as_coco(folder, draw())
    name = "coco:~/a: b/_annotations.coco.json:~/a: b"
    assert parse_dataset_name(name) == ["coco", f"{folder}/_annotations.coco.json", str(folder)]
    assert register_dataset(name) == list(CLASSES)


def test_a_data_set_has_two_parts(tmp_path):
    as_coco(tmp_path / "data", draw(10))
    name = str(tmp_path / "data")
    parts = {}
    for part in ("rest", "holdout", "rest:2:holdout"):
        assert register_dataset(f"{part}:4:{name}") == list(CLASSES)
        parts[part] = [image["image_id"] for image in DatasetCatalog.get(f"{part}:4:{name}")]
    assert len(parts["holdout"]) == 4 and len(parts["rest:2:holdout"]) == 2
    assert sorted(parts["rest"] + parts["holdout"]) == list(range(1, 11))
    assert set(parts["rest:2:holdout"]) < set(parts["holdout"])
    register_dataset(f"holdout:25%:{name}")
    assert len(DatasetCatalog.get(f"holdout:25%:{name}")) == 2
    for count in ("0", "10", "few", "100%", "inf%"):
        register_dataset(f"rest:{count}:{name}")
        with pytest.raises(UserError, match="of 10 images cannot be held out; 1 to 9 can"):
            DatasetCatalog.get(f"rest:{count}:{name}")


def relabel(folder, change):
    file = folder / "_annotations.coco.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_classes_of_data_sets_that_are_used_together_are_matched_by_name(tmp_path):
    for name in ("train", "test", "other", "again"):
        as_coco(tmp_path / name, draw())
    train, test, other, other_test = (str(tmp_path / name) for name in ("train", "test", "other", "again"))

    def cats_alone(data):
        data["annotations"] = [{**ann, "category_id": 7} for ann in data["annotations"] if ann["category_id"] == 1]
        data["categories"] = [{"id": 7, "name": "dog"}]

    relabel(tmp_path / "test", cats_alone)
    relabel(tmp_path / "again", cats_alone)
    relabel(tmp_path / "other", lambda data: data["categories"][0].update(name="cow"))
    assert register_datasets([train, test]) == list(CLASSES) == register_dataset(test)
    assert {ann["category_id"] for image in DatasetCatalog.get(test) for ann in image["annotations"]} == {1}
    register_dataset(other_test), register_dataset(f"holdout:1:{other_test}")
    assert register_datasets([train, other_test, f"holdout:1:{other_test}"]) == list(CLASSES)
    (image,) = DatasetCatalog.get(f"holdout:1:{other_test}")
    assert {ann["category_id"] for ann in image["annotations"]} <= {1}
    with pytest.raises(UserError, match="have other classes: .*cat.* and .*cow"):
        register_datasets([train, other])


def test_ids_that_are_no_numbers_are_kept_apart(tmp_path):
    as_coco(tmp_path / "data", draw())

    def odd(data):
        ids = {category["id"]: id for category, id in zip(data["categories"], ("--5", "1" * 5000))}
        data["categories"] = [{**category, "id": ids[category["id"]]} for category in data["categories"]]
        data["annotations"] = [{**ann, "category_id": ids[ann["category_id"]]} for ann in data["annotations"]]

    relabel(tmp_path / "data", odd)
    assert sorted(register_dataset(str(tmp_path / "data"))) == sorted(CLASSES)


def test_names_of_a_data_yaml_are_numbered_from_0(tmp_path):
    as_yolo(tmp_path / "data", draw())
    file = tmp_path / "data" / "data.yaml"
    for numbers in ("1: cat, 2: dog", "0: cat, x: dog"):
        file.write_text(f"path: .\ntrain: images/train\nnames: {{{numbers}}}\n")
        with pytest.raises(UserError, match='"names" has the numbers .*; they count from 0'):
            register_dataset(str(tmp_path / "data"))


@pytest.mark.parametrize("names", ["[" * 2000, "[2020-13-45]"])
def test_a_data_yaml_that_cannot_be_read_is_one_sentence(tmp_path, names):
    (tmp_path / "data.yaml").write_text(f"names: {names}")
    with pytest.raises(UserError, match="data.yaml: not a yaml file"):
        register_dataset(f"yolo:{tmp_path}/data.yaml:train")


def test_a_fingerprint_says_what_has_changed(tmp_path):
    def words(name, change=lambda folder: None):
        as_coco(tmp_path / name, draw())
        change(tmp_path / name)
        register_dataset(str(tmp_path / name))
        (found,) = fingerprints([str(tmp_path / name)]).values()
        return found.split(", ")

    def changed(name, change):
        return [word for word, before in zip(words(name, change), whole) if word != before]

    whole = words("whole")
    assert whole[0] == "3 images" and whole[2] == "2 classes" and words("equal") == whole
    moved = {"bbox": [0, 0, 7, 7]}
    (word,) = changed("a box", lambda f: relabel(f, lambda data: data["annotations"][0].update(moved)))
    assert word.startswith("annotations ")
    image = Image.new("RGB", draw()["image 0"][0])
    (word,) = changed("an image", lambda f: image.save(f / "image 0.png", compress_level=0))
    assert word.startswith("files ")
    name = str(tmp_path / "equal")
    check_unchanged(fingerprints([name]), fingerprints([name]), "it")
    with pytest.raises(UserError, match="has changed since it was begun: it had 2 images, and has 3 images"):
        check_unchanged({name: "2 images"}, fingerprints([name]), "it")
