"""Training and evaluation in two processes, which are started once for all tests."""

import json
import pickle

import pytest
import rank_report
import torch
import torch.multiprocessing as mp
from detectron2.data import DatasetCatalog
from listening import LOOPBACK
from stand_in import write_voc
from toy_runs import DEVICE, command, detection
from voc_guesses import FEW, process

from detnas import get_space
from detnas.command_line import argument_parser
from detnas.data.datasets import register_dataset
from detnas.evaluation.voc import VOCEvaluator
from detnas.launch.setup import launch
from detnas.training.sampling import UniformSampler
from detnas.training.trainer import lock_output_folder

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="--cpu-processes is for machines without GPUs")
#: nothing that depends on which images stand together
FROZEN = {"DATASETS.TEST": "()", "MODEL.DETNAS.NORM": "FrozenBN", "MODEL.FPN.NORM": "", "MODEL.ROI_BOX_HEAD.NORM": "",
          "SOLVER.BASE_LR": 0.001, "SOLVER.MAX_ITER": 4, "SEED": 3}


def training(root, folder, **overrides):
    return command("toy_2_train_supernet", {**detection(root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": folder, **overrides})


def of_ranks(folder):
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def fork(function, args, nprocs):
    """As ``mp.spawn``, without the 20 seconds in which its processes import everything; theirs is pickled as well."""
    mp.start_processes(function, pickle.loads(pickle.dumps(args)), nprocs, start_method="fork")


@pytest.fixture
def folder(toy_root, tmp_path_factory, monkeypatch):
    """
    Of two processes: two trainings, in "synced" and "frozen", an evaluation, in "voc", and what is said of a training
    in the folder "held" of another one and of one in "never" that cannot be.
    """
    folder = tmp_path_factory.mktemp("processes")
    for name in ("said of held", "said of never"):
        (folder / name).mkdir()
    args = argument_parser().parse_args(["--cpu-processes", "2"])
    args.trainings = [
        training(toy_root, folder / "synced", **{"SOLVER.MAX_ITER": 3}), training(toy_root, folder / "frozen", **FROZEN)
    ]
    args.mistakes = {
        folder / "said of held": training(toy_root, folder / "held"),
        folder / "said of never": training(toy_root, folder / "never", **{"MODEL.DETNAS.ARCH": "2120"}),
    }
    args.voc = folder / "voc"
    write_voc(args.voc, classes=FEW)
    monkeypatch.setattr(mp, "spawn", fork)
    with lock_output_folder(str(folder / "held")):
        launch(rank_report.main, args)
    return folder


def a_mistake_in_two_processes_is_one_line_and_exit_code_2(folder):
    held = f"another training is running in {folder}/held: give another OUTPUT_DIR, or wait for it"
    arch = 'MODEL.DETNAS.ARCH "2120": 4 blocks; space "tiny" has 8 (2-2-2-2)'
    for name, words in (("held", held), ("never", arch)):
        assert of_ranks(folder / f"said of {name}") == [[2, [f"error: {words}"]], [2, []]]
    assert not (folder / "never").exists()
    assert not {file.name for file in (folder / "held").iterdir()} - {"run.lock", "log.txt", "log.txt.rank1"}


def two_processes_train_the_same_paths_to_the_same_parameters(folder):
    first, second = of_ranks(folder / "synced")
    assert first["world_size"] == second["world_size"] == 2 and first["norm"] == "naiveSyncBN"
    sampler = UniformSampler(get_space("tiny"), seed=0)
    assert first["paths"] == second["paths"] == [list(sampler(i)) for i in range(3)]
    assert first["after"] == second["after"] and first["before"] == second["before"] != first["after"]
    # Each rank has its own half of every batch.
    assert all(len(a) == len(b) == 2 and not set(a) & set(b) for a, b in zip(first["images"][:3], second["images"][:3]))


def no_process_listens_to_other_machines(folder):
    found = [address for rank in of_ranks(folder / "synced") for address in rank["listens_on"]]
    assert found and all(address.endswith(LOOPBACK) for address in found)


def two_processes_do_what_one_does_with_two_parts(folder, toy_root, tmp_path):
    # As each of the two has: with others, torch sums in another order.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rank_report.train(training(toy_root, tmp_path, **FROZEN, **{"SOLVER.ACCUMULATE": 2}))
    finally:
        torch.set_num_threads(threads)
    one, ranks = json.loads((tmp_path / "rank0.json").read_text()), of_ranks(folder / "frozen")
    assert one["paths"] == ranks[0]["paths"]
    # The parts of the one process are the batches of the two.
    assert one["images"][0::2] == ranks[0]["images"] and one["images"][1::2] == ranks[1]["images"]
    files = (folder / "frozen" / "model_final.pth", tmp_path / "model_final.pth")
    first, second = (torch.load(file, weights_only=True)["model"] for file in files)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0, msg=name)


def two_processes_have_the_figures_of_one_on_voc(folder):
    (gathered, alone), (nothing, other) = of_ranks(folder / "voc")
    name = f"voc:{folder}/voc/VOC2007:test"
    register_dataset(name)
    assert gathered["bbox"] == pytest.approx(process(VOCEvaluator(name), DatasetCatalog.get(name)).evaluate()["bbox"])
    # Each saw half of the images, and not the same.
    assert nothing == {} and alone["bbox"]["AP50"] != other["bbox"]["AP50"]


def test_two_processes(folder, toy_root, tmp_path):
    # One test, since workers of xdist would start the processes once each.
    a_mistake_in_two_processes_is_one_line_and_exit_code_2(folder)
    two_processes_train_the_same_paths_to_the_same_parameters(folder)
    no_process_listens_to_other_machines(folder)
    two_processes_do_what_one_does_with_two_parts(folder, toy_root, tmp_path)
    two_processes_have_the_figures_of_one_on_voc(folder)
