import pytest

from detnas.config.load import load_config

FPN, RETINANET = "build_spnas_fpn_backbone", "build_spnas_retinanet_fpn_backbone"


def config(code, name=FPN, *opts):
    return load_config("", ["MODEL.BACKBONE.NAME", name, "MODEL.SPNAS.CODE", code, *opts])


@pytest.mark.parametrize("code, stages", [("1-2-1", 3), ("1-2-1-1", 4), ("1-2-1-1-1", 5), ("1112-11-11-21-1-11", 6)])
def test_levels_and_anchors_follow_from_the_stages(code, stages):
    model = config(code, FPN, "MODEL.ANCHOR_GENERATOR.SIZES", "[[32]]").MODEL
    assert model.FPN.IN_FEATURES == [f"res{k}" for k in range(2, stages + 2)]
    assert model.ROI_HEADS.IN_FEATURES == [f"p{k}" for k in range(2, stages + 2)]
    assert model.RPN.IN_FEATURES == [f"p{k}" for k in range(2, stages + 3)]
    assert model.ANCHOR_GENERATOR.SIZES == [[32 * 2**k] for k in range(stages + 1)]


def test_retinanet_begins_at_the_second_stage_and_has_two_more_levels():
    model = config("1-2-1-1-1", RETINANET, "MODEL.ANCHOR_GENERATOR.SIZES", "[[32, 40]]").MODEL
    assert model.FPN.IN_FEATURES == ["res3", "res4", "res5", "res6"]
    assert model.RETINANET.IN_FEATURES == ["p3", "p4", "p5", "p6", "p7", "p8"]
    assert model.ANCHOR_GENERATOR.SIZES == [[32 * 2**k, 40 * 2**k] for k in range(6)]


def test_sizes_of_ones_own_stay_where_there_is_one_for_each_level():
    sizes = "[[10], [20], [50], [90]]"
    assert config("1-2-1", FPN, "MODEL.ANCHOR_GENERATOR.SIZES", sizes).MODEL.ANCHOR_GENERATOR.SIZES[2] == [50]


def test_other_backbones_are_left_alone():
    features = load_config("").MODEL.RPN.IN_FEATURES
    assert load_config("", ["MODEL.SPNAS.CODE", "1-2-1"]).MODEL.RPN.IN_FEATURES == features


@pytest.mark.parametrize(
    "code, words",
    [
        ("11--21", 'MODEL.SPNAS.CODE: code "11--21": stage 2 is empty'),
        ("11-31-1", '"3" in stage 2'),
        ("1-1-1-1-1-1-1", "has 7 stages; there may be 3 to 6"),
        ("1" * 61 + "-1-1", "has 63 blocks; there may be at most 60"),
    ],
)
def test_what_is_no_code_is_one_sentence(code, words):
    with pytest.raises(ValueError) as caught:
        config(code)
    assert words in str(caught.value)
