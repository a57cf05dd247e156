"""tools/check_dataset.py lists everything that is wrong with a data set."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import script
from stand_in import voc_xml

check_dataset = script("tools", "check_dataset")


@pytest.fixture
def root(toy_root, tmp_path):
    return shutil.copytree(toy_root, tmp_path / "data")


def listed(capsys, *names):
    """Exit code and the lines."""
    code = check_dataset.main([str(name) for name in names])
    return code, capsys.readouterr().out.splitlines()


def test_a_sound_data_set_is_said_to_be_so_and_the_exit_code_is_0(root, capsys):
    names = [f"coco:{root}/detection/val.json:{root}/detection/val", f"folder:{root}/classification/val"]
    images = len(list((root / "classification" / "val").rglob("*.jpg")))
    expected = [f"{names[0]}: 4 images read, no problems", f"{names[1]}: {images} images read, no problems"]
    assert listed(capsys, *names) == (0, expected)


def test_all_that_is_wrong_in_coco_form_is_listed_with_file_and_id(root, capsys):
    folder, json_file = root / "detection" / "train", root / "detection" / "train.json"
    data = json.loads(json_file.read_text())
    files = [folder / image["file_name"] for image in data["images"]]
    files[0].write_bytes(b"")
    files[1].unlink()
    Image.new("RGB", (30, 20)).save(files[2])
    Image.fromarray(np.full((128, 128), 300, np.uint16)).save(files[3], "PNG")
    data["annotations"][0]["bbox"] = [100, 100, 90, 3]
    data["annotations"][1]["bbox"][2] = 0
    data["annotations"][2]["category_id"] = 77
    json_file.write_text(json.dumps(data))
    name = f"coco:{json_file}:{folder}"
    code, (*lines, last) = listed(capsys, name)
    size = f'{data["images"][2]["width"]}x{data["images"][2]["height"]}'
    assert code == 1 and last == f"{name}: 7 images read, 7 problems"
    starts = [
        f"{json_file}: image {data['images'][1]['id']}: {files[1].name} is not in {folder}",
        f"{json_file}: annotation 1: box [100, 100, 90, 3] (x, y, w, h) is outside its image",
        f"{json_file}: annotation 2: box {data['annotations'][1]['bbox']} (x, y, w, h) has a width or height of 0",
        f"{json_file}: annotation 3: category 77 is not among the categories",
        f"{files[0]}: cannot be read as an image: it is no image, or none of a known format",
        f"{files[2]}: it has 30x20 pixels, but {json_file} says {size}",
        f"{files[3]}: cannot be read as an image: its pixels have more than 8 bits",
    ]
    assert len(lines) == 7 and all(line.startswith(start) for line, start in zip(lines, starts))


def test_all_that_is_wrong_in_voc_form_is_listed(tmp_path, capsys):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "all.txt").write_text("a\nb\nc\nd\n")
    for image_id, width in {"a": 7, "b": 70, "c": 7}.items():
        xml = voc_xml((8, 6), [("cat", (0, 0, width, 5), False)])
        (tmp_path / "Annotations" / f"{image_id}.xml").write_text(xml)
        Image.new("RGB", (6, 8) if image_id == "c" else (8, 6)).save(tmp_path / "JPEGImages" / f"{image_id}.jpg")
    code, lines = listed(capsys, f"voc:{tmp_path}:all")
    annotations = tmp_path / "Annotations"
    assert code == 1 and len(lines) == 4
    assert lines[0].startswith(f"{annotations}/b.xml: box [1.0, 1.0, 70.0, 5.0] of cat")
    assert f"{annotations}/d.xml" in lines[1] and "No such file" in lines[1]
    assert lines[2] == f"{tmp_path}/JPEGImages/c.jpg: it has 6x8 pixels, but {annotations}/c.xml says 8x6"


def test_what_is_wrong_in_a_folder_of_classes_is_listed(root, capsys):
    files = sorted((root / "classification" / "val").rglob("*.jpg"))
    files[0].write_text("text"), files[-1].write_bytes(files[-1].read_bytes()[:500])
    code, lines = listed(capsys, f"folder:{root}/classification/val")
    assert code == 1 and len(lines) == 3 and lines[-1].endswith(f"{len(files)} images read, 2 problems")
    assert {line.split(":")[0] for line in lines[:2]} == {str(files[0]), str(files[-1])}


@pytest.mark.parametrize("name", ["cats", "coco:gone.json:images", "voc:gone:train", "folder:gone", "imagenet_val"])
def test_a_data_set_that_is_not_there_is_one_sentence_and_exit_code_2(name, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert name.split(":")[-1] in refused(check_dataset.main, [name]).replace("gone/ImageSets/Main/", "")
