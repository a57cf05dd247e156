"""Runs ONNX files on the CPU, in ONNX Runtime or OpenVINO. Images have H x W pixels."""

import functools
import importlib
import importlib.metadata
import json
import os
from typing import Callable, List, Union

import torch

from detnas.errors import UserError
from detnas.files import write_text

#: engine -> the package that it needs; "openvino_bf16" computes in bf16 where the processor can
ENGINES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "openvino_bf16": "openvino"}
#: stands for the network in torch, beside the engines
TORCH = "torch"


@functools.cache
def can_import(package: str) -> bool:
    """Whether a package is installed, with the libraries that it needs."""
    try:
        return bool(importlib.import_module(package))
    except ImportError:
        return False


def installed_engines() -> List[str]:
    return [engine for engine, package in ENGINES.items() if can_import(package)]


def engine_version(engine: str) -> str:
    """Name and version, such as "onnxruntime 1.23". UserError if the engine does not run here."""
    if engine not in (TORCH, *installed_engines()):
        raise UserError(f"{engine} is not installed, or cannot be imported: pip install {ENGINES[engine]}")
    return f"{engine} {importlib.metadata.version(ENGINES.get(engine, TORCH))}"


def open_onnx(data: Union[str, bytes], engine: str = "onnxruntime", threads: int = 0) -> Callable:
    """
    A function image (3, H, W) float32 -> list of tensors that runs an ONNX file. A process with several files open in
    OpenVINO must not fork, such as for data workers: this crashed.

    Args:
        data: path or content of the file.
        engine: of :data:`ENGINES`.
        threads: 0 for the engine's choice.

    Raises:
        UserError: if the engine does not run here.
    """
    engine_version(engine)
    return (_onnxruntime if engine == "onnxruntime" else _openvino)(data, engine, threads)


def write_script(folder: str, cfg, engine: str = "onnxruntime", threads: int = 0) -> str:
    """
    Write detect.py, which runs detector.onnx without Detectron2, and its detector.json; returns its path. 0 threads
    stand for the engine's choice.
    """
    about = {"shorter_side": cfg.INPUT.MIN_SIZE_TEST, "longer_side": cfg.INPUT.MAX_SIZE_TEST, "engine": engine,
             "threads": threads, "pixels": cfg.INPUT.FORMAT, "classes": list(cfg.MODEL.DETNAS.CLASSES)}
    script = os.path.join(folder, "detect.py")
    write_text(os.path.join(folder, "detector.json"), json.dumps(about, indent=1))
    with open(os.path.join(os.path.dirname(__file__), "detect.py"), encoding="utf-8") as f:
        write_text(script, f.read())
    return script


def _onnxruntime(data, engine, threads):
    # An optional package, so not at the top.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda image: [torch.from_numpy(output) for output in session.run(None, {"image": image.numpy()})]


def _openvino(data, engine, threads):
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "bf16" if engine == "openvino_bf16" else "f32"}
    network = core.compile_model(core.read_model(data), "CPU", settings)
    return lambda image: [torch.from_numpy(output.copy()) for output in network(image.numpy()).to_tuple()]
