import pytest
import torch
from detectron2.modeling import build_model
from fvcore.nn import FlopCountAnalysis
from scripts import ROOT, script

import detnas
from detnas.config.load import load_config
from detnas.cost.detector import detector_costs

CONFIGS = ROOT / "configs"
#: the network COCO-FPN-300M of the golden numbers
ARCH = "2120-2112-33130031-3132"


def config(name, *opts):
    return load_config(str(CONFIGS / name), ["MODEL.DETNAS.ARCH", ARCH, "MODEL.DEVICE", "cpu", *opts])


@pytest.mark.parametrize("name, size, part, golden", [
    ("COCO/Base-FPN.yaml", (800, 1344), "backbone", {"flops": 6173193600, "params": 1849680}),
    ("ImageNet/Base-ImageNet.yaml", (224, 224), "whole", {"flops": 321219008, "params": 3533112}),
])
def test_the_backbone_of_a_detector_and_a_classifier_cost_what_the_golden_numbers_say(name, size, part, golden):
    assert detector_costs(config(name), size)[part] == golden


def test_backbone_and_neck_cost_what_fvcore_counts():
    cfg = config("COCO/Base-FPN.yaml")
    costs = detector_costs(cfg, (128, 192))
    counted = FlopCountAnalysis(build_model(cfg).backbone.eval(), torch.zeros(1, 3, 128, 192))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert costs["backbone"]["flops"] + costs["neck"]["flops"] == counted.by_operator()["conv"]


def test_the_box_head_is_counted_for_all_proposals():
    cfg = config("COCO/Base-FPN.yaml", "MODEL.RPN.POST_NMS_TOPK_TEST", "300")
    convs, fc, outputs = 4 * 256 * 256 * 9 * 49, 256 * 49 * 1024, 1024 * (81 + 4 * 80)
    assert detector_costs(cfg)["box head, 300 proposals"]["flops"] == 300 * (convs + fc + outputs)


def test_the_heads_of_retinanet_cost_what_their_convs_on_five_levels_cost():
    costs = detector_costs(config("COCO/Base-RetinaNet.yaml"), (256, 256))
    places = sum((256 // stride) ** 2 for stride in (8, 16, 32, 64, 128))
    assert costs["head"]["flops"] == places * 9 * 256 * (8 * 256 + 9 * (80 + 4))


@pytest.mark.parametrize(
    "opts",
    [
        [],
        ["MODEL.MASK_ON", "True"],
        ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"],
        ["MODEL.META_ARCHITECTURE", "PanopticFPN"],
    ],
    ids=["Faster R-CNN", "Mask R-CNN", "Cascade R-CNN", "Panoptic FPN"],
)
def test_the_parts_add_up_to_the_whole_and_every_parameter_is_counted(opts):
    cfg = config("COCO/Base-FPN.yaml", *opts)
    costs = detector_costs(cfg, (256, 320))
    whole = costs.pop("whole")
    assert all(cost["flops"] > 0 for cost in costs.values())
    assert {key: sum(cost[key] for cost in costs.values()) for key in whole} == whole
    assert whole["params"] == sum(p.numel() for p in build_model(cfg).parameters())


def test_a_supernet_costs_what_its_first_path_costs_and_an_image_is_padded_as_the_backbone_asks_for():
    supernet = detector_costs(config("COCO/Base-FPN.yaml", "MODEL.DETNAS.ARCH", "supernet"), (65, 33))
    first = detector_costs(config("COCO/Base-FPN.yaml", "MODEL.DETNAS.ARCH", "0" * 20), (96, 64))
    assert supernet == first


def test_an_unknown_meta_architecture_is_an_error_that_names_the_known_ones():
    cfg = config("COCO/Base-FPN.yaml", "MODEL.META_ARCHITECTURE", "ProposalNetwork")
    with pytest.raises(ValueError, match='"ProposalNetwork" are not known; there are: ImageClassifier, RetinaNet'):
        detector_costs(cfg)


def test_the_table_sets_both_figures_of_the_backbone_side_by_side(capsys):
    count_costs(f"--config-file {CONFIGS}/COCO/Base-FPN.yaml MODEL.DETNAS.ARCH {ARCH}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["backbone", "at", "224x224", "0.288", "1.85"]
    assert lines[3].split() == ["backbone", "at", "800x1344", "6.173", "1.85"]
    assert lines[-1].split()[0] == "whole"


def count_costs(words):
    tool = script("tools", "count_costs")
    return tool.main(tool.parser().parse_args(words.split()))


def test_the_command_line_prints_the_table_and_the_latency(capsys):
    count_costs(f"--config-file {CONFIGS}/COCO/Base-FPN.yaml --size 64 64 --latency MODEL.DETNAS.ARCH {ARCH}")
    out = capsys.readouterr().out
    assert "backbone at 224x224" in out and "whole" in out and "median of 20 runs" in out


def test_the_command_line_counts_every_backbone_at_224(capsys):
    count_costs(f"--config-file {CONFIGS}/SPNAS/Base-FPN.yaml --size 64 64")
    count_costs(f"--config-file {CONFIGS}/COCO/R_50_fpn_4conv1fc_1x.yaml --size 64 64")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("backbone at 224x224")]
    assert [line[3:] for line in lines] == [["4.087", "23.51"], ["4.087", "23.51"]]


def test_the_command_line_takes_the_best_yaml_of_a_search(tmp_path):
    best, path = tmp_path / "best.yaml", (0, 1, 2, 3, 3, 2, 1, 0)
    best.write_text("MODEL: {DETNAS: {SPACE: tiny, ARCH: 01-23-32-10}}")
    costs = count_costs(f"--config-file {CONFIGS}/demo/toy_4_retrain.yaml --size 224 224 MODEL.DETNAS.ARCH {best}")
    assert costs["backbone"]["flops"] == detnas.CostTable.measure(detnas.get_space("tiny")).flops(path)


@pytest.mark.parametrize("words", ["--batch 0", "--size 0 64", "--size 64 -5", "--size 64 a", "--device ipu"])
def test_the_command_line_refuses_a_number_that_cannot_be(words, capsys):
    with pytest.raises(SystemExit) as end:
        count_costs(f"--config-file {CONFIGS}/COCO/Base-FPN.yaml {words}")
    assert end.value.code == 2 and f"error: argument {words.split()[0]}: " in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_command_line_names_a_gpu_that_is_not_there(refused):
    words = f"--config-file {CONFIGS}/COCO/Base-FPN.yaml --latency --device cuda"
    assert refused(count_costs, words) == "--device cuda: torch finds no GPU here"


def test_costs_of_a_network_are_measured_once():
    space = detnas.get_space("tiny")
    assert detnas.CostTable.measure(space, (64, 64)) is detnas.CostTable.measure(space, (64, 64))
