"""Annotations as people really have them: what is read, mended, said and refused of each case."""

import pytest
from detectron2.structures import BoxMode

from detnas.data.coco import read_coco
from detnas.data.voc import read_voc, read_voc_flat
from detnas.data.yolo import read_yolo
from detnas.errors import UserError

CELLS = ("RBC", "WBC", "Platelets")


@pytest.fixture
def cases(data_dir):
    folder = data_dir.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: no cases")
    return folder


def boxes(clean):
    """{file name without ending: sorted list of (class, x0, y0, x1, y1)}"""
    found = {}
    for image in clean.images:
        name = image["file_name"].rpartition("/")[2].partition(".")[0].removesuffix("_jpg")
        found[name] = sorted(
            (clean.classes[ann["category_id"]], *BoxMode.convert(ann["bbox"], ann["bbox_mode"], BoxMode.XYXY_ABS))
            for ann in image["annotations"]
        )
    return found


def assert_alike(images, expected, distance):
    """That images have as many boxes, each with one of the others at its place."""
    for found, right in zip(images, expected):
        assert len(found) == len(right)
        for _, *box in found:
            assert min(max(abs(a - b) for a, b in zip(box, other)) for _, *other in right) <= distance


def read(cases, name, split="train"):
    return read_coco(str(cases / name / f"{split}.json"), str(cases / name / split))


#: cases in which all boxes are those of 22_no_info
EQUAL = """02_annotation_id_0 03a_order 03b_other_ids 03c_fewer 09_seg_two_points 09b_seg_two_points_all
    10_seg_flat 11_ignore 14_size_null 14b_size_str 14c_size_0 15_cat_str 15b_cat_mixed 15c_cat_mixed2 15d_iscrowd_null
    15f_iscrowd_text 15g_iscrowd_false 16_image_id_str 16c_image_id_mixed 17_bom 18b_no_area 20_backslash
    25_no_extension 26_500_classes 36_cat_same_name 39_area_0""".split()


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_written_otherwise_has_the_same_boxes(cases, name):
    clean, expected = read(cases, name), read(cases, "22_no_info")
    assert clean.classes[:3] == CELLS and boxes(clean) == boxes(expected)
    assert [image["image_id"] for image in clean.images] == list(range(1, 13))
    annotations = [ann for image in clean.images for ann in image["annotations"]]
    assert all(type(side) is float for ann in annotations for side in ann["bbox"])
    assert all(ann["area"] > 0 and ann["iscrowd"] in (0, 1) for ann in annotations)


def test_an_export_whose_ids_begin_with_0_has_the_same_boxes_and_no_root_class(cases):
    folder = cases / "01_roboflow" / "train"
    clean = read_coco(str(folder / "_annotations.coco.json"), str(folder))
    assert clean.classes == ("Platelets", "RBC", "WBC") and boxes(clean) == boxes(read(cases, "22_no_info"))
    (said,) = clean.said
    assert 'classes without a box, which are left out: 1, the first: "blood-cells", which is the parent' in said


@pytest.mark.parametrize("name, sentence", [
    ("14_size_null", "images without a size, which is taken from their files: 12"),
    ("14c_size_0", "images without a size, which is taken from their files: 12"),
    ("18_outside", "outside their images, which are cut: 31, the first: annotation 1"),
    ("19a_exif6_raw", "EXIF orientation whose boxes are on the pixels as stored, by their size: 12"),
    ("19b_exif3_raw", "boxes are taken as displayed, which their size does not tell: 12"),
    ("19c_exif6_display", "boxes are taken as displayed, by their size: 12"),
    ("19d_exif6_square_raw", "boxes are taken as displayed, which their size does not tell: 12"),
    ("20_backslash", "file names with another folder or backslashes in front: 12"),
    ("36_cat_same_name", 'left out: 1, the first: "RBC", which has the name of another one'),
])
def test_what_is_mended_is_counted_and_said(cases, name, sentence):
    (said,) = read(cases, name).said
    assert said.startswith(str(cases / name / "train.json")) and sentence in said


@pytest.mark.parametrize("name, sentence", [
    ("13_dup_file", "files that are listed as two images: 1, the first: BloodImage_00000.jpg"),
    ("43b_dup_boxes", "boxes that are there twice, with the same class and place: 72"),
])
def test_what_is_most_likely_a_mistake_is_named(cases, name, sentence):
    (doubt,) = read(cases, name).doubts
    assert sentence in doubt


