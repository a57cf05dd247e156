import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from detnas.data.loader import pack, unpack


def batch():
    instances = Instances((5, 7))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 1.0, 3.0, 4.5]]))
    instances.gt_classes = torch.tensor([2])
    instances.gt_masks = PolygonMasks([[np.arange(6.0)]])
    masks = Instances((5, 7))
    masks.gt_masks = BitMasks(torch.ones(1, 5, 7, dtype=torch.bool))
    image = torch.arange(105, dtype=torch.uint8).view(3, 5, 7)
    return [
        {"image": image, "instances": instances, "file_name": "a.png"},
        {"image": image.permute(0, 2, 1), "instances": masks, "nothing": torch.empty(0, 4), "one": torch.tensor(3)},
    ]


def test_a_batch_comes_out_of_its_one_tensor_as_it_went_in():
    for x, y in zip(batch(), unpack(pack(batch()))):
        assert x.keys() == y.keys() and x.get("file_name") == y.get("file_name")
        for name in x.keys() & {"image", "nothing", "one"}:
            assert torch.equal(x[name], y[name]) and x[name].dtype == y[name].dtype
    first, second = (x["instances"] for x in unpack(pack(batch())))
    assert first.image_size == (5, 7) and first.gt_boxes.tensor.tolist() == [[0.0, 1.0, 3.0, 4.5]]
    assert first.gt_classes.tolist() == [2] and first.gt_masks.polygons[0][0].tolist() == list(range(6))
    assert second.gt_masks.tensor.dtype == torch.bool and second.gt_masks.tensor.all()


def test_one_tensor_is_sent_and_what_comes_out_can_be_written():
    packed = pack(batch())
    assert packed.dtype == torch.uint8 and packed.dim() == 1
    unpacked = unpack(packed)
    unpacked[0]["image"] += 1
    assert torch.equal(unpacked[0]["image"], batch()[0]["image"] + 1)
    assert torch.equal(unpacked[1]["image"], batch()[1]["image"])
    assert unpack(pack([{"label": 3}])) == [{"label": 3}]
