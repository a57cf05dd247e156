"""EuroCity Persons' measure against figures of the benchmark's own evaluation, and against a plain implementation."""

import json
import math
import random

import pytest
from scripts import script

from detnas.evaluation.lamr import DIFFICULTIES, TYPES, LogAverageMissRate

COUNTS = {"gts": "counted", "gts_with_ignored": "kept", "skipped_gts": "left out", "dets": "detections",
          "skipped_dets": "detections left out", "tp": "right"}
evaluate_ecp = script("tools", "evaluate_ecp")


def evaluate(folder, *flags):
    words = ["--labels", str(folder / "labels"), "--detections", str(folder / "found"), *flags]
    return evaluate_ecp.main(evaluate_ecp.parser().parse_args(words))


def write(folder, frames):
    for number, (labels, found) in enumerate(frames):
        for name, boxes in (("labels/a", labels), ("found", found)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number:03}.json").write_text(json.dumps({"identity": "frame", "children": boxes}))


@pytest.mark.parametrize("others", [True, False])
def test_figures_and_counts_are_those_of_the_benchmark(data_dir, others):
    file = data_dir.parent / "facts" / "ecp_golden.json"  # 40 made-up frames
    if not file.is_file():
        pytest.skip(f"{file} is not there: no figures of the benchmark")
    golden, measure = json.loads(file.read_text()), LogAverageMissRate(others)
    for frame in golden["frames"]:
        measure.add(frame["gt"]["children"], frame["det"]["children"])
    figures = measure.figures()
    for kind in TYPES:
        for name in DIFFICULTIES:
            expected = golden["results"][f"{kind}/{name}/ignore_other={others}"]
            rate = math.nan if expected["lamr"] is None else expected["lamr"]
            assert figures[kind][name] == pytest.approx(rate, abs=1e-9, nan_ok=True)
            assert {key: measure.counts[kind, name][own] for key, own in COUNTS.items()} == {
                key: expected[key] for key in COUNTS}


def random_frame(rng):
    """Boxes, some outside the image, and detections near them, elsewhere, of equal scores, or of another identity."""
    labels, found = [], []
    for _ in range(rng.randrange(7)):
        height = rng.choice([rng.uniform(15, 35), rng.uniform(35, 70), rng.uniform(70, 300)])
        x, y = rng.uniform(-30, 1900), rng.uniform(-30, 1000)
        label = {"x0": x, "y0": y, "x1": x + 0.4 * height, "y1": y + height, "children": []}
        label["identity"] = rng.choice(["pedestrian"] * 4 + ["rider"] * 3 + [
            "person-group-far-away", "bicycle-group", "rider+vehicle-group-far-away"])
        label["tags"] = rng.sample(["occluded>10", "occluded>40", "occluded>80", "truncated>40", "sitting-lying",
                                    "behind-glass", "depiction"], rng.choice([0, 0, 0, 1, 2]))
        if label["identity"] == "rider" and rng.random() < 0.5:
            label["children"] = [{**label, "identity": "bicycle", "y1": y + 1.2 * height, "children": []}]
        labels.append(label)
        for _ in range(rng.randrange(3)):
            moved = {key: label[key] + rng.gauss(0, 0.06 * height) for key in ("x0", "y0", "x1", "y1")}
            found.append({**moved, "identity": rng.choice([label["identity"], "pedestrian", "rider", "cyclist"])})
    found += [{**random_box(rng), "identity": rng.choice(TYPES)} for _ in range(rng.randrange(3))]
    return labels, [{**one, "score": round(rng.random(), 1)} for one in found]


def random_box(rng):
    x, y, height = rng.uniform(0, 1800), rng.uniform(0, 900), rng.uniform(20, 200)
    return {"x0": x, "y0": y, "x1": x + 0.4 * height, "y1": y + height}


def plain_miss_rate(frames, kind, name, others):
    """The measure once more, box by box."""
    limits, outcomes, counted = DIFFICULTIES[name], [], 0
    for labels, found in frames:
        truth = []
        for one in labels:
            boxes = [one, *one["children"]] if kind == "rider" else [one]
            low = [min(each[key] for each in boxes) for key in ("x0", "y0")]
            box = clipped(*low, *(max(each[key] for each in boxes) for key in ("x1", "y1")))
            percent = {word: 0 for word in ("occluded", "truncated")}
            for tag in one["tags"]:
                if ">" in tag:
                    word, _, number = tag.partition(">")
                    percent[word] = max(percent[word], int(number))
            height, group = box[3] - box[1], "person" if kind == "pedestrian" else "rider+vehicle"
            if one["identity"] == kind:
                in_limits = (limits.lowest <= height <= limits.highest and percent["truncated"] < limits.below
                             and limits.occluded <= percent["occluded"] < limits.below)
                lies = kind == "pedestrian" and {"sitting-lying", "behind-glass"} & set(one["tags"])
                truth.append((0 if in_limits and not lies else 1, box))
            elif one["identity"] in TYPES and others:
                truth.append((1, box))
            elif one["identity"] == f"{group}-group-far-away" and (kind == "rider" or "depiction" not in one["tags"]):
                truth.append((2, box))
        truth.sort(key=lambda each: each[0])
        counted += sum(ignored == 0 for ignored, _ in truth)
        taken = set()
        for one in sorted(found, key=lambda one: -one["score"]):
            box = clipped(*(one[key] for key in ("x0", "y0", "x1", "y1")))
            height = box[3] - box[1]
            if one["identity"].replace("cyclist", "rider") != kind or not (
                    limits.lowest / 1.25 < height < limits.highest * 1.25):
                continue
            best, most = None, 0.5
            for number, (ignored, other) in enumerate(truth):
                if number in taken or best is not None and truth[best][0] == 0 and ignored:
                    continue
                common = max(0, min(box[2], other[2]) - max(box[0], other[0])) * max(
                    0, min(box[3], other[3]) - max(box[1], other[1]))
                whole = area(box) if ignored == 2 else area(box) + area(other) - common
                if whole and common / whole >= most:
                    best, most = number, common / whole
            if best is None:
                outcomes.append((one["score"], 0))
            elif truth[best][0] == 0:
                taken.add(best)
                outcomes.append((one["score"], 1))
    if not counted:
        return math.nan
    outcomes.sort(key=lambda each: -each[0])
    rates = []
    for k in range(9):
        right = wrong = reached = 0
        for _, is_right in outcomes:
            right, wrong = right + is_right, wrong + 1 - is_right
            if wrong / len(frames) <= 10 ** (-2 + k / 4):
                reached = right / counted
        rates.append(math.log(max(1e-10, 1 - reached)))
    return math.exp(sum(rates) / 9)


