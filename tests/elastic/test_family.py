import json
import random

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from family_runs import FAMILY, TOY, words
from fvcore.nn import FlopCountAnalysis
from supernet_runs import equal, statistics
from toy_runs import DEVICE, RETINANET, detection

from detnas import recalibrate_bn
from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.config.load import candidate_space, load_config, with_settings
from detnas.config.settings import check_settings
from detnas.cost.detector import detector_costs
from detnas.data.loader import TrainingData
from detnas.data.mapper import build_recalibration_mapper
from detnas.errors import UserError
from detnas.launch.setup import register_datasets
from detnas.modeling.choices import activate, state_of
from detnas.training.sampling import build_sampler, sampled_settings
from elasticdet import ElasticSpace
from elasticdet.method import FamilySearch

#: what the largest child has beside it, so that the untrained one finds something
LARGEST = {
    TOY: {"MODEL__FPN__OUT_CHANNELS": 16, "MODEL__ROI_BOX_HEAD__NUM_CONV": 2, "MODEL__ROI_BOX_HEAD__CONV_DIM": 16,
          "MODEL__ROI_BOX_HEAD__FC_DIM": 16},
    RETINANET: {"MODEL__FPN__OUT_CHANNELS": 16, "MODEL__RETINANET__NUM_CONVS": 2, "MODEL__RETINANET__NORM": "",
                "MODEL__RETINANET__SCORE_THRESH_TEST": 0.0},
}


def config(file=TOY, **changed):
    return load_config(file, words({**FAMILY, **{key.replace("__", "."): value for key, value in changed.items()}}))


def test_a_child_is_an_ordinary_config_of_smaller_images_and_anchors():
    cfg = config()
    space = candidate_space(cfg)
    child = with_settings(cfg, space.settings((1, 0)))
    assert child.INPUT.MIN_SIZE_TEST == child.INPUT.MAX_SIZE_TRAIN == 48 and child.INPUT.MIN_SIZE_TRAIN == [48]
    assert child.MODEL.ANCHOR_GENERATOR.SIZES[0] == [6.0] and child.MODEL.RPN.POST_NMS_TOPK_TEST == 10
    assert child.SEARCH.DETECTOR_RESOLUTION == [48, 48]
    # The largest is the config itself.
    largest = with_settings(cfg, space.settings((2, 1)))
    assert largest.MODEL.ANCHOR_GENERATOR.SIZES == cfg.MODEL.ANCHOR_GENERATOR.SIZES
    assert candidate_space(child).name == "tiny" and ElasticSpace.read(json.loads(json.dumps(space.header()))).random(
        random.Random(0)) == space.random(random.Random(0))


def test_small_sizes_begin_with_few_proposals_and_the_whole_network():
    choices = [["MODEL.RPN.POST_NMS_TOPK_TEST", 10, 50, 100], ["MODEL.FPN.OUT_CHANNELS", 8, 16]]
    space = candidate_space(config(MODEL__ELASTIC__CHOICES=json.dumps(choices), MODEL__FPN__OUT_CHANNELS=16))
    assert space.anchors() == {"size 32": (0, 0, 1), "size 48": (1, 1, 1), "size 64": (2, 2, 1)}


WIDTHS = {
    TOY: [["MODEL.RPN.POST_NMS_TOPK_TEST", 10, 100], ["MODEL.FPN.OUT_CHANNELS", 8, 16],
          ["MODEL.ROI_BOX_HEAD.NUM_CONV", 1, 2],
          ["MODEL.ROI_BOX_HEAD.CONV_DIM", 4, 16], ["MODEL.ROI_BOX_HEAD.FC_DIM", 8, 12, 16]],
    RETINANET: [["MODEL.RETINANET.TOPK_CANDIDATES_TEST", 10, 1000], ["MODEL.FPN.OUT_CHANNELS", 8, 16],
                ["MODEL.RETINANET.NUM_CONVS", 1, 2]],
}


