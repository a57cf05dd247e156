import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from detectron2 import _C
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import print_instances_class_histogram
from detectron2.data.datasets import load_voc_instances
from detectron2.evaluation import COCOEvaluator, coco_evaluation
from detectron2.structures import Boxes, Instances
from detectron2.utils.collect_env import collect_env_info
from stand_in import write_voc

needs_stand_in = pytest.mark.skipif(_C.__spec__.loader is not None, reason="this Detectron2 has its C++ extension")


def test_without_detectron2_the_import_says_in_one_sentence_how_to_get_it():
    code = "import sys; sys.modules['detectron2'] = None; import detnas"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1
    assert last.startswith("ModuleNotFoundError: detnas needs Detectron2, which is not installed: either ")
    assert "`uv pip install -e '.[detectron2]'`" in last and "docs/quickstart.md" in last
    assert "pip install --no-build-isolation 'detectron2 @ git+https://github.com/facebookresearch/detectron2'" in last


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0", reason="this numpy has the old names itself")
def test_numpy_itself_gets_no_old_names():
    assert not {"int", "str", "float", "object"} & set(vars(np))


def test_detectron2_counts_instances_although_numpy_has_no_int():
    instances = [{"annotations": [{"category_id": 0, "iscrowd": 0}, {"category_id": 1, "iscrowd": 0}]}]
    print_instances_class_histogram(instances, ["a", "b"])


def test_detectron2_reads_voc_although_numpy_has_no_str(tmp_path):
    write_voc(tmp_path, images=2, classes=("cat",))
    dicts = load_voc_instances(f"{tmp_path}/VOC2007", "trainval", ["cat"])
    assert [d["image_id"] for d in dicts] == ["000001", "000002"]


def test_detectron2s_tracing_is_imported_without_caffe2():
    from detectron2.export import TracingAdapter

    assert issubclass(TracingAdapter, torch.nn.Module)


def test_pillow_has_the_name_that_detectron2_asks_for():
    assert PIL.Image.LINEAR == PIL.Image.BILINEAR


def test_detectron2_reports_its_environment():
    assert "detectron2" in collect_env_info()


@needs_stand_in
def test_an_op_of_the_missing_extension_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"_C.deform_conv_forward needs Detectron2's C\+\+ extension, which"):
        _C.deform_conv_forward(torch.ones(1))


@needs_stand_in
def test_whoever_probes_the_stand_in_for_dunder_names_finds_none():
    assert not hasattr(_C, "__wrapped__")


def test_the_fast_coco_evaluation_is_there():
    assert callable(coco_evaluation.COCOeval_opt)


def test_the_coco_evaluator_gives_a_perfect_detector_100_ap(tmp_path):
    name = "compat_test_coco"
    annotations = {
        "info": {},
        "images": [{"id": 1, "file_name": "1.jpg", "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [x, 10, 40, 40], "area": 1600, "iscrowd": 0}
            for i, x in ((1, 0), (2, 50))
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(annotations))
    MetadataCatalog.get(name).set(
        json_file=str(tmp_path / "gt.json"), thing_classes=["cell"], thing_dataset_id_to_contiguous_id={1: 0}
    )
    try:
        evaluator = COCOEvaluator(name, tasks=("bbox",), distributed=False, output_dir=str(tmp_path))
        found = Instances(
            (100, 100),
            pred_boxes=Boxes(torch.tensor([[0.0, 10, 40, 50], [50, 10, 90, 50]])),
            scores=torch.tensor([0.9, 0.8]),
            pred_classes=torch.tensor([0, 0]),
        )
        evaluator.reset()
        evaluator.process([{"image_id": 1}], [{"instances": found}])
        results = evaluator.evaluate()["bbox"]
    finally:
        MetadataCatalog.pop(name)
    assert name not in DatasetCatalog
    assert results["AP"] == pytest.approx(100)
