"""
Train detectors of every latency on a folder of annotated images, within a given time.

    find-detector FOLDER --hours 1                 an export of a labelling tool, a YOLO or VOC folder
    find-detector coco:train.json:images --test coco:test.json:images --hours 1
    find-detector FOLDER --hours 1 --plan          show the plan, and stop; --explain says more
    find-detector FOLDER --hours 1 --pick "latency_ms <= 20"     afterwards: the best one within that, without training

The command makes a plan from images, boxes and machine, and runs it. Networks with pre-trained and random weights race,
judged on held-out images. The best one is trained as a family of detectors, and as a plain detector for control. The
fastest to the best of both become ONNX files, and are tested and timed in each engine of this machine. README.md in the
output folder recommends one. Stopped or killed, the same command goes on.
"""

import argparse
import contextlib
import os
import signal
import sys
import time

from detnas.config.settings import RULES
from detnas.errors import UserError, user_errors

from .steps import Steps, goes_on_later, run_step

_MOST_HOURS = 10_000


def main(argv=None, run=run_step) -> None:
    """Run the command; ``run`` runs each step, and tests replace it."""
    start = time.monotonic()
    args = parser().parse_args(argv)
    with user_errors():
        if not 0 < args.hours <= _MOST_HOURS:
            raise UserError(f"--hours {args.hours:g}: it must be more than 0 and at most {_MOST_HOURS}")
        if not args.data:
            raise UserError("which images? Give a folder of images with boxes, such as find-detector FOLDER --hours 1")
        for option, key, value in (("device", "MODEL.DEVICE", args.device or "cpu"), ("seed", "SEED", args.seed),
                                   ("threads", "DATALOADER.NUM_WORKERS", args.threads)):
            if not RULES[key].holds(value):
                raise UserError(f"--{option} {value}: it must be {RULES[key].description}")
        # Steps inherit these variables.
        if args.device:
            os.environ.update(CUDA_VISIBLE_DEVICES=visible_devices(args.device))
        if args.threads:
            os.environ.update(OMP_NUM_THREADS=str(args.threads))
        # torch is slow to import: mistakes above are reported first.
        print("Loading torch and Detectron2 ...", flush=True)
        from detnas.config.constraint import Constraint
        from detnas.export.traced import require_onnx

        from . import decide, outcome
        from .plan import Plan, Request, claim
        from .recipe import this_machine
        from .run import Run

        if args.device.startswith("cuda") and not this_machine().gpu:
            raise UserError(f"--device {args.device}: torch finds no such GPU here")
        if args.pick:
            print(outcome.pick(args.output, args.pick))
            return
        require_onnx("find-detector")
        limits = list(map(outcome.full_name, args.limit))
        for limit in limits:
            Constraint.parse(limit)
        request = Request(args.data, args.test, args.hours, limits, args.backbone, args.weights, args.from_scratch,
                          args.device, args.threads, args.seed)
        claim(args.output)
        with contextlib.closing(Steps(args.output, 1, run, what="run")) as steps:
            plan = Plan.read(args.output, request)
            if plan is None:
                print("Looking at the images.", flush=True)
                plan = decide.make_plan(request, args.output, lambda: time.monotonic() - start)
            else:
                decide.check_data(plan, args.output)
                print(f"The run in {args.output} goes on with its plan.", flush=True)
            going = Run(plan, args.output, steps)
            print("\n".join([*plan.decisions, *decide.step_lines(plan, going.forecast())]))
            if args.explain:
                print("\n".join(["", *plan.details]))
            if args.plan:
                return
            going.all()
            print(f"\n{outcome.finish(going)}")


def visible_devices(device):
    """``CUDA_VISIBLE_DEVICES`` for one device, out of those that are visible now."""
    if device == "cpu":
        return ""
    number, visible = int(device.partition(":")[2] or 0), os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(number) if visible is None else dict(enumerate(visible.split(","))).get(number, "")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="find-detector", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", nargs="?", metavar="DATA", help="a folder of images with boxes, or a name as in a config")
    add("--test", metavar="DATA", help="images for the final figures; by default held out of DATA")
    add("--hours", type=float, required=True, help="of all, such as 2 or 0.5")
    add("--output", default=os.path.join("output", "found"), metavar="FOLDER")
    add("--plan", action="store_true", help="stop after the plan")
    add("--explain", action="store_true", help="say more of the plan")
    add("--pick", default="", metavar="LIMIT", help='of a run that has ended: "latency_ms <= 20", or "best"')
    add("--limit", action="append", default=[], metavar="LIMIT",
        help='only detectors within it, such as "latency_ms <= 20" on this machine; may be given several times')
    add("--backbone", default="", metavar="NAME",
        help="a network of timm, from pre-trained weights; nothing else is tried")
    add("--weights", default="", metavar="FILE", help="its pre-trained weights, as timm has them; by default from its "
                                                      "package or timm's hub")
    add("--from-scratch", action="store_true", help="random weights alone")
    add("--device", default="", help="cpu, cuda or cuda:N; by default a GPU where there is one")
    add("--threads", type=int, default=0, help="of each program; by default as many as help")
    add("--seed", type=int, default=0)
    return parser


def run_script() -> None:
    # The running step ends, too, and a training saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("\nStopped. Start again to go on."))
    with goes_on_later():
        main()


if __name__ == "__main__":
    run_script()
