import pytest

from detnas.config.load import load_config
from detnas.launch.setup import fit_to_device, fit_to_processes


def solver(*overrides):
    words = ["SOLVER.IMS_PER_BATCH", "1024", "SOLVER.BASE_LR", "0.5", "SOLVER.MAX_ITER", "300000"]
    words += ["SOLVER.STEPS", "(200000,)", "TEST.EVAL_PERIOD", "10000", "SOLVER.CHECKPOINT_PERIOD", "5000"]
    cfg = fit_to_processes(load_config(None, [*words, *overrides]))
    return (*(cfg.SOLVER[k] for k in ("IMS_PER_BATCH", "BASE_LR", "MAX_ITER", "STEPS")), cfg.TEST.EVAL_PERIOD)


def test_one_process_takes_an_eighth_of_the_batch_and_rate_and_eight_times_the_iterations():
    assert solver("SOLVER.REFERENCE_WORLD_SIZE", "8") == (128, 0.0625, 2400000, (1600000,), 80000)


def test_a_process_that_takes_eight_parts_stands_for_eight():
    words = ["SOLVER.REFERENCE_WORLD_SIZE", "8", "SOLVER.ACCUMULATE", "8"]
    assert solver(*words) == (1024, 0.5, 300000, (200000,), 10000)


def test_without_a_reference_the_numbers_are_those_of_the_config():
    assert solver() == (1024, 0.5, 300000, (200000,), 10000)


@pytest.mark.parametrize("words, message", [
    (["SOLVER.ACCUMULATE", "3"], r"1024 cannot be divided by 1 process\(es\) times SOLVER.ACCUMULATE 3"),
    (["SOLVER.REFERENCE_WORLD_SIZE", "7"], "1024 cannot be divided by SOLVER.REFERENCE_WORLD_SIZE 7"),
])
def test_a_batch_that_cannot_be_divided_is_an_error(words, message):
    with pytest.raises(ValueError, match=message):
        solver(*words)


def test_in_one_process_every_synced_norm_becomes_a_plain_one():
    parts = ("DETNAS", "RESNETS", "FPN", "ROI_BOX_HEAD", "ROI_MASK_HEAD", "SEM_SEG_HEAD", "RETINANET")
    cfg = load_config(None, [word for part in parts for word in (f"MODEL.{part}.NORM", "SyncBN")])
    cfg.MODEL.SEM_SEG_HEAD.NORM = "GN"
    fit_to_device(cfg)
    assert {part: cfg.MODEL[part].NORM for part in parts} == {**dict.fromkeys(parts, "BN"), "SEM_SEG_HEAD": "GN"}
