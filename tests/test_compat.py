"""What only these tests would miss of Detectron2 made to run; its use in all others covers the rest."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from detectron2 import _C
from detectron2.evaluation import coco_evaluation

needs_stand_in = pytest.mark.skipif(_C.__spec__.loader is not None, reason="this Detectron2 has its C++ extension")


def test_without_detectron2_the_import_says_in_one_sentence_how_to_get_it():
    code = "import sys; sys.modules['detectron2'] = None; import detnas"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1
    assert last.startswith("ModuleNotFoundError: detnas needs Detectron2, which is not installed: either ")
    assert "`uv pip install -e '.[detectron2]'`" in last and "docs/install.md" in last
    assert "pip install --no-build-isolation 'detectron2 @ git+https://github.com/facebookresearch/detectron2'" in last


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0", reason="this numpy has the old names itself")
def test_numpy_itself_gets_no_old_names():
    assert not {"int", "str", "float", "object"} & set(vars(np))


@needs_stand_in
def test_an_op_of_the_missing_extension_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"_C.deform_conv_forward needs Detectron2's C\+\+ extension, which"):
        _C.deform_conv_forward(torch.ones(1))


@needs_stand_in
def test_whoever_probes_the_stand_in_for_dunder_names_finds_none():
    assert not hasattr(_C, "__wrapped__")


def test_the_fast_coco_evaluation_is_there():
    assert callable(coco_evaluation.COCOeval_opt)