@pytest.mark.parametrize("file", WIDTHS)
def test_children_cut_out_give_the_boxes_that_they_give_in_place(file):
    cfg = config(file, MODEL__ELASTIC__CHOICES=json.dumps(WIDTHS[file]), **LARGEST[file])
    space = candidate_space(cfg)
    torch.manual_seed(0)
    family = build_model(cfg).eval()
    # What a training changes, such as RetinaNet's mean number of objects.
    family.loss_normalizer = 7.0
    largest = {name: value.clone() for name, value in family.state_dict().items()}
    rng = random.Random(0)
    for child in [space.random(rng) for _ in range(25)]:
        activate(family, space, child)
        alone = build_model(with_settings(cfg, space.settings(child))).eval()
        alone.load_state_dict(state_of(family, space, child))
        side = space.values(child)["size"]
        images = [{"image": torch.rand(3, side, side, device=DEVICE) * 255}]
        with torch.no_grad():
            found, again = (model(images)[0]["instances"] for model in (family, alone))
        assert len(found) and torch.allclose(found.pred_boxes.tensor, again.pred_boxes.tensor, atol=1e-5)
        assert torch.allclose(found.scores, again.scores, atol=1e-5)
    counted = FlopCountAnalysis(alone.backbone, torch.zeros(1, 3, 64, 64)).unsupported_ops_warnings(False)
    costs = detector_costs(with_settings(cfg, space.settings(child)), (64, 64))
    assert costs["backbone"]["flops"] + costs["neck"]["flops"] == counted.by_operator()["conv"]
    parameters, state = dict(alone.named_parameters()), state_of(family, space, child)
    assert FamilySearch.build_costs(cfg, space).cost("detector_params", child) == sum(
        value.numel() for name, value in state.items() if name in parameters)
    assert all(torch.equal(value, largest[name]) for name, value in family.state_dict().items())
    assert family.loss_normalizer == 7.0


def test_every_norm_that_a_child_runs_through_has_statistics_of_its_own(toy_root):
    norms = {"MODEL__FPN__NORM": "BN", "MODEL__ROI_BOX_HEAD__NORM": "BN", "MODEL__DETNAS__NORM": "BN"}
    data = {key.replace(".", "__"): value for key, value in detection(toy_root).items()}
    cfg = config(MODEL__ELASTIC__CHOICES=json.dumps(WIDTHS[TOY]), **LARGEST[TOY], **norms, **data)
    register_datasets(cfg)
    space, mapper = candidate_space(cfg), build_recalibration_mapper(cfg)
    batches = [[mapper(image) for image in DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[:4]]]
    family = build_model(cfg)
    in_place = ForwardToLastNorm(family)
    # The second one has a norm behind the last one of the first.
    for child in ((2, 1, 0, 0, 0, 1), (2, 1, 1, 1, 1, 1), (2, 1, 1, 0, 1, 2)):
        activate(family, space, child)
        recalibrate_bn(in_place, batches)
        alone = build_model(with_settings(cfg, space.settings(child)))
        alone.load_state_dict(state_of(family, space, child))
        found = statistics(alone)
        recalibrate_bn(ForwardToLastNorm(alone), batches)
        assert len(found) > 20 and equal(found, statistics(alone))


def test_a_training_draws_a_child_an_iteration_and_reads_images_of_its_size(toy_root):
    cfg = load_config(TOY, words({**FAMILY, **detection(toy_root)}))
    register_datasets(cfg)
    sampler = build_sampler(cfg, candidate_space(cfg))
    data = TrainingData(cfg, lambda iteration, part: sampled_settings(sampler, iteration, part))
    batches = data.batches(3)
    for iteration in (3, 4, 5, 6):
        side = sampler.space.values(sampler(iteration))["size"]
        assert {x["image"].shape for x in next(batches)} == {(3, side, side)}
    batches.close()


@pytest.mark.parametrize("changed, message", [
    ({"MODEL__ELASTIC__SIZES": "(32, 48)"}, "the last value, 48, must be the largest child's, .*TEST 64"),
    ({"MODEL__ELASTIC__SIZES": "(64, 32)"}, "the smallest first"),
    ({"MODEL__ELASTIC__CHOICES": '[["MODEL.RPN.POST_NMS_TOPK_TEST", 10, 50]]'}, "value, 50, must be .* 100"),
    ({"MODEL__ELASTIC__CHOICES": '[["MODEL.RPN.PROPOSALS", 10, 50]]'}, "there is no key MODEL.RPN.PROPOSALS"),
    ({"MODEL__ELASTIC__CHOICES": '[["MODEL.FPN.OUT_CHANNELS"]]'}, "lists of a key and its values"),
    ({"MODEL__DETNAS__ARCH": "supernet"}, "one network"),
])
def test_what_the_largest_does_not_have_is_one_sentence(changed, message):
    with pytest.raises(UserError, match=message):
        cfg = config(**changed)
        check_settings(cfg)
        candidate_space(cfg)
