"""tools/check_dataset.py lists everything that is wrong with a data set."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scripts import script

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


def test_all_that_is_wrong_in_coco_form_is_listed_with_file_and_place(root, capsys):
    folder, json_file = root / "detection" / "train", root / "detection" / "train.json"
    data = json.loads(json_file.read_text())
    first, *_, small, deep, damaged, gone = files = [folder / image["file_name"] for image in data["images"]]
    damaged.write_bytes(b"")
    gone.unlink()
    Image.new("RGB", (30, 20)).save(small)
    Image.fromarray(np.full((128, 128), 300, np.uint16)).save(deep, "PNG")
    data["annotations"][0]["bbox"] = [100, 100, 90, 3]
    data["annotations"][1]["category_id"] = 77
    json_file.write_text(json.dumps(data))
    name = f"coco:{json_file}:{folder}"
    ids = {folder / image["file_name"]: image["id"] for image in data["images"]}
    expected = [
        f"image {ids[small]}: {small.name} has 30x20 pixels, but the annotations say 128x128",
        f"image {ids[deep]}: {deep.name} cannot be read as an image: its pixels have more than 8 bits",
        f"image {ids[damaged]}: {damaged.name} cannot be read as an image: it is no image, or none of a known format",
        f"image {ids[gone]}: {gone.name} is not in {folder}",
        "annotation 1: box [100.0, 100.0, 90.0, 3.0] (x, y, w, h) is outside its image (128x128)",
        "annotation 2: category 77 is not among the categories",
    ]
    code, (*lines, last) = listed(capsys, name)
    assert code == 1 and last == f"{name}: 0 images read, 6 problems" and first in files
    assert len(lines) == 6 and all(line.startswith(f"{json_file}: {start}") for line, start in zip(lines, expected))


def test_an_image_that_ends_early_a_flat_box_and_an_image_in_two_sets_are_found(root, capsys):
    folder, json_file = root / "detection" / "val", root / "detection" / "val.json"
    name = f"coco:{json_file}:{folder}"
    data = json.loads(json_file.read_text())
    shutil.copytree(root / "detection", root / "again")
    code, lines = listed(capsys, name, f"coco:{root}/again/val.json:{root}/again/val")
    assert code == 1 and lines[2].endswith(f"4 images are in both, {folder}/{data['images'][0]['file_name']} the first")
    data["annotations"][0]["bbox"][2] = 0
    json_file.write_text(json.dumps(data))
    file = folder / data["images"][1]["file_name"]
    file.write_bytes(file.read_bytes()[:-300])
    other = f"coco:{json_file}:{folder}/"
    code, lines = listed(capsys, other)
    assert code == 1 and lines[0].startswith(f"{json_file}: boxes with a width or height of 0, which a training leaves")
    assert lines[1].startswith(f"{folder}/{file.name}, which {json_file} names, cannot be read as an image: image file")
    assert lines[2] == f"{other}: 4 images read, 2 problems"


#: cases, and the names of data sets in them, whose annotations have AP 100 as their own detections
SOUND = [
    *((name, "coco:{0}/train.json:{0}/train", "coco:{0}/test.json:{0}/test") for name in """02_annotation_id_0
        03a_order 03b_other_ids 03c_fewer 09b_seg_two_points_all 10_seg_flat 11_ignore 14_size_null 15_cat_str
        16_image_id_str 17_bom 18_outside 18b_no_area 19a_exif6_raw 19c_exif6_display 20_backslash 22_no_info 24_modes
        25_no_extension 26_500_classes 27_crowd_rle 36_cat_same_name 37_cat_number 38_one_image 39_area_0 40_nfd
        44_no_boxes""".split()),
    *((name, "voc:{0}/voc:train") for name in """04_voc_no_pose 04b_voc_cvat 05_voc_float 06_voc_png 07_voc_spaces
        21_voc_mac 21b_voc_names 21e_voc_floatsize 28_voc_difficult""".split()),
    ("08_voc_class_list", "voc:{0}/voc:RBC_train"),
    ("01_roboflow", "{0}", "export:{0}:valid", "export:{0}:test"),
    ("21c_voc_flat", "{0}/voc"),
    ("29_yolo", "{0}", "yolo:{0}/data.yaml:val"),
]


@pytest.mark.parametrize("case, names", [(case, names) for case, *names in SOUND], ids=[case for case, *_ in SOUND])
def test_the_annotations_of_sound_cases_are_right_by_their_own_metric(data_dir, capsys, case, names):
    folder = data_dir.parent / "cases" / case
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: no cases")
    code, lines = listed(capsys, *(name.format(folder) for name in names))
    assert code == 0, lines
    assert [line for line in lines if line.endswith("images read, no problems")] == [
        line for line in lines if not line.startswith("mended: ")]


@pytest.mark.parametrize("case, problem", [
    ("13_dup_file", "files that are listed as two images: 1"),
    ("43b_dup_boxes", "boxes that are there twice, with the same class and place: 72"),
    ("24b_16bit", "its pixels have more than 8 bits"),
    ("45_truncated", "cannot be read as an image"),
])
def test_what_a_training_could_not_or_should_not_take_is_a_problem(data_dir, capsys, case, problem):
    folder = data_dir.parent / "cases" / case
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: no cases")
    code, lines = listed(capsys, f"coco:{folder}/train.json:{folder}/train")
    assert code == 1 and any(problem in line for line in lines)


def test_what_is_wrong_in_a_folder_of_classes_is_listed(root, capsys):
    files = sorted((root / "classification" / "val").rglob("*.jpg"))
    files[0].write_text("text"), files[-1].write_bytes(files[-1].read_bytes()[:500])
    code, lines = listed(capsys, f"folder:{root}/classification/val")
    assert code == 1 and len(lines) == 3 and lines[-1].endswith(f"{len(files)} images read, 2 problems")
    assert {line.partition(" cannot")[0] for line in lines[:2]} == {str(files[0]), str(files[-1])}


@pytest.mark.parametrize("name", ["cats", "coco:gone.json:images", "voc:gone:train", "folder:gone", "imagenet_val"])
def test_a_data_set_that_is_not_there_is_one_sentence_and_exit_code_2(name, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert name.split(":")[-1] in refused(check_dataset.main, [name]).replace("gone/ImageSets/Main/", "")


def test_a_folder_in_place_of_a_json_is_one_sentence(tmp_path, refused):
    assert refused(check_dataset.main, [f"coco:{tmp_path}:{tmp_path}"]) == f"{tmp_path}: Is a directory"
