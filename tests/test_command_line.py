"""What the scripts can say without torch, and when Detectron2 knows the networks."""

import os
import subprocess
import sys

from detectron2.config import get_cfg
from detectron2.engine import default_argument_parser
from scripts import ROOT

from detnas import get_space
from detnas.command_line import argument_parser
from detnas.config.load import load_config, output_folder
from detnas.config.settings import RULES, check_settings
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog

QUICK = """
import sys
import search_net, train_net
config = ["--config-file", sys.argv[1]]
for words in (["--help"], ["--best", "1", "--config-file", "gone.yaml"], ["--list", *config, "SEED"]):
    try:
        search_net.main(search_net.parser().parse_args(words))
    except SystemExit as e:
        print("exit code", e.code)
for flags in (["--list"], ["--best", "1"], ["--front"], ["--list", "--csv", sys.argv[2] + "/all.csv"]):
    search_net.main(search_net.parser().parse_args([*flags, *config, "OUTPUT_DIR", sys.argv[2]]))
print("slow", sorted({"torch", "torchvision", "detectron2", "numpy", "matplotlib"} & set(sys.modules)))
"""
#: what a project may import first, each in a fork of a process that has imported what takes long
FIRST = """
import os, sys
import detnas.compat, fvcore.nn, matplotlib, pycocotools.coco, torch, torchvision
from torchvision.ops import roi_align
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
optimizer.param_groups[0]["params"][0].sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
detnas.compat.import_timm()
print("slow", "torch._dynamo" in sys.modules, roi_align.__globals__["is_compile_supported"]("cpu"))
for first in (
    "from detnas.modeling.weights import load_weights", "from spnas import add_spnas_config",
    "import detnas; detnas.DetNASNet",
):
    if not os.fork():
        exec(first)
        from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model
        known = "build_detnas_fpn_backbone" in BACKBONE_REGISTRY and "ImageClassifier" in META_ARCH_REGISTRY
        print(first, known and ("spnas" not in first or "build_spnas_fpn_backbone" in BACKBONE_REGISTRY), flush=True)
        os._exit(0)
    os.wait()
"""


def test_help_and_the_views_of_a_log_do_not_wait_for_torch(tmp_path):
    header = {"method": "detnas", "space": "tiny", "metric": "bbox/AP"}
    log = SearchLog(str(tmp_path), get_space("tiny"), header)
    log.append(Candidate((0,) * 8, score=12.5, costs={"backbone_flops": 1e6}))
    log.close()
    config = "configs/demo/toy_2_train_supernet.yaml"
    run = subprocess.run([sys.executable, "-c", QUICK, config, tmp_path], cwd=ROOT, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    said = [line for line in lines if line.startswith(("exit", "slow"))]
    assert said == ["exit code 0", "exit code 2", "exit code 2", "slow []"]
    assert sum("00-00-00-00" in line and "12.5" in line for line in lines) == 4
    assert run.stderr.splitlines() == [
        "error: config file gone.yaml does not exist",
        "error: config overrides come as KEY VALUE pairs; SEED is an odd number of words",
    ]


def test_the_output_folder_is_that_of_the_config_its_base_or_the_command_line(tmp_path):
    base, leaf = tmp_path / "base.yaml", tmp_path / "leaf.yaml"
    base.write_text("OUTPUT_DIR: there")
    leaf.write_text("_BASE_: base.yaml")
    assert output_folder(str(leaf)) == load_config(str(leaf)).OUTPUT_DIR == "there"
    assert output_folder(str(leaf), ["SEED", "1", "OUTPUT_DIR", "here"]) == "here"
    assert output_folder(None) == get_cfg().OUTPUT_DIR


def test_the_parser_has_detectron2s_options_and_defaults():
    own, theirs = vars(argument_parser().parse_args([])), vars(default_argument_parser().parse_args([]))
    assert {name for name, value in theirs.items() if own[name] != value} <= {"config_file", "dist_url"}


def test_every_setting_of_the_table_has_a_default_that_it_allows():
    check_settings(load_config(None))
    assert len(RULES) > 55


def test_whatever_is_imported_first_detectron2_knows_the_networks():
    run = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    slow, *known = run.stdout.splitlines()
    # The compiler, which torchvision, optimizers and timm ask for, is there when it is called, and not before.
    assert slow == "slow False True" and [line.split()[-1] for line in known] == ["True"] * 3, run.stderr


def test_ctrl_c_while_a_script_imports_is_told_in_a_word(tmp_path):
    for package in ("torch", "matplotlib"):
        (tmp_path / f"{package}.py").write_text("raise KeyboardInterrupt")
    scripts = ["train_net.py", "search_net.py", *(f"tools/{name}.py" for name in (
        "check_dataset", "convert_released", "convert_torchvision", "count_costs", "evaluate_ecp", "export_model",
        "paper_tables")), "demo/predict.py"]
    words = {"train_net.py": ["--config-file", "a"], "search_net.py": ["--config-file", "a"]}
    for command in (*([name, *words.get(name, [])] for name in scripts), ["-m", "detnas.report"]):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
                              capture_output=True, text=True)
        assert done.returncode and done.stderr == "Stopped.\n", command
    done = subprocess.run([sys.executable, "tools/find_detector.py", "a", "--hours", "1"], cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode and "Stopped." in done.stderr and "Traceback" not in done.stderr
