"""Writes the configs of a plan, one for each step, into its folder."""

import os

import yaml

from detnas.files import write_text

from .plan import GENERATION, Plan, Task

#: step -> its file; all of them stand upon BASE
BASE = "base.yaml"
FILES = {"supernet": "2_supernet.yaml", "search": "3_search.yaml", "winner": "4_winner.yaml", "plain": "5_plain.yaml"}
_ABOUT = {
    "supernet": "Step 2, the supernet, from random weights.",
    "search": "Step 3, the search in the supernet.",
    "winner": "Step 4, the winner of the search, from the supernet's weights.",
    "plain": "A network of one op in all blocks, which needs no search, from random weights.",
}
#: detectors of the search's front that are left ready to use
FRONT_WINNERS = 3
#: about so many checkpoints of a training: after a kill it goes on from the last one
_CHECKPOINTS = 20


class ConfigWriter:
    """Writes the configs of a plan into a folder; ``root`` of the project holds ``configs/``."""

    def __init__(self, plan: Plan, folder: str, root: str):
        self.plan, self.folder, self.root = plan, folder, root
        self.limits = plan.request.limit or [plan.recipe.limit]

    def path(self, step: str) -> str:
        """The file of a step."""
        return os.path.join(self.folder, FILES[step])

    def output(self, step: str) -> str:
        """``OUTPUT_DIR`` of a step; the search writes beside the supernet."""
        return os.path.join(self.folder, "supernet" if step == "search" else step)

    def base(self) -> str:
        """Write what all steps share, unless it is there: the user may have changed it."""
        file, recipe = os.path.join(self.folder, BASE), self.plan.recipe
        if not os.path.isfile(file):
            above = os.path.relpath(os.path.join(self.root, "configs", recipe.base), self.folder)
            self._write(BASE, "What all steps share. Changes in this file are kept.", above, recipe.settings)
        return file

    def measured(self) -> str:
        """Write a supernet's config whose training and held-out images are those of "train"."""
        self.base()
        train = self.plan.sets.train
        self._write("measure.yaml", "What was measured for the plan.", BASE,
                    self._training(Task("measure", 0, 100_000), train, [train]))
        return os.path.join(self.folder, "measure.yaml")

    def write(self, task: Task) -> None:
        """Write the config of a step."""
        step, sets, base = task.step, self.plan.sets, BASE
        if step == "supernet":
            settings = {**self._training(task, sets.search, []), "SUPERNET": {"PATH_SAMPLING": "fair"}}
        elif step == "search":
            base = FILES["supernet"]
            settings = {"DATASETS": {"TEST": [sets.holdout]}, "SEARCH": {
                "CONSTRAINTS": self.limits, "POPULATION": GENERATION, "NUM_PARENTS": max(2, GENERATION // 3),
                "NUM_MUTATE": GENERATION // 2, "NUM_CROSS": GENERATION // 2,
                "GENERATIONS": task.candidates // GENERATION, "RACING": task.racing, "FRONT_WINNERS": FRONT_WINNERS,
            }}
        else:
            found, settings = self.output("search"), self._training(task, sets.train, [sets.test])
            weights, arch = os.path.join(found, "best.pth"), os.path.join(found, "best.yaml")
            if step == "plain":
                weights, arch = "", self.plan.plain[1]
            settings["MODEL"] = {"WEIGHTS": weights, "DETNAS": {"ARCH": arch}}
        self._write(FILES[step], _ABOUT[step], base, settings)

    def _training(self, task, train, test):
        return {
            "DATASETS": {"TRAIN": [train], "TEST": test},
            "SOLVER": {
                "MAX_ITER": task.iterations, "WARMUP_ITERS": min(50, task.iterations // 4),
                "CHECKPOINT_PERIOD": max(10, task.iterations // _CHECKPOINTS),
            },
            "TEST": {"EVAL_PERIOD": 0},
            "OUTPUT_DIR": self.output(task.step),
        }

    def _write(self, name, about, base, settings):
        text = yaml.safe_dump({"_BASE_": base, **settings}, default_flow_style=None, sort_keys=False, width=116)
        write_text(os.path.join(self.folder, name), f"# {about}\n{text}")
