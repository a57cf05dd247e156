import json
import runpy
import shutil
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog
from stand_in import use_root, write_coco, write_imagenet, write_voc
from toy_runs import tree

from detnas.data.datasets import register_dataset
from detnas.errors import UserError
from find_detector.splits import check_leaks, draw, find_leaks, split_coco, split_voc, write_split

TOOL = Path(__file__).resolve().parents[1] / "tools" / "split_dataset.py"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder of standard data."""
    use_root(monkeypatch, tmp_path / "datasets")
    return tmp_path / "datasets"


@pytest.fixture
def run(root, capsys):
    """Function (words) -> exit code, stdout and stderr of the tool, run in this process."""
    main = runpy.run_path(str(TOOL))["main"]

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as e:
            code = e.code
        return code, *capsys.readouterr()

    return run


def voc_ids(folder, split):
    return (folder / "ImageSets" / "Main" / f"{split}.txt").read_text().split()


def copy_voc(data_dir, folder):
    """The real images in VOC form, with lists of its own."""
    real = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007"
    folder.mkdir()
    for name in ("Annotations", "JPEGImages"):
        (folder / name).symlink_to(real / name)
    shutil.copytree(real / "ImageSets", folder / "ImageSets")
    return folder


def images(**files):
    return [{"file_name": str(file), "image_id": image_id} for image_id, file in files.items()]


def write(path, content):
    path.write_bytes(content)
    return path


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


def test_another_seed_gives_another_split(root):
    write_coco(root)
    assert split_coco(4, seed=0)[1].text != split_coco(4, seed=1)[1].text


def test_the_order_of_the_json_does_not_matter(root):
    write_coco(root)
    before = split_coco(4)
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


def test_own_coco_data_is_split(data_dir, tmp_path):
    json_file = data_dir / "bccd_voc" / "coco" / "annotations" / "instances_train.json"
    image_root = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    write_split(split_coco(50, 0, str(json_file), str(image_root), str(tmp_path / "new")))
    parts = [f"coco:{tmp_path}/new/instances_train_{part}.json:{image_root}" for part in ("search", "holdout")]
    assert register_dataset(parts[0]) == register_dataset(parts[1])
    assert [len(DatasetCatalog.get(part)) for part in parts] == [155, 50]
    assert check_leaks(parts) == {tuple(parts): []}


def test_own_voc_data_is_split(data_dir, tmp_path):
    folder = copy_voc(data_dir, tmp_path / "own")
    write_split(split_voc(50, 0, str(folder), "train"))
    parts = [f"voc:{folder}:train_{part}" for part in ("search", "holdout")]
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


def test_a_renamed_copy_is_found(tmp_path):
    a, other = write(tmp_path / "a.jpg", b"image"), write(tmp_path / "b.jpg", b"imago")
    copy = write(tmp_path / "c.jpg", b"image")
    (leak,) = find_leaks(images(one=a, two=other), images(three=copy))
    assert (leak.kind, leak.a, leak.b) == ("content", str(a), str(copy))


def test_the_same_file_is_found_by_whatever_way(tmp_path):
    a = write(tmp_path / "a.jpg", b"image")
    (tmp_path / "link").symlink_to(tmp_path)
    (leak,) = find_leaks(images(one=a), images(two=tmp_path / "link" / "a.jpg"))
    assert leak.kind == "file"


def test_equal_names_in_different_folders_are_no_leak(tmp_path):
    (tmp_path / "b").mkdir()
    a, b = write(tmp_path / "1.jpg", b"image"), write(tmp_path / "b" / "1.jpg", b"other")
    assert find_leaks(images(one=a), images(two=b)) == []


def test_equal_ids_are_a_leak_among_data_of_one_source_alone(tmp_path):
    a, b = write(tmp_path / "a.jpg", b"image"), write(tmp_path / "b.jpg", b"image, compressed again")
    assert find_leaks(images(one=a), images(one=b)) == []
    (leak,) = find_leaks(images(one=a), images(one=b), same_source=True)
    assert leak.kind == "image id"


def test_an_image_that_is_not_there_is_named_by_the_check(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}/a.jpg does not exist"):
        find_leaks(images(one=tmp_path / "a.jpg"), [])


def test_a_check_takes_two_data_sets(tmp_path):
    with pytest.raises(ValueError, match="two or more different data sets; given: x, x"):
        check_leaks(["x", "x"])


def test_the_tool_says_what_it_wrote(root, run):
    write_coco(root)
    code, out, error = run("coco", "--images", 4)
    assert code == 0, error
    assert "instances_train2017_search.json: 8 images, " in out and "_holdout.json: 4 images, " in out
    assert "class" in out and "toothbrush" in out


def test_the_tool_ends_with_1_for_a_leak(root, run):
    write_voc(root)
    shutil.copy(root / "VOC2007" / "JPEGImages" / "000001.jpg", root / "VOC2012" / "JPEGImages" / "2008_000003.jpg")
    code, out, error = run("check", "voc_2007_trainval", f"voc:{root}/VOC2012:trainval")
    assert code == 1, error
    assert "1 images in both" in out and "same content: " in out and "2008_000003.jpg" in out


def test_the_tool_ends_with_0_without_a_leak(root, run):
    write_coco(root)
    write_split(split_coco(4))
    names = ("coco_2017_train_search", "coco_2017_train_holdout", "coco_2017_val")
    code, out, error = run("check", *names)
    assert code == 0 and out.count(": 0 images in both") == 3, error


@pytest.mark.parametrize(
    "words, reason",
    [
        (("coco",), "5000 of 12 images cannot be held out"),
        (("voc",), "does not exist; expected in"),
        (("own", "--images", 3), "own data is named by"),
        (("own", "--images", 3, "--json", "a.json", "--voc-root", "b"), "own data is named by"),
        (("own", "--images", 3, "--json", "no.json", "--image-root", "b"), "error: no.json does not exist"),
        (("own", "--images", 3, "--voc-root", "no", "--split", "trainval"), "error: no/ImageSets/Main does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(root, run, words, reason):
    write_coco(root)
    code, out, error = run(*words)
    assert code == 2 and reason in error and "Traceback" not in error


def test_a_folder_of_classes_is_split_into_lists_that_are_data_sets(root, run):
    write_imagenet(root)
    code, out, _ = run("imagenet", "--images", 5)
    assert code == 0 and f"{root}/imagenet/train_holdout.txt: 5 images\n" in out and "boxes" not in out
    sets = {}
    for part, count in (("search", 7), ("holdout", 5)):
        assert register_dataset(f"imagenet_train_{part}") == register_dataset("imagenet_train")
        dicts = DatasetCatalog.get(f"imagenet_train_{part}")
        listed = (root / "imagenet" / f"train_{part}.txt").read_text().split()
        assert [str(Path(d["file_name"]).relative_to(root / "imagenet" / "train")) for d in dicts] == listed
        assert all(Path(d["file_name"]).parent.name == register_dataset("imagenet_train")[d["label"]] for d in dicts)
        assert len(dicts) == count
        sets[part] = {d["file_name"] for d in dicts}
    assert not sets["search"] & sets["holdout"]
    assert sets["search"] | sets["holdout"] == {d["file_name"] for d in DatasetCatalog.get("imagenet_train")}
    # The same for a folder of one's own.
    code, out, _ = run("own", "--folder", root / "imagenet" / "train", "--images", 5)
    assert code == 0 and out.count("(was there already)") == 2


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
