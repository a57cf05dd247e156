"""Mappers: from a dataset dict to the model's input."""

import copy

import detectron2.data.transforms as T
import torch
from detectron2.data import DatasetMapper, detection_utils
from torchvision.transforms import v2

from .reading import ImageCache, ReadingMapper, read_image


class ClassificationMapper:
    """
    Read an image and crop it to ``size`` x ``size``: at random with flip and colour jitter for training, the centre
    for testing. The result has "image", (3, size, size) uint8 in the channel order ``image_format``, and "label".
    """

    def __init__(self, is_train, size, image_format="BGR", crop_area=(0.08, 1.0), color_jitter=0.4):
        if is_train:
            transforms = [
                v2.RandomResizedCrop(size, scale=crop_area, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(color_jitter, color_jitter, color_jitter),
            ]
        else:
            # The usual proportion of ImageNet evaluation: shorter side 256 for a crop of 224.
            transforms = [v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size)]
        self.transform = v2.Compose(transforms)
        self.channels = [2, 1, 0] if image_format == "BGR" else [0, 1, 2]

    @classmethod
    def from_config(cls, cfg, is_train):
        own = cfg.INPUT.CLASSIFIER
        return cls(is_train, own.SIZE, cfg.INPUT.FORMAT, tuple(own.CROP_AREA), own.COLOR_JITTER)

    def __call__(self, dataset_dict):
        dataset_dict = copy.copy(dataset_dict)
        image = torch.from_numpy(detection_utils.read_image(dataset_dict["file_name"], "RGB").copy())  # (H, W, 3)
        image = self.transform(image.permute(2, 0, 1))  # jitter expects RGB
        dataset_dict["image"] = image[self.channels].contiguous()
        return dataset_dict


def is_classifier(cfg):
    """Whether the config is one of step 1, a classifier."""
    return cfg.MODEL.META_ARCHITECTURE == "ImageClassifier"


def build_mapper(cfg, is_train, read=read_image):
    """The mapper of a config: classification or Detectron2's own for detection; images are read by ``read``."""
    if is_classifier(cfg):
        mapper = ClassificationMapper.from_config(cfg, is_train)
    elif is_train and cfg.INPUT.SCALE_JITTER.SIZE:
        mapper = _jittered_mapper(cfg)
    else:
        mapper = DatasetMapper(cfg, is_train)
    return ReadingMapper(mapper, cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST, read)


def _jittered_mapper(cfg):
    size, scales = tuple(cfg.INPUT.SCALE_JITTER.SIZE), cfg.INPUT.SCALE_JITTER.RANGE
    # As the model pads: with what is 0, or nearly, once the mean is taken off.
    mean = round(sum(cfg.MODEL.PIXEL_MEAN) / len(cfg.MODEL.PIXEL_MEAN))
    resize = [T.ResizeScale(*scales, *size), T.FixedSizeCrop(size, pad_value=mean)]
    augmentations = []
    for augmentation in DatasetMapper.from_config(cfg)["augmentations"]:
        augmentations += resize if isinstance(augmentation, T.ResizeShortestEdge) else [augmentation]
    # Of an object that is cut, the mask's box is the tighter one.
    return DatasetMapper(cfg, is_train=True, augmentations=augmentations, recompute_boxes=cfg.MODEL.MASK_ON)


def build_recalibration_mapper(cfg):
    """Test-time geometry, no augmentation, with the labels that a forward pass in training mode needs."""
    if is_classifier(cfg):
        mapper = ClassificationMapper.from_config(cfg, is_train=False)
    else:
        resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        mapper = DatasetMapper(is_train=True, augmentations=[resize], image_format=cfg.INPUT.FORMAT)
    return ReadingMapper(mapper, cfg.DATASETS.TRAIN)


def build_training_mapper(cfg):
    """
    The mapper of a config with augmentation, which keeps decoded images. It is meant for one process of
    ``DATALOADER.NUM_WORKERS``: each has its share of ``DATALOADER.IMAGE_CACHE_GB``.
    """
    budget = cfg.DATALOADER.IMAGE_CACHE_GB * 1e9 / max(1, cfg.DATALOADER.NUM_WORKERS)
    return build_mapper(cfg, is_train=True, read=ImageCache(budget).read_image)
