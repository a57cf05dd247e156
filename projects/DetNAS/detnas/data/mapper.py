"""Mappers from a dataset dict to the model's input. Images have C channels, height H and width W in pixels."""

import copy

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.data import DatasetMapper, detection_utils

from detnas.config.load import image_settings, with_settings

from .reading import ImageReader


class ClassificationMapper:
    """Adds "image", (3, size, size) uint8 in ``image_format`` order: a random crop in training, else the centre."""

    def __init__(self, is_train, size, image_format="BGR", crop_area=(0.08, 1.0), color_jitter=0.4, read=None):
        from torchvision.transforms import v2  # the import takes seconds

        self.read = read or ImageReader()
        if is_train:
            transforms = [
                v2.RandomResizedCrop(size, scale=crop_area, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(color_jitter, color_jitter, color_jitter),
            ]
        else:
            transforms = [v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size)]  # usual for ImageNet
        self.transform = v2.Compose(transforms)
        self.channels = [2, 1, 0] if image_format == "BGR" else [0, 1, 2]

    @classmethod
    def from_config(cls, cfg, is_train, read):
        own = cfg.INPUT.CLASSIFIER
        return cls(is_train, own.SIZE, cfg.INPUT.FORMAT, tuple(own.CROP_AREA), own.COLOR_JITTER, read)

    def __call__(self, dataset_dict):
        dataset_dict = copy.copy(dataset_dict)
        image = torch.from_numpy(self.read(dataset_dict, "RGB").copy())  # (H, W, 3)
        image = self.transform(image.permute(2, 0, 1))  # jitter expects RGB
        dataset_dict["image"] = image[self.channels].contiguous()
        return dataset_dict


class DetectionMapper(DatasetMapper):
    """Detectron2's mapper of boxes, masks and keypoints, with its arguments and another image reader."""

    def __init__(self, read: ImageReader, **settings):
        super().__init__(**settings)
        self.read = read

    def __call__(self, dataset_dict):
        dataset_dict = copy.deepcopy(dataset_dict)
        image = self.read(dataset_dict, self.image_format)
        detection_utils.check_image_size(dataset_dict, image)  # adds a missing size
        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        image = augmented.image
        dataset_dict["image"] = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if not self.is_train:
            dataset_dict.pop("annotations", None)
        elif "annotations" in dataset_dict:
            if self.use_instance_mask:
                masked = [ann for ann in dataset_dict["annotations"] if "segmentation" in ann]  # some lack a mask
                dataset_dict["annotations"] = masked
            self._transform_annotations(dataset_dict, transforms, image.shape[:2])
        return dataset_dict


def is_classifier(cfg):
    """Whether the config is a classifier's (step 1)."""
    return cfg.MODEL.META_ARCHITECTURE == "ImageClassifier"


class TrainingMapper:
    """Maps images by ``settings`` as in :class:`.loader.TrainingData`. Keeps up to ``budget`` bytes of pixels."""

    def __init__(self, cfg, budget=0, settings=None):
        self.cfg, self.settings, self.mappers = cfg, settings, {}
        self.read = ImageReader(cfg.DATASETS.TRAIN, budget)

    def __call__(self, dataset_dict, iteration, place):
        settings = self.settings(iteration, place % self.cfg.SOLVER.ACCUMULATE) if self.settings else {}
        own = image_settings(settings)
        if str(own) not in self.mappers:
            self.mappers[str(own)] = build_mapper(with_settings(self.cfg, own), True, self.read)
        return self.mappers[str(own)](dataset_dict)


def build_mapper(cfg, is_train, read=None):
    """Return the mapper of a classifier's or detector's config. ``read`` replaces its own image reader."""
    read = read or ImageReader(cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST)
    if is_classifier(cfg):
        return ClassificationMapper.from_config(cfg, is_train, read)
    settings = DatasetMapper.from_config(cfg, is_train)
    if is_train and cfg.INPUT.SCALE_JITTER.SIZE:
        settings["augmentations"] = _jitter(cfg, settings["augmentations"])
        settings["recompute_boxes"] = cfg.MODEL.MASK_ON  # the mask of a cut object has a tighter box
    return DetectionMapper(read, **settings)


def _jitter(cfg, augmentations):
    size, scales = tuple(cfg.INPUT.SCALE_JITTER.SIZE), cfg.INPUT.SCALE_JITTER.RANGE
    mean = round(sum(cfg.MODEL.PIXEL_MEAN) / len(cfg.MODEL.PIXEL_MEAN))  # almost 0 once normalised, as the model pads
    resize = [T.ResizeScale(*scales, *size), T.FixedSizeCrop(size, pad_value=mean)]
    jittered = []
    for augmentation in augmentations:
        jittered += resize if isinstance(augmentation, T.ResizeShortestEdge) else [augmentation]
    return jittered


def build_recalibration_mapper(cfg):
    """Return a mapper with test-time geometry, without augmentation, with the labels that training mode needs."""
    read = ImageReader(cfg.DATASETS.TRAIN)
    if is_classifier(cfg):
        return ClassificationMapper.from_config(cfg, False, read)
    resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    return DetectionMapper(read, is_train=True, augmentations=[resize], image_format=cfg.INPUT.FORMAT)
