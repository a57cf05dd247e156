"""
Makes Detectron2 0.6 from the package index run on a current Python stack.

Import this before any part of Detectron2 but its ``__init__.py``. Each fix is named after its symptom; most apply only
where it would show. Our own code avoids Detectron2's model_zoo, launch and DDP on CPU, which have no fixes here.
"""

import importlib
import importlib.util
import inspect
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import PIL.Image


def _cannot_import_name_C():
    """ImportError: cannot import name '_C' from 'detectron2'. Four modules import the extension at the top."""
    if importlib.util.find_spec("detectron2._C") is not None:
        return

    def missing(name):
        if name.startswith("__"):  # inspect and pickle probe modules for such names
            raise AttributeError(name)

        def call(*args, **kwargs):
            raise RuntimeError(
                f"detectron2._C.{name} needs Detectron2's C++ extension, which the index's Detectron2 0.6 lacks "
                "(deformable and rotated layers); build Detectron2's main branch to use it"
            )

        return call

    stand_in = types.ModuleType("detectron2._C", "Stands where Detectron2's C++ extension would be.")
    stand_in.__spec__ = importlib.util.spec_from_loader("detectron2._C", loader=None)
    stand_in.__getattr__ = missing
    stand_in.get_compiler_version = lambda: "not built"  # collect_env prints both versions
    stand_in.get_cuda_version = lambda: "not built"
    sys.modules["detectron2._C"] = stand_in


def _torchvision_imports_the_compiler():
    """Costs 5 s and 200 MB at every start. Only deterministic RoIAlign on a GPU calls the imported function."""
    name = "torch._dynamo.utils"
    file = Path(importlib.util.find_spec("torchvision").origin).with_name("ops") / "roi_align.py"
    symptom = f"from {name} import is_compile_supported" in file.read_text()
    if symptom and not {"torchvision", "torch._dynamo"} & sys.modules.keys():
        importlib.import_module("torch")
        stand_in = types.ModuleType(name)
        stand_in.is_compile_supported = lambda device: importlib.import_module(name).is_compile_supported(device)
        sys.modules.update({"torch._dynamo": types.ModuleType("torch._dynamo"), name: stand_in})
        try:
            importlib.import_module("torchvision")
        finally:
            del sys.modules["torch._dynamo"], sys.modules[name]


def _an_optimizer_imports_the_compiler():
    """Costs 5 s and 200 MB at the first step of a training, only to exclude methods from torch.compile."""
    optim = importlib.import_module("torch.optim")
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(optim.Optimizer, name)
        setattr(optim.Optimizer, name, getattr(method, "__wrapped__", method))
    step = optim.SGD.step
    optim.SGD.step = importlib.import_module("torch").no_grad()(getattr(step, "__wrapped__", step))


def import_timm():
    """Import timm without the compiler, which ``import timm`` loads. Saves 7 s and 140 MB."""
    compiler = importlib.import_module("torch.compiler")
    disable, compiler.disable = compiler.disable, lambda method=None, **_: method or (lambda method: method)
    try:
        return importlib.import_module("timm")
    finally:
        compiler.disable = disable


def _pil_image_has_no_attribute_LINEAR():
    """AttributeError: module 'PIL.Image' has no attribute 'LINEAR' (Pillow 10 and later)."""
    if not hasattr(PIL.Image, "LINEAR"):
        PIL.Image.LINEAR = PIL.Image.BILINEAR


def _numpy_has_no_attribute(alias, module_name):
    """AttributeError: module 'numpy' has no attribute 'str' / 'int', inside one module of Detectron2."""
    if alias.__name__ in vars(np):  # hasattr can make numpy warn
        return
    module = importlib.import_module(module_name)
    if f"np.{alias.__name__}" in inspect.getsource(module):
        numpy = types.ModuleType("numpy")  # only this module sees the old name
        numpy.__getattr__ = lambda name: getattr(np, name)
        setattr(numpy, alias.__name__, alias)
        module.np = numpy


def _fast_coco_evaluation_needs_the_extension():
    """COCOEvaluator's default COCOeval is in the missing extension; faster-coco-eval replaces it."""
    if sys.modules.get("detectron2._C") and sys.modules["detectron2._C"].__spec__.loader is None:
        from faster_coco_eval import COCOeval_faster

        importlib.import_module("detectron2.evaluation.coco_evaluation").COCOeval_opt = COCOeval_faster


def _no_module_named_caffe2():
    """ModuleNotFoundError: No module named 'caffe2', on any import of detectron2.export."""
    if importlib.util.find_spec("caffe2") is None:  # export.api alone needs it; the main branch skips that, too
        sys.modules.setdefault("detectron2.export.api", types.ModuleType("detectron2.export.api"))


def _openvino_pads_too_much():
    """Wrong boxes: OpenVINO 2026 cancels the stride in ``(side + stride - 1) // stride * stride`` of an ONNX file."""
    structures = importlib.import_module("detectron2.structures")
    torch, from_tensors = importlib.import_module("torch"), structures.ImageList.from_tensors

    def by_remainder(tensors, size_divisibility=0, *args, **named):
        if size_divisibility > 1 and len(tensors) == 1 and torch.jit.is_tracing():
            height, width = sides = tensors[0].shape[-2:]
            more = [0, -width % size_divisibility, 0, -height % size_divisibility]
            padded = torch.nn.functional.pad(tensors[0], more)
            return structures.ImageList(padded[None], [torch.stack(list(map(torch.as_tensor, sides)))])
        return from_tensors(tensors, size_divisibility, *args, **named)

    structures.ImageList.from_tensors = staticmethod(by_remainder)


def _torch_warns_on_every_start():
    """Detectron2 scripts functions on import and calls meshgrid without its newer argument."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r"torch\.meshgrid: in an upcoming release", category=UserWarning)


_torchvision_imports_the_compiler()
_an_optimizer_imports_the_compiler()
_torch_warns_on_every_start()
_cannot_import_name_C()
_pil_image_has_no_attribute_LINEAR()
_numpy_has_no_attribute(int, "detectron2.data.build")
_fast_coco_evaluation_needs_the_extension()
_no_module_named_caffe2()
_openvino_pads_too_much()
