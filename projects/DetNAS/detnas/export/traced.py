"""Writes a network as a TorchScript or ONNX file. Shapes: images of H x W pixels, N boxes, C channels."""

import contextlib
import dataclasses
import inspect
import io
import os
import warnings
from typing import Callable, Tuple

import torch
from detectron2.export import TracingAdapter
from detectron2.export.flatten import flatten_to_tuple
from detectron2.modeling import META_ARCH_REGISTRY, RetinaNet
from detectron2.structures import ImageList
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .engines import can_import, open_onnx

#: format -> end of the file's name
FORMATS = {"torchscript": ".ts", "onnx": ".onnx"}
#: in the name of a file until a comparison finds it equal to its network
IN_DOUBT = ".in_doubt"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_ONNX_OPSET = 17  # from 16 on, RoiAlign is Detectron2's


@dataclasses.dataclass
class Part:
    """
    The part of a network that a file holds. Its input is "image", (3, H, W) float32, as from Detectron2's mapper, of
    any size. The part itself normalises and pads.

    Args:
        name: "detector", "classifier" or "backbone"; also the file's name.
        run: function (model, list of one {"image": tensor}) -> tuple of tensors.
    """

    name: str
    outputs: Tuple[str, ...]
    run: Callable


def _boxes(model, inputs):
    found = model(inputs)[0]["instances"]
    return found.pred_boxes.tensor, found.scores, found.pred_classes  # (N, 4), (N,), (N,)


def _scores(model, inputs):
    return (model(inputs)[0]["scores"],)  # (num_classes,)


def _features(model, inputs):
    image = (inputs[0]["image"].to(model.device) - model.pixel_mean) / model.pixel_std
    images = ImageList.from_tensors([image], model.backbone.size_divisibility)
    return tuple(model.backbone(images.tensor).values())  # each (1, C, H / stride, W / stride)


DETECTOR = Part("detector", ("boxes", "scores", "classes"), _boxes)
CLASSIFIER = Part("classifier", ("scores",), _scores)


def backbone_part(model):
    """The backbone with its FPN: an output for each level."""
    return Part("backbone", tuple(model.backbone.output_shape()), _features)


def whole_part(cfg):
    """The :class:`Part` of the whole network and None, or None and the reason why no file can hold it."""
    arch = cfg.MODEL.META_ARCHITECTURE
    if arch == "ImageClassifier":
        return CLASSIFIER, None
    if arch != "GeneralizedRCNN" and not issubclass(META_ARCH_REGISTRY.get(arch), RetinaNet):
        return None, f"a {arch} gives more than boxes"
    for key in ("MASK_ON", "KEYPOINT_ON"):
        if arch == "GeneralizedRCNN" and cfg.MODEL[key]:
            return None, f"MODEL.{key}: the network gives more than boxes"
    return DETECTOR, None


def require_onnx(asker):
    """Raise a UserError if a package for ONNX files cannot be imported; ``asker`` is what needs them."""
    missing = [name for name in ONNX_PACKAGES if not can_import(name)]
    if missing:
        raise UserError(f"{asker} needs {' and '.join(missing)}: pip install {' '.join(ONNX_PACKAGES)}")


def write_part(model, part, form, folder, image):
    """
    Trace a part of a model with an image (3, H, W) float32, and write it in one of :data:`FORMATS`. Returns the path,
    with :data:`IN_DOUBT` in the name. RuntimeError or ValueError if torch cannot trace the part.
    """
    checked, path = (os.path.join(folder, part.name + doubt + FORMATS[form]) for doubt in ("", IN_DOUBT))
    # A file of an earlier export would pass for this one.
    if PathManager.exists(checked):
        PathManager.rm(checked)
    data = io.BytesIO()
    if form == "torchscript":
        with _silence():
            adapter = TracingAdapter(model, [{"image": image}], part.run).eval()
            torch.jit.save(torch.jit.trace(adapter, (image,), check_trace=False), data)
    else:
        data.write(to_onnx(model, part, image))
    with PathManager.open(path, "wb") as f:
        f.write(data.getvalue())
    return path


@contextlib.contextmanager
def _silence():
    """Hide the warnings about every branch of a trace; the comparison afterwards finds what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_onnx(model, part, image):
    """A part of a model as the bytes of an ONNX file, traced with an image (3, H, W) float32."""
    axes = {"image": {1: "height", 2: "width"}}
    if part is DETECTOR:
        axes.update({name: {0: "detections"} for name in part.outputs})
    return module_to_onnx(TracingAdapter(model, [{"image": image}], part.run).eval(), image, part.outputs, axes)


def module_to_onnx(module, image, outputs=("output",), axes=None):
    """A module as the bytes of an ONNX file. ``axes``: name -> {dimension: name} of sizes that vary, None for none."""
    # torch's newer exporter cannot follow a detector, whose number of boxes depends on the image.
    older = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    data = io.BytesIO()
    with _silence():
        torch.onnx.export(module, (image,), data, input_names=["image"], output_names=list(outputs),
                          dynamic_axes=axes or {}, opset_version=_ONNX_OPSET, **older)
    return data.getvalue()


def open_file(path):
    """A function image (3, H, W) -> list of tensors that runs an exported file."""
    local = PathManager.get_local_path(path)
    if path.endswith(FORMATS["torchscript"]):
        with _silence():
            network = torch.jit.load(local)
        return lambda image: list(flatten_to_tuple(network(image))[0])  # one output comes without a tuple
    return open_onnx(local)
