"""Every family of configs through the command line on stand-in data in the real layouts."""

import json

import pytest
import yaml
from detectron2.data import DatasetCatalog
from scripts import ROOT
from stand_in import use_root, write_coco, write_imagenet, write_voc
from toy_runs import SMALL_SEARCH, command, own_loggers

import search_net
import train_net
from detnas.config.load import load_config

#: each detector, size of space and data set; tests/test_configs.py builds the models of all configs
FAMILIES = [
    "ImageNet/supernet_300M",
    "ImageNet/detnas_300M",
    "ImageNet/R_50",
    "COCO/supernet_fpn_300M",
    "COCO/supernet_retinanet_300M",
    "COCO/detnas_fpn_300M_1x",
    "COCO/detnas_fpn_1.3G_1x",
    "COCO/detnas_retinanet_300M_1x",
    "COCO/R_50_fpn_4conv1fc_1x",
    "VOC/detnas_fpn_300M",
]
TINY = {
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.STEPS": "[]",
    "SOLVER.MAX_ITER": 2,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 30,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 10,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "SEARCH.RECALIBRATION_IMAGES": 4,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Stand-in data, and the outputs of the runs."""
    root = tmp_path_factory.mktemp("standard")
    with pytest.MonkeyPatch.context() as patch, own_loggers():
        for write in (write_imagenet, write_coco, write_voc):
            write(root)
        use_root(patch, root)
        yield root


def run(root, name):
    """Train a config for 2 iterations from what its MODEL.WEIGHTS names, which is trained first if it is not there."""
    cfg = load_config(f"{ROOT}/configs/{name}.yaml")
    overrides = {**TINY, "OUTPUT_DIR": root / cfg.OUTPUT_DIR}
    if cfg.MODEL.WEIGHTS:
        overrides["MODEL.WEIGHTS"] = root / cfg.MODEL.WEIGHTS
        if not (root / cfg.MODEL.WEIGHTS).is_file():
            run(root, cfg.MODEL.WEIGHTS.removeprefix("output/").removesuffix("/model_final.pth"))
    train_net.main(command(f"{ROOT}/configs/{name}.yaml", overrides))
    lines = (root / cfg.OUTPUT_DIR / "metrics.json").read_text().splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_trains_and_is_evaluated(root, name, monkeypatch):
    use_root(monkeypatch, root)
    metrics = run(root, name)
    assert metrics["total_loss"] > 0 and metrics["iteration"] == 2
    task = "classification/top1" if name.startswith("ImageNet") else "bbox/AP"
    names = [f"all_3x3/{task}", f"all_xception_3x3/{task}", "supernet/mean"] if "supernet" in name else [task]
    assert all(0 <= metrics[metric] <= 100 for metric in names)


def test_clsnasnet_is_found_on_images_held_out_of_imagenets_training_set_and_trained_as_a_detector(root, monkeypatch):
    use_root(monkeypatch, root)
    supernet = load_config(f"{ROOT}/configs/ImageNet/supernet_300M_cls.yaml").OUTPUT_DIR
    if not (root / supernet / "model_final.pth").is_file():
        run(root, "ImageNet/supernet_300M_cls")
    overrides = {**SMALL_SEARCH, **TINY, "SEARCH.GENERATIONS": 1, "OUTPUT_DIR": root / supernet}
    config = f"{ROOT}/configs/ImageNet/supernet_300M_cls.yaml"
    log = search_net.main(command(config, overrides, parser=search_net.parser()))
    assert log.header["metric"] == "classification/top1" and log.header["held_out"] == ["imagenet_train_holdout"]
    held_out, trained_on = (
        {image["file_name"] for image in DatasetCatalog.get(f"imagenet_train_{part}")} for part in ("holdout", "search")
    )
    assert len(held_out) == 4 and len(trained_on) == 8 and not held_out & trained_on

    monkeypatch.chdir(root)
    for name in ("ImageNet/clsnas_300M", "COCO/clsnas_fpn_300M_1x"):
        assert run(root, name)["total_loss"] > 0
        made = yaml.safe_load((root / "output" / name / "config.yaml").read_text())["MODEL"]["DETNAS"]["ARCH"]
        assert made == log.space.format(log.best()[0].network)
