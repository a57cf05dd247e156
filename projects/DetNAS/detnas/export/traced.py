"""A network as a TorchScript or ONNX file."""

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
#: in the name of a file that is not compared with its network yet, or differs from it
IN_DOUBT = ".in_doubt"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_ONNX_OPSET = 17  # from 16 on, RoiAlign is Detectron2's


@dataclasses.dataclass
class Part:
    """
    What of a network goes into a file. It takes "image", (3, H, W) float32 as it comes out of Detectron2's mapper,
    H and W any; mean, deviation and padding are inside.

    Args:
        name: "detector", "classifier" or "backbone"; the file's name.
        outputs: names of the outputs.
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
    """The :class:`Part` that is the whole network of a config, or None with the reason why there is none."""
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
    Trace a part of a model with an image, (3, H, W) float32, and write a file of one of :data:`FORMATS`, under a name
    that says that it is in doubt.

    Returns:
        path of the file. RuntimeError or ValueError if torch cannot trace it.
    """
    checked, path = (os.path.join(folder, part.name + doubt + FORMATS[form]) for doubt in ("", IN_DOUBT))
    # One of an earlier export would be taken for this one.
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
    """Without the warnings on every branch that a trace takes; a comparison afterwards tells whether one mattered."""
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
    """
    A module as the bytes of an ONNX file.

    Args:
        image: its input, of which a trace is made; called "image".
        outputs: their names.
        axes: name -> {dimension: name} of what is free; None: nothing is.
    """
    # torch's newer exporter cannot follow a detector, whose number of boxes depends on the image.
    older = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    data = io.BytesIO()
    with _silence():
        torch.onnx.export(
            module,
            (image,),
            data,
            input_names=["image"],
            output_names=list(outputs),
            dynamic_axes=axes or {},
            opset_version=_ONNX_OPSET,
            **older,
        )
    return data.getvalue()


def open_file(path):
    """A function image (3, H, W) -> list of tensors that runs an exported file."""
    local = PathManager.get_local_path(path)
    if path.endswith(FORMATS["torchscript"]):
        with _silence():
            network = torch.jit.load(local)
        return lambda image: list(flatten_to_tuple(network(image))[0])  # one output comes without a tuple
    return open_onnx(local)
