"""Config files of a plan."""

import os

import yaml

from detnas.files import shipped_configs, write_text

from .detectors import MOST
from .plan import FAMILY, PLAIN, RACE, Plan

#: names of configs: what the steps of a space share, the training of a kind, the search in that kind
BASE, TRAINED, SEARCHED = "base_{}.yaml", "{}.yaml", "{}_search.yaml"
_ABOUT = {FAMILY: "The family: detectors for all sizes of images.", PLAIN: "The plain detector, of one size."}


class ConfigWriter:
    """Writes the configs of a plan into its folder."""

    def __init__(self, plan: Plan, folder: str):
        self.plan, self.folder = plan, folder

    def path(self, *names: str) -> str:
        return os.path.join(self.folder, *names)

    def start(self, name: str) -> str:
        return self.path("starts", f"{name}.yaml")

    def starts(self) -> None:
        """Write the configs of starts and their spaces; only planning does, since users may edit them later."""
        os.makedirs(self.path("starts"), exist_ok=True)
        for space, recipe in self.plan.recipes.items():
            above = os.path.relpath(os.path.join(shipped_configs(), recipe.base), self.folder)
            settings = {**recipe.settings, "SEED": self.plan.request.seed}
            self._write(BASE.format(space), "What steps share. Changes in this file are kept.", above, settings)
        datasets = {"TRAIN": [self.plan.sets.search], "TEST": [self.plan.sets.holdout]}
        for start in self.plan.starts:
            settings = {**start.settings, "DATASETS": datasets, "TEST": {"EVAL_PERIOD": 0}}
            self._write(f"starts/{start.name}.yaml", f"{start.about}.", f"../{BASE.format(start.space)}", settings)

    def write(self, iterations: dict | None = None) -> None:
        """Write configs of trainings and searches for the best start; ``iterations`` (kind -> MAX_ITER) once known."""
        best = self.plan.start_taken.name
        raced = self.path(RACE, best, "model_final.pth")
        begins = {"WEIGHTS": raced} if os.path.isfile(raced) else {}
        for kind in (FAMILY, PLAIN):
            # The plain training resumes the checkpoint of the race and needs no weights.
            elastic = self.plan.elastic(kind)
            model = {**begins, "ELASTIC": elastic} if kind == FAMILY else {}
            solver = {"SOLVER": {"MAX_ITER": iterations[kind]}} if iterations else {}
            self._write(TRAINED.format(kind), _ABOUT[kind], f"starts/{best}.yaml", {
                "MODEL": model, "DATASETS": {"TEST": []}, **solver, "OUTPUT_DIR": self.path(kind)})
            self._write(SEARCHED.format(kind), "What it holds for each latency.", f"starts/{best}.yaml", {
                "MODEL": {"WEIGHTS": self.path(kind, "model_final.pth"), "ELASTIC": {**elastic, "FEWEST_IMAGES": 1}},
                "OUTPUT_DIR": self.path(kind), "SEARCH": {
                    "METHOD": "elastic", "CONSTRAINTS": self.plan.request.limit, "OBJECTIVES": ["detector_latency_ms"],
                    "FRONT_WINNERS": MOST}})

    def _write(self, name, about, base, settings):
        text = yaml.safe_dump({"_BASE_": base, **settings}, default_flow_style=None, sort_keys=False, width=116)
        write_text(self.path(name), f"# {about}\n{text}")
