import logging
import re

from toy_runs import classification, detection, toy_setup

from detnas.engine.trainer import build_trainer

pytest_plugins = ["toy_fixtures"]


def progress(caplog, name, overrides, iterations=20):
    trainer = build_trainer(toy_setup(name, {**overrides, "DATASETS.TEST": "()", "SOLVER.MAX_ITER": iterations}))
    caplog.set_level("INFO", "detnas.engine.progress")
    # Detectron2's loggers do not pass their messages on.
    logging.getLogger("detnas").propagate = True
    trainer.train(0, iterations)
    return [r.getMessage() for r in caplog.records if r.name == "detnas.engine.progress"]


def test_the_line_of_a_supernet_says_path_losses_speed_and_time_left(toy_root, tmp_path, caplog):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path}
    (line,) = progress(caplog, "toy_2_train_supernet", overrides)
    assert re.match(
        r"iteration 20/20  path \d\d-\d\d-\d\d-\d\d  loss [\d.]+ \(cls [\d.e-]+, box_reg [\d.e-]+, rpn_cls [\d.e-]+, "
        r"rpn_loc [\d.e-]+\)  [\d.]+ img/s  lr [\d.e-]+  eta 0:00:0\d",
        line,
    )


def test_the_line_of_a_single_network_has_no_path(toy_root, tmp_path, caplog):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path, "MODEL.DETNAS.ARCH": "00000000"}
    (line,) = progress(caplog, "toy_1_pretrain_supernet", overrides)
    assert re.match(r"iteration 20/20  loss [\d.]+  [\d.]+ img/s  lr", line)
