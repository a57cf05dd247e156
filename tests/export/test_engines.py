import json
import subprocess
import sys

import pytest
import torch
from export_runs import export, predict
from PIL import Image

from detnas.errors import UserError
from detnas.export import traced
from detnas.export.engines import ENGINES, installed_engines, open_onnx
from detnas.export.traced import open_file

pytest_plugins = ["export_fixtures"]


@pytest.mark.parametrize("engine", ["openvino", "openvino_bf16"])
def test_another_engine_finds_the_same_in_images_of_any_size(exported, engine):
    if engine not in installed_engines():
        pytest.skip("OpenVINO is not installed")
    file = str(exported / "detector.onnx")
    expected, found = open_file(file), open_onnx(file, engine, 1)
    for size in ((64, 64), (45, 70)):
        image = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), size)[0] * 255
        (boxes, scores, _), (others, likely, _) = expected(image), found(image)
        if engine == "openvino":
            assert len(boxes) and torch.allclose(boxes, others, atol=0.01)
        else:
            assert abs(len(boxes) - len(others)) <= 0.1 * len(boxes) and not torch.equal(scores[:5], likely[:5])


@pytest.mark.parametrize("package", ["no_such_package", "half_a_package"])
def test_an_engine_that_does_not_run_here_is_one_sentence(monkeypatch, tmp_path, package):
    (tmp_path / "half_a_package.py").write_text("raise ImportError('libthat.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ENGINES, "openvino", package)
    monkeypatch.setattr(traced, "ONNX_PACKAGES", ("onnx", package))
    with pytest.raises(UserError, match=f"openvino is not installed, or cannot be imported: pip install {package}"):
        open_onnx("detector.onnx", "openvino")
    with pytest.raises(UserError, match=f"--format onnx needs {package}: pip install onnx {package}"):
        traced.require_onnx("--format onnx")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_script_beside_a_file_finds_the_same_without_detectron2(exported, toy_root, tmp_path, engine):
    if engine not in installed_engines():
        pytest.skip("OpenVINO is not installed")
    export("--config-file", exported / "model.yaml", "--output", tmp_path, "--format", "onnx", "--engine", engine)
    photo = Image.open(min((toy_root / "detection" / "test").glob("0*"))).convert("RGB").resize((90, 50))
    # As a camera leaves it that is held upright.
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.png", exif=exif)
    run = ("import sys, runpy; sys.modules.update(detectron2=None, torch=None, detnas=None); "
           f"sys.argv = ['detect.py', {str(tmp_path / 'photo.png')!r}]; "
           f"runpy.run_path({str(tmp_path / 'detect.py')!r}, run_name='__main__')")
    printed = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    expected = predict("--config-file", exported / "model.yaml", "--input", tmp_path / "photo.png", "--output",
                       tmp_path / "drawn", "--threshold", 0)
    assert len(found) == len(expected) > 5
    # It is hardly trained: further down scores are equal.
    for one, other in zip(found[:5], sorted(expected, key=lambda d: -d["score"])):
        x, y, width, height = other["bbox"]
        assert one["box"] == pytest.approx([x, y, x + width, y + height], abs=0.01)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
