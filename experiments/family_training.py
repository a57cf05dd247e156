#!/usr/bin/env python
"""
How is a family best trained? Trains one by other rules than the package's; prints AP of children on held-out images:

    python experiments/family_training.py --iterations 6316 --draw uniform       15 minutes
    python experiments/family_training.py --iterations 4286 --distil             15 minutes

--draw: which child an iteration trains, beside its size. uniform: any; half: the largest network half of the time;
suited: the largest network more often on larger images; late: only the largest network in the first half; sandwich: two
per iteration, the largest network and any. --ema: a moving average of the weights at the end. --distil: the largest
network teaches each child on the same images and regions. Prints the mean AP of the largest network at all sizes with
200 and 50 proposals, and of twelve smaller ones at 64 to 160 pixels.
"""

import argparse
import os
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
import torch.nn.functional as F
from detectron2.engine.hooks import CallbackHook
from shared import IN_ONE_PROCESS, ROOT
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import elasticdet  # noqa: F401  it registers its keys
import pretrained  # noqa: F401  it registers its keys
from detnas.config.load import candidate_space, load_config
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.setup import fit_to_device, register_datasets
from detnas.modeling.choices import activate
from detnas.training import trainer as training
from elasticdet.evaluator import FamilyEvaluator


class Drawn:
    """A sampler like :class:`detnas.training.sampling.UniformSampler`."""

    def __init__(self, space, args):
        self.space, self.args = space, args

    def __call__(self, iteration, part=0):
        rng = random.Random(f"path {self.args.seed} {iteration}")
        size, *rest = self.space.random(rng)
        whole = {
            "uniform": False, "half": rng.random() < 0.5, "late": 2 * iteration < self.args.iterations,
            "suited": rng.random() < size / (len(self.space.choices[0].values) - 1), "sandwich": part == 0,
        }[self.args.draw]
        return (size, *(self.space.largest[1:] if whole else rest))


class Teacher:
    """Adds losses to a child: differences of its RPN and box head from the largest network's."""

    def __init__(self, trainer, space):
        self.trainer, self.space, self.seen = trainer, space, {}
        model = self.model = trainer.model
        for name, module, of in (("rpn", model.proposal_generator.rpn_head, lambda i, o: o),
                                 ("boxes", model.roi_heads.box_pooler, lambda i, o: i[1]),
                                 ("head", model.roi_heads.box_predictor, lambda i, o: o)):
            module.register_forward_hook(lambda _, i, o, name=name, of=of: self.seen.update({name: of(i, o)}))
        trainer.model = self

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, images):
        losses, path = self.model(images), self.trainer.before_part.path
        if path[1:] == self.space.largest[1:]:
            return losses
        child = dict(self.seen)
        activate(self.model, self.space, (path[0], *self.space.largest[1:]))
        with torch.no_grad():
            features = self.model.backbone(self.model.preprocess_image(images).tensor)
            rpn, heads = self.model.proposal_generator, self.model.roi_heads
            logits, _ = rpn.rpn_head([features[name] for name in rpn.in_features])
            pooled = heads.box_pooler([features[name] for name in heads.box_in_features], child["boxes"])
            scores, _ = heads.box_predictor(heads.box_head(pooled))
        mine = child["rpn"][0]
        told = sum(F.binary_cross_entropy_with_logits(a, b.sigmoid(), reduction="sum") for a, b in zip(mine, logits))
        kl = F.kl_div(child["head"][0].log_softmax(1), scores.softmax(1), reduction="batchmean")
        return {**losses, "told_rpn": told / sum(a.numel() for a in mine), "told_box": kl}


def compared(space):
    """Children to compare: (the largest network at each size, smaller ones)."""
    fifty, sizes = space.choices[1].values.index(50), space.choices[0].values
    whole = [(size, few, *space.largest[2:]) for few in (space.largest[1], fifty) for size in range(len(sizes))]
    rng = random.Random(7)
    smaller = [(sizes.index(size), fifty + rng.choice((0, 1)), *(rng.randrange(most + 1) for most in space.largest[2:]))
               for size in (64, 96, 128, 160) for _ in range(3)]
    return whole, smaller


def main(args):
    with user_errors(), only_warnings("detectron2", "fvcore", "detnas"):
        torch.set_num_threads(1)
        parts = ["SOLVER.ACCUMULATE", "2"] if args.draw == "sandwich" else []
        folder = os.path.join(args.output, f"{args.draw}{'_ema' * bool(args.ema)}{'_distil' * args.distil}-{args.seed}")
        words = ["SOLVER.MAX_ITER", str(args.iterations), "SEED", str(args.seed), "OUTPUT_DIR", folder]
        cfg = load_config(os.path.join(ROOT, "experiments/configs/family_bccd.yaml"), [*IN_ONE_PROCESS, *parts, *words])
        register_datasets(cfg)
        fit_to_device(cfg)
        space, held_out, cfg.DATASETS.TEST = candidate_space(cfg), cfg.DATASETS.TEST, ()
        os.makedirs(folder, exist_ok=True)
        torch.manual_seed(args.seed)
        training.build_sampler = lambda cfg, space: Drawn(space, args)
        trainer = training.build_trainer(cfg)
        model, file = trainer.model, os.path.join(folder, "trained.pth")
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema)) if args.ema else None
        if average:
            trainer.register_hooks([CallbackHook(after_step=lambda _: average.update_parameters(model))])
        if args.distil:
            Teacher(trainer, space)
        trainer.train(0, args.iterations)
        torch.save({"model": (average.module if average else model).state_dict()}, file)
        cfg.DATASETS.TEST = held_out
        evaluator = FamilyEvaluator(cfg, file)
        for name, children in zip(("the largest network", "smaller ones"), compared(space)):
            print(f"{name}: AP {statistics.mean(evaluator(child)['bbox/AP'] for child in children):.1f}")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--draw", choices=("uniform", "half", "suited", "late", "sandwich"), default="uniform")
    parser.add_argument("--ema", type=float, default=0.0, metavar="DECAY")
    parser.add_argument("--distil", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="output/family_training")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
