#!/usr/bin/env python
"""
Step 3 of DetNAS: find the best path of a supernet. An interrupted search continues when it is started again.

    python search_net.py --config-file CONFIG                   search; writes search.jsonl, best.yaml and best.pth
    python search_net.py --config-file CONFIG --num-gpus 8      the same on 8 GPUs; --cpu-processes 8 on CPUs
    python search_net.py --config-file CONFIG --eval-only       evaluate the best path of the log again
    python search_net.py --config-file CONFIG --arch ARCH       evaluate this one; both write evaluation.json
    python search_net.py --config-file CONFIG --best 10         what was found; also --list, --front, --csv FILE
    python search_net.py --config-file CONFIG --pick LIMIT      write the best path within LIMIT to OUTPUT_DIR/front
    python search_net.py --config-file CONFIG --report          writes report.html, also while the search runs

CONFIG trained the supernet. The weights are its model_final.pth, or MODEL.WEIGHTS if that is given here.
"""

from detnas.command_line import argument_parser  # isort: skip  # first: from here on Ctrl-C is told in a word
import elasticdet  # noqa: F401  it registers its keys and method
import pretrained  # noqa: F401  it registers the keys of timm's networks
import released  # noqa: F401  it registers detectors of the authors' code
import spnas  # noqa: F401  it registers its keys and methods
from detnas.commands.show import is_asked_for, show
from detnas.errors import user_errors


def main(args):
    if is_asked_for(args):
        with user_errors():
            return show(args)
    from detnas.commands.search import search  # not above: --help and tables should not wait for torch

    return search(args)


def parser():
    parser = argument_parser(__doc__)
    parser.add_argument("--arch", help="evaluate this arch, published network or best.yaml")
    parser.add_argument(
        "--no-recalibration", action="store_true", help="evaluate with the batch-norm statistics of the checkpoint"
    )
    parser.add_argument("--random-weights", action="store_true", help="search an untrained supernet")
    parser.add_argument(
        "--pick",
        metavar="LIMIT",
        help='leave files of the best candidate within a limit, such as "detector_latency_ms <= 20", or "best"',
    )
    parser.add_argument("--list", action="store_true", help="show every candidate of the log")
    parser.add_argument("--best", type=int, metavar="K", help="show the K best candidates of the log")
    parser.add_argument("--front", action="store_true", help="show the Pareto front of score and costs")
    parser.add_argument("--report", action="store_true", help="write report.html, a page with everything of the log")
    parser.add_argument("--csv", metavar="FILE", help="write what is shown, with all metrics, into a file")
    return parser


def run(argv=None):
    main(parser().parse_args(argv))


if __name__ == "__main__":
    run()
