"""
From annotated images to a detector, in the time there is.

    python tools/find_detector.py --train FOLDER --hours 2      an export of a labelling tool, a YOLO or VOC folder
    python tools/find_detector.py --train coco:train.json:images --test coco:test.json:images --hours 2
    python tools/find_detector.py --train voc:ROOT:trainval --hours 2 --plan      show the plan, and stop
    python tools/find_detector.py ... --limit "latency_ms <= 20"     only detectors as fast as that, on this machine
    python tools/find_detector.py ... --format onnx                  the detector as an ONNX file, too
    python tools/find_detector.py ... --backbone resnet18            this network of timm alone, pre-trained; no race

It looks at images, boxes and machine, prints a plan, and runs it: a few networks, from pre-trained and from random
weights, race on images that are held out; the best is trained for the rest of the time. Where a search is asked for, or
a limit needs one, it also trains a supernet, searches it and trains the winner, for as long in all, to see whether the
search paid. All is in the output folder: configs, weights, README.md with the results, sheet.png with boxes drawn.
Stopped or killed, the same command goes on.
"""

import argparse
import contextlib
import os
import signal
import sys
import time

from detnas.errors import UserError, user_errors

from .steps import goes_on_later, run_step


def main(argv=None, root: str = ".", measure=None, run=run_step) -> None:
    """``root`` is that of the project. A test gives others than what measures steps and what runs command lines."""
    start = time.monotonic()
    args = parser().parse_args(argv)
    with user_errors():
        if not args.hours > 0:
            raise UserError(f"--hours {args.hours:g}: it must be more than 0")
        # Slow to import: a mistake above should not wait for torch.
        print("Loading torch and Detectron2 ...", flush=True)
        from detnas.export.traced import require_onnx

        from . import decide
        from . import measure as here
        from . import outcome
        from .plan import Plan, Request
        from .run import Run

        if "onnx" in args.format:
            require_onnx("--format onnx")
        request = Request(args.train, args.test, args.hours, list(map(here.detector_limit, args.limit)),
                          list(dict.fromkeys(args.format)), args.search, args.backbone, args.weights, args.from_scratch,
                          args.seed)
        plan = Plan.read(args.output, request)
        if plan is None:
            print("Looking at the images; a search's steps are measured, for a minute or a few.", flush=True)
            plan = decide.make_plan(request, args.output, root, measure or here.measure,
                                    lambda: time.monotonic() - start)
        else:
            decide.check_data(plan, args.output)
            print(f"The plan is that of {args.output}; it goes on.", flush=True)
        going = Run(plan, args.output, root, run)
        with contextlib.closing(going.steps):
            print("\n".join([*plan.decisions, *decide.task_lines(plan, going.forecast())]))
            if args.plan:
                print("\nThe steps, each with a config of its own:")
                print("\n".join(f"    python {' '.join(going.command(step))}" for step in plan.steps))
                return
            going.all()
            print(f"\n{outcome.finish(going)}")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", required=True, metavar="DATA", help="a folder of images with boxes, or a name as in a config")
    add("--test", metavar="DATA", help="images for the final figures; by default held out of --train")
    add("--hours", type=float, required=True, help="of all, such as 2 or 0.5")
    add("--output", default=os.path.join("output", "found"), metavar="FOLDER")
    add("--plan", action="store_true", help="stop after the plan")
    add("--search", choices=("auto", "always", "never"), default="auto",
        help="auto: where it can pay by what was measured in docs/results.md")
    add("--backbone", default="", metavar="NAME",
        help="a network of timm, from pre-trained weights; nothing else is tried")
    add("--weights", default="", metavar="FILE", help="its pre-trained weights, as timm has them; by default from its "
                                                      "package or timm's hub")
    add("--from-scratch", action="store_true", help="random weights alone")
    add("--seed", type=int, default=0)
    add("--limit", action="append", default=[], metavar="LIMIT",
        help='on the cost of a network, such as "backbone_flops <= 20e6", or "latency_ms <= 20" of the exported '
             "detector on this machine; may be given several times")
    add("--format", action="append", default=[], choices=("onnx", "torchscript"),
        help="write the detector as such a file, too; may be given twice")
    return parser


def run_script(root):
    """The command as a script."""
    # The step that runs is told, too, and saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("\nStopped. Start again to go on."))
    with goes_on_later():
        main(root=root)


if __name__ == "__main__":
    run_script(os.getcwd())