@pytest.mark.parametrize("name, sentence", [
    ("12_dup_image_id", "image 1: BloodImage_00000.jpg and BloodImage_00001.jpg have the same id"),
    ("18c_no_id", 'annotations[0]: its "id" is missing (and 214 more like this)'),
    ("18d_bbox_str", 'annotation 1: its "bbox" is ["64.75", "44.0", "58.0", "50.0"], not four numbers'),
    ("18e_bbox_empty", 'annotation 4: its "bbox" is [], not four numbers (x, y, w, h) (and 1 more like this)'),
    ("18f_ann_null", "annotations[3] is null, no object"),
    ("20b_url", "image 1: https://example.org/data/BloodImage_00000.jpg is a URL"),
    ("36b_cat_same_id", 'categories "WBC" and "other" have the same id 2'),
    ("37b_cat_null", 'categories[1]: its "name" is null'),
    ("41_negative_size", "annotation 3: box [42.25, 84.0, -26.75, -25.0] (x, y, w, h) has a negative side"),
    ("42_nan", "annotation 3: box [15.5, nan, 26.75, 25.0] (x, y, w, h) has what is no number"),
    ("43_dup_ann_id", "annotation 5: another annotation has the same id"),
    ("45_truncated", "image 2: BloodImage_00001.jpg cannot be read as an image"),
    ("46_xyxy", "its boxes look like corners (x0, y0, x1, y1); COCO form has (x, y, w, h)"),
    ("46b_normalised", "its boxes look relative, from 0 to 1; COCO form has them in pixels"),
])
def test_what_cannot_be_mended_is_one_sentence_with_file_and_place(cases, name, sentence):
    with pytest.raises(UserError) as caught:
        read(cases, name)
    message = str(caught.value)
    assert message.startswith(f"{cases / name / 'train.json'}: ") and sentence in message and "\n" not in message


@pytest.mark.parametrize("name", ["via", "labelme", "labelstudio", "empty"])
def test_jsons_of_other_tools_are_refused(cases, name):
    with pytest.raises(UserError, match=f'{name}.json: (no "images"; this is not a COCO|not a JSON file)'):
        read_coco(str(cases / "48_other_json" / f"{name}.json"), str(cases))


def test_boxes_outside_are_cut_at_the_border(cases):
    for image in read(cases, "18_outside").images:
        for x, y, w, h in (ann["bbox"] for ann in image["annotations"]):
            assert 0 <= x <= x + w <= image["width"] and 0 <= y <= y + h <= image["height"]


def test_crowds_and_what_is_to_be_ignored_are_crowds(cases):
    for name in ("27_crowd_rle", "11_ignore"):
        assert {ann["iscrowd"] for image in read(cases, name).images for ann in image["annotations"]} == {0, 1}


def test_names_are_found_in_the_other_form_of_their_accents(cases):
    clean = read(cases, "40_nfd")
    assert len(clean.images) == 12 and not clean.said


def test_class_names_that_are_numbers_are_text(cases):
    assert read(cases, "37_cat_number").classes == ("0", "1", "2")


@pytest.mark.parametrize("name, split, classes", [
    *((name, "train", ("Platelets", "RBC", "WBC")) for name in (
        "04_voc_no_pose", "04b_voc_cvat", "05_voc_float", "06_voc_png", "08_voc_class_list", "21_voc_mac",
        "21e_voc_floatsize", "28_voc_difficult")),
    ("08_voc_class_list", "RBC_train", ("Platelets", "RBC", "WBC")),
    ("07_voc_spaces", "train", ("Platelets", "RBC", "WBC")),
    ("21b_voc_names", "train", ("Platelets", "red cell", "weiße & Zelle")),
])
def test_voc_folders_are_read_as_they_are(cases, name, split, classes):
    clean = read_voc(str(cases / name / "voc"), split)
    assert clean.classes == classes and not clean.said and not clean.doubts
    # Whole pixels, or decimals: the boxes of the json within a pixel.
    assert_alike(boxes(clean).values(), boxes(read(cases, "22_no_info")).values(), 1.5)


def test_an_xml_beside_each_image_is_read_without_a_list_of_images(cases):
    clean = read_voc_flat(str(cases / "21c_voc_flat" / "voc"))
    assert boxes(clean) == boxes(read_voc(str(cases / "04_voc_no_pose" / "voc"), "train"))


def test_an_object_without_a_name_is_one_sentence(cases):
    with pytest.raises(UserError, match="BloodImage_00000.xml: object 5 has no name$"):
        read_voc(str(cases / "21d_voc_noname" / "voc"), "train")


def test_a_yolo_folder_has_the_boxes_of_the_json_to_a_tenth_of_a_pixel(cases):
    clean = read_yolo(str(cases / "29_yolo" / "data.yaml"), "train")
    assert clean.classes == CELLS and not clean.said
    assert_alike(boxes(clean).values(), boxes(read(cases, "22_no_info")).values(), 0.1)
