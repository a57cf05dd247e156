#!/usr/bin/env python
"""
From annotated images to a detector, in the time there is.

    python tools/find_detector.py --train coco:train.json:images --test coco:test.json:images --hours 2
    python tools/find_detector.py --train voc:ROOT:trainval --hours 2 --plan      show the plan, and stop
    python tools/find_detector.py ... --limit "latency_ms <= 20"     only detectors as fast as that, on this machine
    python tools/find_detector.py ... --format onnx                  the detector as an ONNX file, too
    python tools/find_detector.py ... --search always                             search even where it will hardly pay

It looks at images, boxes and machine, measures a step of a training and a candidate of a search, prints a plan, and
runs it: supernet, search, the winner's training, and a plain network trained for as long in all, to see whether the
search paid; where that is known not to pay, the plain network alone. All is in the output folder: configs, weights,
README.md with the results, sheet.png with boxes drawn. Stopped or killed, the same command goes on.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    # This file would be found in place of the package.
    sys.path.pop(0)

from detnas.errors import UserError, user_errors
from find_detector.steps import goes_on_later

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def measure(config_file, seconds, threads):
    """What :mod:`find_detector.measure` finds, in a process like those of the steps."""
    from detnas.files import read_json

    output = f"{config_file}.json"
    words = ["-m", "find_detector.measure", "--config-file", config_file, "--output", output, "--seconds", str(seconds)]
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"the training that was to be measured failed: {done.stderr.strip().splitlines()[-1]}")
    return read_json(output)


def check(args):
    """
    The arguments as a plan keeps them.

    Raises:
        UserError: naming the one that is wrong.
    """
    if not args.hours > 0:
        raise UserError(f"--hours {args.hours:g}: it must be more than 0")
    # Slow to import: a mistake above should not wait for torch.
    from detnas.export.traced import require_format
    from find_detector.limits import of_the_detector

    for form in args.format:
        require_format(form)
    return {
        "train": args.train, "test": args.test, "hours": args.hours, "limit": list(map(of_the_detector, args.limit)),
        "format": list(dict.fromkeys(args.format)), "compare": args.compare == "on", "search": args.search,
    }


def main(argv=None, measure=measure, **settings):
    args = parser().parse_args(argv)
    start = time.monotonic()
    with user_errors():
        arguments = check(args)
        from find_detector.outcome import finish
        from find_detector.plan import Plan
        from find_detector.planning import make_plan
        from find_detector.run import Run
        from find_detector.words import plan_lines

        plan = Plan.read(args.output, arguments)
        if plan is None:
            print("Looking at the images and measuring; a minute or a few.", flush=True)
            plan = make_plan(arguments, args.output, ROOT, measure, lambda: time.monotonic() - start)
        else:
            print(f"The plan is that of {args.output}; it goes on.", flush=True)
        run = Run(plan, args.output, ROOT, measure, **settings)
        with contextlib.closing(run.steps):
            print("\n".join(plan_lines(plan, run.forecast())))
            if args.plan:
                print("\nThe steps, each with a config of its own:")
                print("\n".join(f"    python {' '.join(run.command(step))}" for step in plan.steps))
                return
            run.all()
            print(f"\n{finish(run)}")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, metavar="DATA", help="coco:ANNOTATIONS.json:IMAGES or voc:ROOT:SPLIT")
    parser.add_argument("--test", metavar="DATA", help="images for the final figures; by default held out of --train")
    parser.add_argument("--hours", type=float, required=True, help="of all, such as 2 or 0.5")
    parser.add_argument("--output", default=os.path.join("output", "found"), metavar="FOLDER")
    parser.add_argument("--plan", action="store_true", help="stop after the plan")
    parser.add_argument("--search", choices=("auto", "always", "never"), default="auto",
                        help="auto: where it can pay by what was measured in docs/results.md")
    parser.add_argument("--compare", choices=("on", "off"), default="on",
                        help="off: no plain network beside the winner, which then has twice the time")
    parser.add_argument("--limit", action="append", default=[], metavar="LIMIT",
                        help='on the cost of a network, such as "backbone_flops <= 20e6", or "latency_ms <= 20" of the '
                             'exported detector on this machine; may be given several times')
    parser.add_argument("--format", action="append", default=[], choices=("onnx", "torchscript"),
                        help="write the detector as such a file, too; may be given twice")
    return parser


if __name__ == "__main__":
    # The step that runs is told, too, and saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("\nStopped. Start again to go on."))
    with goes_on_later():
        main()
