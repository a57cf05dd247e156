import json
import math
import re
import shutil

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image
from stand_in import voc_xml

from detnas.data.datasets import register_dataset
from detnas.errors import UserError


def write_coco(folder, change=lambda data: None):
    """Two images of 40x30 with a box each, in COCO form; returns the data set's name."""
    (folder / "images").mkdir()
    names = "a.png", "b.png"
    for name in names:
        Image.new("RGB", (40, 30)).save(folder / "images" / name)
    boxes = [(21, 11, 5, [1, 2, 10, 20]), (22, 12, 3, [0, 0, 40, 30])]
    data = {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names, 11)],
        "annotations": [{"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3],
                         "iscrowd": 0} for i, image, category, box in boxes],
        "categories": [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    change(data)
    (folder / "boxes.json").write_text(json.dumps(data))
    return f"coco:{folder}/boxes.json:{folder}/images"


def write_voc(root, classes=("dog", "cat")):
    """One image of 40x30 per class, all in the split "train", in VOC form; returns the data set's name."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for index, name in enumerate(classes):
        Image.new("RGB", (40, 30)).save(root / "JPEGImages" / f"{index}.jpg")
        (root / "Annotations" / f"{index}.xml").write_text(voc_xml((40, 30), [(name, (0, 1, 10, 19), False)]))
    (root / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{i}\n" for i in range(len(classes))))
    return f"voc:{root}:train"


def write_folder(root, classes=("b", "a")):
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(index + 1):
            Image.new("RGB", (8, 8)).save(root / name / f"{i}.png")
    return f"folder:{root}"


def message(error, name):
    with pytest.raises(error) as caught:
        register_dataset(name)
    assert name not in DatasetCatalog.list()
    return str(caught.value)


def test_coco_form_is_read_as_it_stands(tmp_path):
    name = write_coco(tmp_path, lambda data: data["images"][1].update(file_name="deep/b.png"))
    (tmp_path / "images" / "deep").mkdir()
    shutil.move(tmp_path / "images" / "b.png", tmp_path / "images" / "deep" / "b.png")
    assert register_dataset(name) == ["dog", "cat"]
    first, second = DatasetCatalog.get(name)
    assert [d["file_name"] for d in (first, second)] == [f"{tmp_path}/images/{n}" for n in ("a.png", "deep/b.png")]
    assert (first["image_id"], first["width"], first["height"]) == (1, 40, 30)
    (ann,) = first["annotations"]
    assert ann["bbox"] == [1, 2, 10, 20] and ann["bbox_mode"] == BoxMode.XYWH_ABS
    # Categories count from 0 in the order of their ids.
    assert ann["category_id"] == 1 and second["annotations"][0]["category_id"] == 0
    assert MetadataCatalog.get(name).evaluator_type == "coco"


def test_voc_form_is_read_as_it_stands(tmp_path):
    name = write_voc(tmp_path / "own")
    assert register_dataset(name) == ["cat", "dog"]
    first, second = DatasetCatalog.get(name)
    assert first["file_name"] == str(tmp_path / "own" / "JPEGImages" / "0.jpg")
    (ann,) = first["annotations"]
    # VOC counts pixels from 1 and includes the last one.
    assert ann["bbox"] == [0, 1, 10, 20] and ann["bbox_mode"] == BoxMode.XYXY_ABS
    assert ann["category_id"] == 1 and second["annotations"][0]["category_id"] == 0
    assert MetadataCatalog.get(name).evaluator_type == "pascal_voc"


@pytest.mark.parametrize("folder, year", [("VOC2007", 2007), ("VOC2012", 2012), ("own", 2012)])
def test_voc_2007_alone_has_the_metric_of_its_year_and_every_split_the_classes_of_all(tmp_path, folder, year):
    write_voc(tmp_path / folder)
    (tmp_path / folder / "ImageSets" / "Main" / "dogs.txt").write_text("0\n")
    name = f"voc:{tmp_path}/{folder}:dogs"
    assert register_dataset(name) == ["cat", "dog"]
    assert MetadataCatalog.get(name).year == year


def test_a_folder_of_classes_is_read_in_the_order_of_names(tmp_path):
    name = write_folder(tmp_path / "images")
    assert register_dataset(name) == ["a", "b"]
    samples = DatasetCatalog.get(name)
    assert [(d["label"], d["image_id"]) for d in samples] == [(0, 0), (0, 1), (1, 2)]
    assert samples[2]["file_name"] == str(tmp_path / "images" / "b" / "0.png")
    assert MetadataCatalog.get(name).evaluator_type == "classification"


def test_a_name_registered_in_python_stays_as_it_is(monkeypatch):
    monkeypatch.setitem(DatasetCatalog.data, "own", list)
    assert register_dataset("own") is None
    MetadataCatalog.get("own").set(thing_classes=["dog"])
    assert register_dataset("own") == ["dog"]
    MetadataCatalog.pop("own")


def test_environment_variables_are_expanded_and_an_unset_one_is_named(tmp_path, monkeypatch):
    write_coco(tmp_path)
    monkeypatch.setenv("OWN_DATA", str(tmp_path))
    name = "coco:$OWN_DATA/boxes.json:${OWN_DATA}/images/../images"
    assert register_dataset(name) == ["dog", "cat"] and len(DatasetCatalog.get(name)) == 2
    monkeypatch.delenv("OWN_DATA")
    name = "folder:$OWN_DATA/train"
    assert message(UserError, name) == f'data set "{name}": the environment variable OWN_DATA is not set'


@pytest.mark.parametrize("name", ["coco_2071_train", "png:images", ""])
def test_a_name_of_no_form_is_an_error_that_shows_the_forms(name):
    words = message(UserError, name)
    assert f'unknown data set "{name}"' in words
    assert "coco:ANNOTATIONS.json:IMAGE_FOLDER" in words and "voc:ROOT:SPLIT" in words and "folder:ROOT" in words


def test_a_form_without_its_parts_is_an_error_that_shows_it():
    assert message(UserError, "coco:only.json").endswith(": coco:ANNOTATIONS.json:IMAGE_FOLDER is expected")


def without(part, key):
    return lambda data: data[part][1].pop(key)


def changed(part, index=0, **values):
    return lambda data: data[part][index].update(values)


NO_BOXES = [[1, 2, 3], [1, 2, 3, "4"], None, [math.nan, 0, 5, 5]]
OUTSIDE = [[-6, 0, 9, 5], [0, -6, 5, 9], [9, 0, -1, 5], [0, 9, 5, -1], [35, 0, 11, 5], [0, 25, 5, 11], [50, 50, 1, 1]]
PARTS = ("images", "annotations", "categories")
#: a change of the json, and what is said behind the file's name
BAD = [
    *((lambda data, key=key: data.pop(key), f'no "{key}"') for key in PARTS),
    *((lambda data, key=key: data.update({key: []}), f'"{key}" is empty') for key in PARTS),
    (without("images", "id"), r'images\[1\]: its "id" is missing'),
    (without("images", "file_name"), 'image 12: its "file_name" is missing'),
    (changed("images", 1, file_name="../boxes.json"), r"image 12: \.\./boxes.json is not in .*/images$"),
    (without("annotations", "id"), r'annotations\[1\]: its "id" is missing$'),
    (without("annotations", "image_id"), "annotation 22: image missing is not among the images$"),
    (without("annotations", "category_id"), "annotation 22: category missing is not among the categories$"),
    (without("annotations", "bbox"), 'annotation 22: its "bbox" is missing, not four numbers'),
    (changed("images", 1, file_name="c.png"), "image 12: c.png is not in .*/images$"),
    (changed("annotations", image_id=99), "annotation 21: image 99 is not among the images$"),
    (changed("annotations", category_id=9), "annotation 21: category 9 is not among the categories$"),
    (changed("annotations", 1, id=21), "annotation 21"),
    *((changed("annotations", bbox=box), r"annotation 21: box .*(outside its image \(40x30\)|has a negative side)")
      for box in OUTSIDE),
    *((changed("annotations", bbox=box), "annotation 21") for box in NO_BOXES),
]


@pytest.mark.parametrize("change, words", BAD, ids=[words for _, words in BAD])
def test_what_is_wrong_in_a_coco_file_is_named(tmp_path, change, words):
    said = message(UserError, write_coco(tmp_path, change))
    assert re.match(f"{tmp_path}/boxes.json: {words}", said)


def test_a_file_that_is_no_coco_file_and_a_missing_image_folder_are_named(tmp_path):
    name = write_coco(tmp_path)
    for text, words in (('{"images": [', "not a JSON file"), ("[" * 100_000, "not a JSON file"),
                        ("[1]", "no .*; this is not a COCO ")):
        (tmp_path / "boxes.json").write_text(text)
        assert re.match(f"{tmp_path}/boxes.json: {words}", message(UserError, name))
    shutil.rmtree(tmp_path / "images")
    assert f"{tmp_path}/images does not exist" in message(UserError, name)


@pytest.mark.parametrize("box", [[-0.4, -0.4, 5, 5], [35, 25, 5.4, 5.4], [0, 0, 40, 30]])
def test_a_box_may_pass_the_border_by_a_fraction_of_a_pixel(tmp_path, box):
    assert register_dataset(write_coco(tmp_path, lambda data: data["annotations"][0].update(bbox=box)))


def written(file, text):
    return lambda root: (root / file).write_text(text)


def edited(file, old, new):
    return lambda root: (root / file).write_text((root / file).read_text().replace(old, new))


LIST = "ImageSets/Main/train.txt"
LACKS = f"ROOT/{LIST}: image 1: ROOT/{{}} has no {{}} file of this name"
#: a change of a folder in VOC form, and what is said
BAD_VOC = [
    (lambda root: (root / "Annotations/1.xml").unlink(), LACKS.format("Annotations", "xml")),
    (lambda root: (root / "JPEGImages/1.jpg").unlink(), LACKS.format("JPEGImages", "image")),
    (lambda root: (root / LIST).unlink(), f"ROOT/{LIST} does not exist"),
    (lambda root: shutil.rmtree(root / "Annotations"), "ROOT/Annotations has no xml file"),
    (written(LIST, ""), "train.txt names no image"),
    (written(LIST, "0\n0\n"), "train.txt: image 0 occurs twice"),
    (written(LIST, "0\n../../1\n"), r"image \.\./\.\./1: ROOT/Annotations has no xml file of this name"),
    (written("Annotations/1.xml", "<annotation>"), "ROOT/Annotations/1.xml: not an XML file"),
    (edited("Annotations/1.xml", "<xmax>10", "<xmax>99"), "ROOT/Annotations/1.xml.*outside"),
]


@pytest.mark.parametrize("change, words", BAD_VOC, ids=[words for _, words in BAD_VOC])
def test_what_is_wrong_in_voc_form_is_named(tmp_path, change, words):
    name = write_voc(tmp_path)
    change(tmp_path)
    assert re.search(words.replace("ROOT", str(tmp_path)), message(UserError, name))


def test_a_folder_without_classes_or_with_an_empty_one_is_an_error(tmp_path):
    name = write_folder(tmp_path / "images")
    (tmp_path / "images" / "c").mkdir()
    words = message(UserError, name)
    assert name in words and "for the classes c" in words and "a folder of images for each class" in words
    assert "a folder of images for each class is expected" in message(UserError, f"folder:{tmp_path}/images/a")


@pytest.mark.parametrize("split, count", [("train", 205), ("val", 87), ("test", 72)])
def test_real_images_are_the_same_in_both_forms(data_dir, split, count):
    root = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007"
    json_file = data_dir / "bccd_voc" / "coco" / "annotations" / f"instances_{split}.json"
    found = []
    for name in (f"coco:{json_file}:{root}/JPEGImages", f"voc:{root}:{split}"):
        classes, images = register_dataset(name), {}
        for d in DatasetCatalog.get(name):
            boxes = [(a, BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS)) for a in d["annotations"]]
            images[d["file_name"]] = sorted((classes[a["category_id"]], *box) for a, box in boxes)
        found.append(images)
    assert found[0] == found[1]
    assert len(found[0]) == count and sum(map(len, found[0].values())) > 5 * count


def test_boxes_without_a_width_are_a_warning_with_their_number(tmp_path, caplog):
    # COCO's own train2017 has two.
    def flatten(data):
        data["annotations"][0]["bbox"][2] = 0
        data["annotations"].append({**data["annotations"][1], "id": 23, "bbox": [5.0, 5.0, 3.0, 0.0]})

    assert register_dataset(write_coco(tmp_path, flatten)) == ["dog", "cat"]
    (record,) = [record for record in caplog.records if "width or height of 0" in record.getMessage()]
    words = record.getMessage()
    assert words.startswith(f"{tmp_path}/boxes.json: boxes with a width")
    assert words.endswith(": 2, the first: annotation 21")
