"""Writes the configs of a plan, one for each step, into its folder."""

import os

import yaml

from detnas.files import write_text
from detnas.launch.outputs import BEST_CONFIG, BEST_WEIGHTS

from .plan import GENERATION, PLAIN, Plan, Task

#: what all steps of a space share
BASE = "base_{}.yaml"
#: step -> its file, which stands upon BASE, and what it is
_FILES = {
    "measure": ("measure.yaml", "What was measured for the plan."),
    "supernet": ("2_supernet.yaml", "Step 2, the supernet, from random weights."),
    "search": ("3_search.yaml", "Step 3, the search in the supernet."),
    "winner": ("4_winner.yaml", "Step 4, the winner of the search, from the supernet's weights."),
    PLAIN: ("5_plain.yaml", "The network that needs no search, from the best start."),
}
#: detectors of the search's front that are left ready to use
FRONT_WINNERS = 3


class ConfigWriter:
    """Writes the configs of a plan into a folder; ``root`` of the project holds ``configs/``."""

    def __init__(self, plan: Plan, folder: str, root: str):
        self.plan, self.folder, self.root = plan, folder, root
        self.limits = plan.request.limit or [plan.recipe.limit]

    def path(self, step: str) -> str:
        """The file of a step."""
        return os.path.join(self.folder, _FILES[step][0])

    def output(self, step: str) -> str:
        """``OUTPUT_DIR`` of a step; the search writes beside the supernet."""
        return os.path.join(self.folder, "supernet" if step == "search" else step)

    def start(self, name: str) -> str:
        """The file of a start."""
        return os.path.join(self.folder, "starts", f"{name}.yaml")

    def base(self, space: str) -> None:
        """Write what the steps of a space share. Only a plan does, as with the starts: later the user may change it."""
        recipe = self.plan.recipes[space]
        above = os.path.relpath(os.path.join(self.root, "configs", recipe.base), self.folder)
        settings = {**recipe.settings, "SEED": self.plan.request.seed}
        self._write(BASE.format(space), "What steps share. Changes in this file are kept.", above, settings)

    def starts(self) -> None:
        """Write a config for each start."""
        os.makedirs(os.path.join(self.folder, "starts"), exist_ok=True)
        for start in self.plan.starts:
            datasets = {"TRAIN": [self.plan.sets.search], "TEST": [self.plan.sets.holdout]}
            settings = {**start.settings, "DATASETS": datasets, "TEST": {"EVAL_PERIOD": 0}}
            self._write(f"starts/{start.name}.yaml", f"{start.about}.", f"../{BASE.format(start.space)}", settings)

    def write(self, task: Task, best: str = "", iterations: int = 0) -> None:
        """
        Write the config of a step, or of "measure": a supernet without images that are held out. The plain network's
        stands on the best start. How many iterations a training has is known at its end.
        """
        step, sets, base = task.step, self.plan.sets, BASE.format(self.plan.space)
        if step == "measure":
            settings = self._training(step, iterations, sets.train, [sets.train])
        elif step == "supernet":
            settings = {**self._training(step, iterations, sets.search, []), "SUPERNET": {"PATH_SAMPLING": "fair"}}
        elif step == "search":
            base = _FILES["supernet"][0]
            settings = {"DATASETS": {"TEST": [sets.holdout]}, "SEARCH": {
                "CONSTRAINTS": self.limits, "POPULATION": GENERATION, "NUM_PARENTS": max(2, GENERATION // 3),
                "NUM_MUTATE": GENERATION // 2, "NUM_CROSS": GENERATION // 2,
                "GENERATIONS": task.candidates // GENERATION, "RACING": task.racing, "FRONT_WINNERS": FRONT_WINNERS,
            }}
        else:
            settings = self._training(step, iterations, sets.train, [sets.test])
            if step == PLAIN:
                base = f"starts/{best}.yaml"
            else:
                weights, arch = (os.path.join(self.output("search"), file) for file in (BEST_WEIGHTS, BEST_CONFIG))
                settings["MODEL"] = {"WEIGHTS": weights, "DETNAS": {"ARCH": arch}}
        self._write(*_FILES[step], base, settings)

    def _training(self, step, iterations, train, test):
        solver = {"SOLVER": {"MAX_ITER": iterations, "WARMUP_ITERS": min(50, iterations // 4)}} if iterations else {}
        return {"DATASETS": {"TRAIN": [train], "TEST": test}, **solver, "TEST": {"EVAL_PERIOD": 0},
                "OUTPUT_DIR": self.output(step)}

    def _write(self, name, about, base, settings):
        text = yaml.safe_dump({"_BASE_": base, **settings}, default_flow_style=None, sort_keys=False, width=116)
        write_text(os.path.join(self.folder, name), f"# {about}\n{text}")
