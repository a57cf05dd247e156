"""Writes the configs of a plan, one for each step, into its folder."""

import os

import yaml

from detnas.files import write_text

#: step -> its file; all of them stand upon BASE
BASE = "base.yaml"
FILES = {
    "supernet": "2_supernet.yaml",
    "search": "3_search.yaml",
    "winner": "4_winner.yaml",
    "plain": "5_plain.yaml",
}
#: detectors of the search's front that are left ready to use
FRONT_WINNERS = 3
#: about so many checkpoints of a training: after a kill it goes on from the last one
_CHECKPOINTS = 20


class ConfigWriter:
    """
    Args:
        folder: where they lie.
        root: of the project, with ``configs/``.
        recipe: a :class:`find_detector.recipe.Recipe`.
        parts: {"train", "search", "holdout", "test"}: names of data sets; "search" and "holdout" are "train" divided.
        limits: constraints of the search; [] takes that of the recipe.
    """

    def __init__(self, folder, root, recipe, parts, limits=()):
        self.folder, self.root, self.recipe = folder, root, recipe
        self.parts, self.limits = parts, list(limits) or [recipe.constraint]

    def path(self, step):
        """The file of a step."""
        return os.path.join(self.folder, FILES[step])

    def output(self, step):
        """``OUTPUT_DIR`` of a step; the search writes beside the supernet."""
        return os.path.join(self.folder, "supernet" if step == "search" else step)

    def base(self):
        """What all steps share; left as it is where it is there, so that it can be changed by hand."""
        file = os.path.join(self.folder, BASE)
        if not os.path.isfile(file):
            above = os.path.join(self.root, "configs", self.recipe.base)
            self._write(BASE, "What all steps share. Changes in this file are kept.",
                        os.path.relpath(above, self.folder), _shared(self.recipe))
        return file

    def supernet(self, iterations, evaluate):
        """
        Args:
            iterations: of the training.
            evaluate: whether to look twice how the supernet ranks some paths, see docs/training.md.
        """
        held_out = [self.parts["holdout"]] if evaluate else []
        settings = self._training("supernet", iterations, self.parts["search"], held_out)
        settings["TEST"] = {"EVAL_PERIOD": -(-iterations // 2)}
        settings["SUPERNET"] = {"PATH_SAMPLING": "fair", "EVAL_IMAGES": 100}
        self._write(FILES["supernet"], "Step 2, the supernet, from random weights.", BASE, settings)

    def search(self, candidates, generation, racing):
        """
        Args:
            candidates: a multiple of ``generation``.
            racing: whether those that have no hope stop early.
        """
        half = generation // 2
        search = {
            "CONSTRAINTS": self.limits, "POPULATION": generation, "NUM_PARENTS": max(2, generation // 3),
            "NUM_MUTATE": half, "NUM_CROSS": half, "GENERATIONS": candidates // generation, "RACING": racing,
            "FRONT_WINNERS": FRONT_WINNERS,
        }
        settings = {"DATASETS": {"TEST": [self.parts["holdout"]]}, "SEARCH": search}
        self._write(FILES["search"], "Step 3, the search in the supernet.", FILES["supernet"], settings)

    def winner(self, iterations):
        """Step 4, from the weights that the search left."""
        found = self.output("search")
        settings = self._training("winner", iterations, self.parts["train"], [self.parts["test"]])
        settings["MODEL"] = {
            "WEIGHTS": os.path.join(found, "best.pth"), "DETNAS": {"ARCH": os.path.join(found, "best.yaml")},
        }
        self._write(FILES["winner"], "Step 4, the winner of the search, from the supernet's weights.", BASE, settings)

    def plain(self, iterations, arch):
        """A network that needs no search."""
        settings = self._training("plain", iterations, self.parts["train"], [self.parts["test"]])
        settings["MODEL"] = {"WEIGHTS": "", "DETNAS": {"ARCH": arch}}
        about = "A network of one op in all blocks, which needs no search, from random weights."
        self._write(FILES["plain"], about, BASE, settings)

    def measured(self, name, step="measure"):
        """A supernet's config whose training and held-out images are those of one data set; returns the file."""
        self.base()
        settings = self._training(step, 100_000, name, [name])
        self._write(f"{step}.yaml", "What was measured for the plan.", BASE, settings)
        return os.path.join(self.folder, f"{step}.yaml")

    def _training(self, step, iterations, train, test):
        return {
            "DATASETS": {"TRAIN": [train], "TEST": test},
            "SOLVER": {
                "MAX_ITER": iterations, "WARMUP_ITERS": min(50, iterations // 4),
                "CHECKPOINT_PERIOD": max(10, iterations // _CHECKPOINTS),
            },
            "TEST": {"EVAL_PERIOD": 0},
            "OUTPUT_DIR": self.output(step),
        }

    def _write(self, name, about, base, settings):
        text = yaml.safe_dump({"_BASE_": base, **settings}, default_flow_style=None, sort_keys=False, width=116)
        write_text(os.path.join(self.folder, name), f"# {about}\n{text}")


def _shared(recipe):
    before, before_test, after, after_test, regions = recipe.proposals
    shorter, longer, crop = recipe.shorter, recipe.longer, {}
    if recipe.piece:
        shorter = longer = recipe.piece
        crop = {"CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [recipe.crop, recipe.crop]}}
    return {
        "MODEL": {
            "DETNAS": {} if recipe.space == "small" else {"SPACE": recipe.space},
            "ANCHOR_GENERATOR": {"SIZES": recipe.anchors, "ASPECT_RATIOS": [recipe.ratios]},
            "RPN": {
                "PRE_NMS_TOPK_TRAIN": before, "PRE_NMS_TOPK_TEST": before_test,
                "POST_NMS_TOPK_TRAIN": after, "POST_NMS_TOPK_TEST": after_test,
            },
            "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": regions},
        },
        "INPUT": {
            **crop, "MIN_SIZE_TRAIN": [shorter], "MAX_SIZE_TRAIN": longer,
            "MIN_SIZE_TEST": recipe.shorter, "MAX_SIZE_TEST": recipe.longer,
        },
        "SOLVER": {
            "REFERENCE_WORLD_SIZE": 0, "LR_SCHEDULER_NAME": "WarmupCosineLR", "IMS_PER_BATCH": recipe.batch,
            "BASE_LR": recipe.rate, "STEPS": [], "AMP": {"ENABLED": recipe.gpu},
            "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": 10.0},
        },
        "DATALOADER": {"NUM_WORKERS": recipe.workers},
        "TEST": {"DETECTIONS_PER_IMAGE": recipe.detections},
        "SEARCH": {
            "RECALIBRATION_IMAGES": recipe.recalibration, "RECALIBRATION_BATCH": recipe.test_batch,
            "EVALUATION_BATCH": recipe.test_batch,
            "DETECTOR_RESOLUTION": [recipe.shorter, recipe.longer],
            **({"AUTOCAST": "bf16", "CHANNELS_LAST": True} if recipe.gpu else {}),
        },
    }
