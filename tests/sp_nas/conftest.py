import pytest
import torch
from toy_runs import SHORT, detection, own_loggers

import search_net
import train_net
from detnas.command_line import argument_parser
from detnas.search.log import read_log

#: a detector so small that a network of 3 stages trains in a moment
SMALL = {
    "MODEL.SPNAS.CODE": "1-2-1",
    "MODEL.SPNAS.BLOCK": "basic",
    "MODEL.SPNAS.BASE_WIDTH": 8,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ANCHOR_GENERATOR.SIZES": "[[16]]",
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 30,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.MAX_ITER": 2,
    "SOLVER.CHECKPOINT_PERIOD": 1,
    "SEARCH.CONSTRAINTS": "('backbone_flops <= 300e6',)",
    "SEARCH.DETECTOR_RESOLUTION": "(64, 64)",
    "SEARCH.CANDIDATE_ITERS": 2,
    "SEARCH.CHILDREN": 2,
    "SEARCH.GENERATIONS": 3,
}


@pytest.fixture(scope="session")
def small():
    return SMALL


@pytest.fixture
def check_winner():
    """Function (folder, search) that finds the winner's score again, from the search and from its own config."""

    def check(folder, search):
        best = read_log(str(folder)).best()[0]
        found = torch.load(folder / "best.pth", weights_only=True)["found"]
        assert (found["arch"], found["metrics"]) == (str(best.network), best.metrics)
        assert search(folder, "--eval-only")["bbox/AP"] == best.score
        args = argument_parser().parse_args(["--config-file", str(folder / "best.yaml"), "--eval-only"])
        assert train_net.main(args)["bbox"]["AP"] == pytest.approx(best.score, abs=1e-4)

    return check


@pytest.fixture
def stopped_at(monkeypatch):
    """Function (calls of the evaluator) that lets a search stop there; gives the list of all calls."""
    from spnas.evaluator import TrainedEvaluator

    evaluate, calls = TrainedEvaluator.__call__, []

    def stop_at(*numbers):
        def stopping(self, code, parents):
            calls.append(code)
            if len(calls) in numbers:
                raise KeyboardInterrupt
            return evaluate(self, code, parents)

        monkeypatch.setattr(TrainedEvaluator, "__call__", stopping)
        return calls

    return stop_at


@pytest.fixture
def search(toy_root, monkeypatch, pytestconfig):
    """Function (folder, *flags, settings) that runs ``search_net.py`` on the generated images and gives its log."""
    # The tests name configs as a user does.
    monkeypatch.chdir(pytestconfig.rootpath)

    def run(folder, *flags, **settings):
        keys = {**SHORT, **SMALL, **detection(toy_root), "OUTPUT_DIR": folder}
        keys.update({name.replace("__", "."): value for name, value in settings.items()})
        words = ["--config-file", "configs/SPNAS/Base-FPN.yaml", *flags]
        words += [str(word) for pair in keys.items() for word in pair]
        with own_loggers():
            return search_net.main(search_net.parser().parse_args(words))

    return run