def clipped(x0, y0, x1, y1):
    return [min(max(value, 0), most) for value, most in ((x0, 1920), (y0, 1024), (x1, 1920), (y1, 1024))]


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("others", [True, False])
def test_figures_are_those_of_a_plain_implementation(others):
    rng = random.Random(0)
    frames, measure = [random_frame(rng) for _ in range(200)], LogAverageMissRate(others)
    for frame in frames:
        measure.add(*frame)
    for kind, rates in measure.figures().items():
        for name, rate in rates.items():
            assert 0.3 < rate < 1 and rate == pytest.approx(plain_miss_rate(frames, kind, name, others), abs=1e-9)


# The command


def test_the_command_pairs_frames_by_name_and_writes_the_rates(tmp_path, capsys):
    rng = random.Random(1)
    frames = [random_frame(rng) for _ in range(20)]
    write(tmp_path, frames)
    figures = evaluate(tmp_path, "--json", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == figures
    assert figures["pedestrian"]["all"] == pytest.approx(plain_miss_rate(frames, "pedestrian", "all", False), abs=1e-9)
    assert "| pedestrian |" in capsys.readouterr().out
    # Frames without a file of detections, files of no frame, and what the benchmark does not know are told.
    (tmp_path / "found" / "000.json").rename(tmp_path / "found" / "other.json")
    odd = {**random_box(rng), "identity": "dog", "tags": ["occluded>much"], "children": []}
    (tmp_path / "labels" / "a" / "001.json").write_text(json.dumps({"identity": "frame", "children": [odd]}))
    evaluate(tmp_path)
    shown = capsys.readouterr().out
    assert "1 detection files of no frame are left out: other.json" in shown
    assert "1 frames have no detection file, as if none was found: 000.json" in shown
    assert "which are left out: dog (1), occluded>much (1)" in shown


@pytest.mark.parametrize("wrap", [
    lambda frame: {"identity": "converted", "children": [{"children": [frame]}]},
    lambda frame: {"identity": "seqlist", "children": {"children": frame}}, lambda frame: [frame],
])
def test_whatever_wraps_a_frame_is_taken_off(tmp_path, wrap):
    write(tmp_path, [random_frame(random.Random(2))] * 3)
    before = evaluate(tmp_path)
    for file in (tmp_path / "labels" / "a").iterdir():
        file.write_text(json.dumps(wrap(json.loads(file.read_text()))))
    assert evaluate(tmp_path) == before


SOUND = {"identity": "pedestrian", "x0": 1, "y0": 1, "x1": 30, "y1": 90, "score": 0.5}


@pytest.mark.parametrize("found, words", [
    ("{", "not a JSON file: "), ('{"identity": "frames"}', 'no object with "identity" frame'),
    ('{"identity": "frame", "children": 3}', '"children" of its frame is no list'),
    *(([{**SOUND, **change}], "children[0] is no box with identity, x0, y0, x1, y1 and score") for change in (
        {"score": None}, {"x0": "1"}, {"y1": 1e999}, {"identity": 5}, {"tags": "occluded>10"})),
    ([{key: value for key, value in SOUND.items() if key != "score"}], "children[0] is no box"),
    ([SOUND, {**SOUND, "x1": 0}], "children[1] has x1 below x0, or y1 below y0"),
])
def test_detections_that_are_not_sound_are_one_sentence(tmp_path, refused, found, words):
    write(tmp_path, [([], [])])
    text = found if isinstance(found, str) else json.dumps({"identity": "frame", "children": found})
    (tmp_path / "found" / "000.json").write_text(text)
    said = refused(evaluate, tmp_path)
    assert said.startswith(f"{tmp_path}/found/000.json") and words in said


def test_folders_that_do_not_fit_are_one_sentence(tmp_path, refused):
    write(tmp_path, [([], [])])
    assert "--labels" in refused(evaluate, tmp_path / "none")
    (tmp_path / "labels" / "000.json").write_text("{}")
    assert "--labels has two files 000.json: " in refused(evaluate, tmp_path)
    (tmp_path / "labels" / "000.json").unlink()
    (tmp_path / "found" / "000.json").rename(tmp_path / "found" / "b.json")
    assert "no file of --detections is called like one of --labels, such as 000.json" in refused(evaluate, tmp_path)
    (tmp_path / "found" / "b.json").unlink()
    assert "--detections" in refused(evaluate, tmp_path) and "has no .json file" in refused(evaluate, tmp_path)
