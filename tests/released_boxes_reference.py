"""
From an image (3, H, W) to boxes (N, 4) a second time, as the released detectors do it, without detnas and Detectron2.
Boxes are x1, y1, x2, y2, where x2 and y2 are the last pixel. Levels are (1, C, h, w).
"""

import math

import torch
import torch.nn.functional as F
from torchvision.ops import batched_nms, roi_align

RATIOS = (0.5, 1.0, 2.0)


def anchors(stride, sizes, height, width):
    """(height * width * 3 * len(sizes), 4): places row by row, at each the ratios, for each ratio the sizes."""
    shapes = []
    for ratio in RATIOS:
        w = round(math.sqrt(stride * stride / ratio))
        shapes += [(w * size / stride, round(w * ratio) * size / stride) for size in sizes]
    half = (torch.tensor(shapes, dtype=torch.float64) - 1) / 2
    middle = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1) * stride + (stride - 1) / 2
    return torch.cat([middle[:, None] - half, middle[:, None] + half], 2).flatten(0, 1)


def decode(offsets, boxes, code):
    offsets = offsets.double() / torch.tensor(code, dtype=torch.float64)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    middle = boxes[:, :2] + size / 2 + offsets[:, :2] * size
    size = size * offsets[:, 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([middle - size / 2, middle + size / 2 - 1], 1)


def clip(boxes, height, width):
    last = torch.tensor([width - 1, height - 1] * 2, dtype=boxes.dtype)
    return boxes.clamp(min=0).minimum(last)


def best(boxes, scores, classes, overlap, count=100):
    """The best ``count`` after suppression within each class; the released code counts the last pixel there."""
    keep = batched_nms(boxes + torch.tensor([0, 0, 1, 1]), scores, classes, overlap)[:count]
    return boxes[keep], scores[keep], classes[keep]


def by_place(x, values):
    """(anchors * values, H, W) -> (H * W * anchors, values)."""
    return x.unflatten(0, (-1, values)).permute(2, 3, 0, 1).reshape(-1, values)


def features(network, path, image):
    height, width = image.shape[1:]
    return network.levels(F.pad(image, (0, -width % 32, 0, -height % 32))[None], path)


def retinanet(network, path, image):
    """Boxes, scores, classes in an image (3, H, W); score 0.05, overlap 0.4, 1000 a level, 100 an image."""
    levels = features(network, path, image)
    boxes, scores, classes = [], [], []
    for k, name in enumerate(("p3", "p4", "p5", "p6", "p7")):
        logits, offsets = (x[0] for x in network.retinanet_head(levels[name]))
        places = anchors(8 * 2**k, [32 * 2**k * 2 ** (octave / 3) for octave in range(3)], *logits.shape[1:])
        probability = by_place(logits, len(logits) // 9).sigmoid()
        found = (probability > 0.05).nonzero()
        order = probability[found[:, 0], found[:, 1]].argsort(descending=True)[:1000]
        place, label = found[order].T
        boxes.append(decode(by_place(offsets, 4)[place], places[place], (10, 10, 5, 5)))
        scores.append(probability[place, label].double())
        classes.append(label)
    return best(clip(torch.cat(boxes), *image.shape[1:]), torch.cat(scores), torch.cat(classes), 0.4)


def proposals(network, levels, height, width):
    """At most 1000 boxes (N, 4); 1000 a level before a suppression at 0.7 within each."""
    boxes, scores, levels_of = [], [], []
    for k, name in enumerate(("p2", "p3", "p4", "p5", "p6")):
        logits, offsets = (by_place(x[0], values) for x, values in zip(network.rpn(levels[name]), (1, 4)))
        places, logits = anchors(4 * 2**k, [32 * 2**k], *levels[name].shape[2:]), logits[:, 0]
        order = logits.argsort(descending=True)[:1000]
        boxes.append(clip(decode(offsets[order], places[order], (1, 1, 1, 1)), height, width))
        scores.append(logits[order].double())
        levels_of.append(torch.full_like(order, k))
    return best(torch.cat(boxes), torch.cat(scores), torch.cat(levels_of), 0.7, 1000)[0]


def pool(levels, boxes):
    """(N, 256, 7, 7): two samples an edge of a bin, no shift by half a pixel, up to the last pixel."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    level = (4 + torch.log2(size.prod(1).sqrt() / 224 + 1e-6)).floor().clamp(2, 5)
    pooled = torch.zeros(len(boxes), 256, 7, 7)
    for k in (2, 3, 4, 5):
        members = level == k
        pooled[members] = roi_align(levels[f"p{k}"], [boxes[members].float()], 7, 1 / 2**k, 2, aligned=False)
    return pooled


def faster_rcnn(network, path, image):
    """Boxes, scores, classes in an image (3, H, W); score 0.05, overlap 0.5, 100 an image."""
    height, width = image.shape[1:]
    levels = features(network, path, image)
    regions = proposals(network, levels, height, width)
    logits, offsets = network.box_head(pool(levels, regions))
    scores = logits.softmax(1).double()[:, 1:]
    offsets = offsets.unflatten(1, (-1, 4))[:, 1:]
    region, label = (scores > 0.05).nonzero().T
    boxes = clip(decode(offsets[region, label], regions[region], (10, 10, 5, 5)), height, width)
    return best(boxes, scores[region, label], label, 0.5)
