"""Weights & Biases and MLflow beside metrics.json and TensorBoard, in trainings and searches: the setting WRITERS."""

import importlib.util
import logging
import os
import re
import time
import uuid

import yaml
from detectron2.utils.events import EventWriter, get_event_storage
from detectron2.utils.file_io import PathManager

from detnas.config.load import without_unused
from detnas.errors import UserError

logger = logging.getLogger(__name__)

#: iterations over whose median noisy values are smoothed, as in Detectron2's writers
WINDOW = 20
#: of the project, or experiment, where the package's own environment variable names none
PROJECT = "detnas"
#: what is written -> what its values are numbered by
_AXES = {"training": "iteration", "search": "candidate"}


class RunWriter(EventWriter):
    """
    A writer of Detectron2 that also takes values directly. Where a server fails, it says so once and writes no more: no
    training ends by that.

    Args:
        cfg: of the run, kept with it; its ``OUTPUT_DIR`` names the run.
        what: "training", whose values are numbered by iteration, or "search", by candidate.
        run_id: of a run that goes on; None for a new one.
    """

    #: name of the package, also in WRITERS
    package = ""

    def __init__(self, cfg, what, run_id=None):
        self.axis, self.run_id = _AXES[what], run_id
        self._last_write, self._failed = -1, False
        name = os.path.basename(cfg.OUTPUT_DIR.rstrip("/"))
        self.begin(f"{name} {what}", yaml.safe_load(without_unused(cfg).dump()))

    def write(self):
        new = {}
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
            if iteration > self._last_write:
                new.setdefault(iteration, {})[name] = value
        for iteration in sorted(new):
            self.put(new[iteration], iteration)
            self._last_write = iteration

    def put(self, values, number):
        """Write {name: value} of an iteration or candidate."""
        self._try(self.send, values, number)

    def close(self):
        self._try(self.end)

    def _try(self, function, *args):
        if self._failed:
            return
        try:
            function(*args)
        except Exception as e:  # the packages' errors have no class in common
            self._failed = True
            logger.warning(f'WRITERS "{self.package}" failed and is left out from now on: {_first_line(e)}')

    def begin(self, name, settings):
        """Start or take up the run, and set ``run_id``."""
        raise NotImplementedError

    def send(self, values, number):
        raise NotImplementedError

    def end(self):
        raise NotImplementedError


class WandbWriter(RunWriter):
    """Weights & Biases. WANDB_PROJECT, WANDB_MODE and the like hold; files lie in ``OUTPUT_DIR/wandb``."""

    package = "wandb"

    def __init__(self, cfg, what, run_id=None):
        self.folder = cfg.OUTPUT_DIR if "://" not in cfg.OUTPUT_DIR else None
        super().__init__(cfg, what, run_id)

    def begin(self, name, settings):
        import wandb

        self.run_id = self.run_id or uuid.uuid4().hex
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run = wandb.init(
            project=project, name=name, id=self.run_id, resume="allow", dir=self.folder, config=settings
        )
        # An axis of its own: wandb's step may not go back, as a run does that goes on from its last checkpoint.
        self.run.define_metric(self.axis)
        self.run.define_metric("*", step_metric=self.axis)

    def send(self, values, number):
        self.run.log({**values, self.axis: number})

    def end(self):
        self.run.finish()


class MlflowWriter(RunWriter):
    """MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME hold."""

    package = "mlflow"

    def begin(self, name, settings):
        import mlflow

        self.metric, self.client = mlflow.entities.Metric, mlflow.MlflowClient()
        if self.run_id:
            self.client.update_run(self.run_id, status="RUNNING")
            return
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self.client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else self.client.create_experiment(experiment)
        self.run_id = self.client.create_run(number, run_name=name).info.run_id
        self.client.log_dict(self.run_id, settings, "config.yaml")

    def send(self, values, number):
        now = int(1e3 * time.time())
        # Names of classes are in the names of their APs, and may have any characters.
        values = {re.sub(r"[^\w\-. /:]", "_", name): value for name, value in values.items()}
        self.client.log_batch(self.run_id, [self.metric(name, value, now, number) for name, value in values.items()])

    def end(self):
        self.client.set_terminated(self.run_id)


_WRITERS = {writer.package: writer for writer in (WandbWriter, MlflowWriter)}


def check_writers(cfg):
    """
    Raises:
        UserError: if a package for ``WRITERS`` is missing.
    """
    for name in cfg.WRITERS:
        if importlib.util.find_spec(name) is None:
            raise UserError(f'WRITERS "{name}" needs a package that is not installed: pip install {name}')


def build_writers(cfg, what, resume):
    """
    The writers that ``WRITERS`` names. The id of each one's run is kept in ``OUTPUT_DIR``.

    Args:
        what: see :class:`RunWriter`.
        resume: whether to go on with the runs that were begun there.

    Raises:
        UserError: if one cannot start.
    """
    check_writers(cfg)
    writers = []
    for name in dict.fromkeys(cfg.WRITERS):
        file, run_id = os.path.join(cfg.OUTPUT_DIR, f"{name}_{what}.txt"), None
        if resume and PathManager.isfile(file):
            with PathManager.open(file) as f:
                run_id = f.read().strip()
        try:
            writer = _WRITERS[name](cfg, what, run_id)
        except Exception as e:  # the packages' errors have no class in common
            raise UserError(f'WRITERS "{name}" cannot start: {_first_line(e)}') from None
        with PathManager.open(file, "w") as f:
            f.write(writer.run_id)
        writers.append(writer)
    return writers


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
