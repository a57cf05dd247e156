import json
import shutil
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog
from scripts import script
from stand_in import use_root, write_coco, write_imagenet, write_voc
from toy_runs import tree

from detnas.data.datasets import register_dataset
from detnas.errors import UserError
from find_detector.splits import check_leaks, draw, find_leaks, split_coco, split_voc, write_split

tool = script("tools", "split_dataset")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder of standard data."""
    use_root(monkeypatch, tmp_path / "datasets")
    return tmp_path / "datasets"


def voc_ids(folder, split):
    return (folder / "ImageSets" / "Main" / f"{split}.txt").read_text().split()


def test_a_draw_depends_on_the_seed_and_not_on_the_order():
    ids = list(range(100))
    assert draw(ids, 10, 0, "x") == draw(reversed(ids), 10, 0, "x")
    assert draw(ids, 10, 0, "x") != draw(ids, 10, 1, "x")
    # What was drawn once must be drawn for ever: figures are compared over years.
    assert sorted(draw(ids, 5, 0, "x")) == [11, 16, 28, 65, 80]


@pytest.mark.parametrize("count", [-1, 0, 12, 5000])
def test_a_hold_out_that_leaves_nothing_on_one_side_is_an_error(count):
    with pytest.raises(ValueError, match=f"^x: {count} of 12 images cannot be held out; 1 to 11 can$"):
        draw(range(12), count, 0, "x")


def test_an_image_that_occurs_twice_is_named():
    with pytest.raises(ValueError, match="x: image 7 occurs twice"):
        draw([3, 7, 9, 7], 1, 0, "x")


def test_both_parts_of_coco_together_are_the_whole(root):
    write_coco(root)
    write_split(split_coco(4))
    folder = root / "coco" / "annotations"
    whole, search, holdout = (
        json.loads((folder / f"instances_train2017{part}.json").read_text()) for part in ("", "_search", "_holdout")
    )
    assert len(holdout["images"]) == 4
    for key in ("images", "annotations"):
        assert sorted(search[key] + holdout[key], key=lambda x: x["id"]) == sorted(whole[key], key=lambda x: x["id"])
    for part in (search, holdout):
        assert {a["image_id"] for a in part["annotations"]} <= {i["id"] for i in part["images"]}
        assert all(part[key] == whole[key] for key in ("info", "licenses", "categories"))


def test_both_parts_of_voc_together_are_the_whole(root):
    write_voc(root)
    write_split(split_voc(6))
    held_out = 0
    for year in ("VOC2007", "VOC2012"):
        search, holdout = (voc_ids(root / year, f"trainval_{part}") for part in ("search", "holdout"))
        assert sorted(search + holdout) == voc_ids(root / year, "trainval")
        held_out += len(holdout)
    assert held_out == 6


def test_nothing_else_is_touched(root):
    write_coco(root)
    write_voc(root)
    before = tree(root)
    write_split([*split_coco(4), *split_voc(6)])
    after = tree(root)
    assert {name: after[name] for name in before} == before
    assert all("train2017_" in name or "trainval_" in name for name in set(after) - set(before))
    assert len(set(after) - set(before)) == 6


def test_the_seed_makes_the_split_and_not_the_order_of_the_json(root):
    write_coco(root)
    before = split_coco(4)
    assert split_coco(4, seed=1)[1].text != before[1].text
    file = root / "coco" / "annotations" / "instances_train2017.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps({key: data[key][::-1] if key == "images" else data[key] for key in reversed(data)}))
    assert split_coco(4) == before


def test_the_same_split_may_be_written_again_and_another_one_if_asked_for(root):
    write_voc(root)
    files = split_voc(6)
    assert write_split(files) == set()
    assert write_split(split_voc(6)) == {file.path for file in files}
    before = tree(root)
    with pytest.raises(ValueError, match="trainval_.*txt is there with other content; --overwrite replaces it"):
        write_split(split_voc(7))
    assert tree(root) == before
    write_split(split_voc(7), overwrite=True)
    assert sum(len(voc_ids(root / year, "trainval_holdout")) for year in ("VOC2007", "VOC2012")) == 7
    assert not list(root.rglob("*.partial"))


def test_a_voc_part_that_detectron2_cannot_read_is_an_error(root):
    write_voc(root)
    with pytest.raises(ValueError, match="_holdout.txt would name [01] images; .* hold out more images"):
        split_voc(2)


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_own_data_is_split(data_dir, tmp_path, form):
    real = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007"
    if form == "coco":
        json_file, images = data_dir / "bccd_voc" / "coco" / "annotations" / "instances_train.json", real / "JPEGImages"
        write_split(split_coco(50, 0, str(json_file), str(images), str(tmp_path / "new")))
        name = f"coco:{tmp_path}/new/instances_train_{{}}.json:{images}"
    else:
        # The real images, with lists of its own.
        (tmp_path / "own").mkdir()
        for folder in ("Annotations", "JPEGImages"):
            (tmp_path / "own" / folder).symlink_to(real / folder)
        shutil.copytree(real / "ImageSets", tmp_path / "own" / "ImageSets")
        write_split(split_voc(50, 0, str(tmp_path / "own"), "train"))
        name = f"voc:{tmp_path}/own:train_{{}}"
    parts = [name.format(part) for part in ("search", "holdout")]
    assert register_dataset(parts[0]) == register_dataset(parts[1])
    assert [len(DatasetCatalog.get(part)) for part in parts] == [155, 50]
    assert check_leaks(parts) == {tuple(parts): []}


def test_a_moved_voc_folder_is_split_the_same_way(root):
    write_voc(root)
    before = split_voc(3, 0, str(root / "VOC2007"))
    (root / "VOC2007").rename(root / "moved")
    assert [file.text for file in split_voc(3, 0, str(root / "moved"))] == [file.text for file in before]


def test_own_data_that_is_not_sound_is_not_split(root):
    write_coco(root)
    images = root / "coco" / "train2017"
    gone = next(images.iterdir())
    gone.unlink()
    with pytest.raises(ValueError, match=f"{gone.name} is not in"):
        split_coco(4, 0, str(root / "coco" / "annotations" / "instances_train2017.json"), str(images))


def test_an_unknown_split_is_an_error_that_names_those_there_are(root):
    write_voc(root)
    with pytest.raises(UserError, match='VOC2007 has no split "all"; it has test, trainval$'):
        split_voc(3, 0, str(root / "VOC2007"), "all")


@pytest.mark.parametrize("split", [split_coco, split_voc])
def test_missing_standard_data_says_where_it_is_expected(root, split):
    with pytest.raises(UserError, match=f"{root}/.* does not exist; expected in .*DETECTRON2_DATASETS names"):
        split(4)


@pytest.mark.parametrize(
    "file, content, image_id, same_source, kind",
    [
        ("c.jpg", b"image", "two", False, "content"),
        ("link/a.jpg", b"image", "two", False, "file"),
        # Equal names in different folders are no leak, and equal ids are one among data of one source alone.
        ("b/a.jpg", b"other", "two", False, None),
        ("c.jpg", b"image, compressed again", "one", False, None),
        ("c.jpg", b"image, compressed again", "one", True, "image id"),
    ],
)
def test_an_image_is_found_again_by_file_content_or_id(tmp_path, file, content, image_id, same_source, kind):
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    for name, found in (("a.jpg", b"image"), ("b.jpg", b"imago"), (file, content)):
        (tmp_path / name).write_bytes(found)
    first = [{"file_name": str(tmp_path / "a.jpg"), "image_id": "one"}]
    first.append({"file_name": str(tmp_path / "b.jpg"), "image_id": "other"})
    leaks = find_leaks(first, [{"file_name": str(tmp_path / file), "image_id": image_id}], same_source=same_source)
    found = [(leak.kind, leak.a, leak.b) for leak in leaks]
    assert found == ([(kind, str(tmp_path / "a.jpg"), str(tmp_path / file))] if kind else [])


def test_an_image_that_is_not_there_is_named_by_the_check(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}/a.jpg does not exist"):
        find_leaks([{"file_name": f"{tmp_path}/a.jpg", "image_id": 1}], [])


def test_a_check_takes_two_data_sets(tmp_path):
    with pytest.raises(ValueError, match="two or more different data sets; given: x, x"):
        check_leaks(["x", "x"])


def test_the_tool_says_what_it_wrote_and_ends_with_0_without_a_leak(root, capsys):
    write_coco(root)
    assert tool.main(["coco", "--images", "4"]) == 0
    out = capsys.readouterr().out
    assert "instances_train2017_search.json: 8 images, " in out and "_holdout.json: 4 images, " in out
    assert "class" in out and "toothbrush" in out
    assert tool.main(["check", "coco_2017_train_search", "coco_2017_train_holdout", "coco_2017_val"]) == 0
    assert capsys.readouterr().out.count(": 0 images in both") == 3


def test_the_tool_ends_with_1_for_a_leak(root, capsys):
    write_voc(root)
    shutil.copy(root / "VOC2007" / "JPEGImages" / "000001.jpg", root / "VOC2012" / "JPEGImages" / "2008_000003.jpg")
    assert tool.main(["check", "voc_2007_trainval", f"voc:{root}/VOC2012:trainval"]) == 1
    out = capsys.readouterr().out
    assert "1 images in both" in out and "same content: " in out and "2008_000003.jpg" in out


@pytest.mark.parametrize(
    "words, reason",
    [
        ("coco", "5000 of 12 images cannot be held out"),
        ("voc", "does not exist; expected in"),
        ("own --images 3", "own data is named by"),
        ("own --images 3 --json a.json --voc-root b", "own data is named by"),
        ("own --images 3 --json no.json --image-root b", "no.json does not exist"),
        ("own --images 3 --voc-root no --split trainval", "no/ImageSets/Main does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(root, capsys, words, reason):
    write_coco(root)
    with pytest.raises(SystemExit) as caught:
        tool.main(words.split())
    *_, line = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and "error: " in line and reason in line


def test_a_folder_of_classes_is_split_into_lists_that_are_data_sets(root, capsys):
    write_imagenet(root)
    assert tool.main(["imagenet", "--images", "5"]) == 0
    out = capsys.readouterr().out
    assert f"{root}/imagenet/train_holdout.txt: 5 images\n" in out and "boxes" not in out
    classes, sets = register_dataset("imagenet_train"), {}
    for part, count in (("search", 7), ("holdout", 5)):
        assert register_dataset(f"imagenet_train_{part}") == classes
        sets[part] = {d["file_name"]: classes[d["label"]] for d in DatasetCatalog.get(f"imagenet_train_{part}")}
        listed = (root / "imagenet" / f"train_{part}.txt").read_text().split()
        assert list(sets[part]) == [str(root / "imagenet" / "train" / file) for file in listed] and len(listed) == count
        assert all(Path(file).parent.name == name for file, name in sets[part].items())
    assert not sets["search"].keys() & sets["holdout"].keys()
    assert {**sets["search"], **sets["holdout"]}.keys() == {
        d["file_name"] for d in DatasetCatalog.get("imagenet_train")
    }
    # The same for a folder of one's own.
    assert tool.main(["own", "--folder", str(root / "imagenet" / "train"), "--images", "5"]) == 0
    assert capsys.readouterr().out.count("(was there already)") == 2


@pytest.mark.parametrize("text, words", [("", "it names no image"), ("n1/none.JPEG\n", "n1/none.JPEG is not in")])
def test_a_list_of_images_that_is_wrong_is_named(root, text, words):
    write_imagenet(root)
    listing = root / "list.txt"
    listing.write_text(text)
    with pytest.raises(ValueError, match=f"list.txt: {words}"):
        register_dataset(f"folder:{root}/imagenet/train:{listing}")


def test_imagenets_parts_say_what_makes_them(root):
    write_imagenet(root)
    with pytest.raises(UserError, match="make it with: python tools/split_dataset.py imagenet"):
        register_dataset("imagenet_train_holdout")
