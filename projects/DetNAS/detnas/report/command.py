"""
Draws pictures and writes a report page from search logs. Pictures of archs need no log.

    python -m detnas.report FOLDER [FOLDER ...] --out FILE           best scores so far, all searches in one picture
    python -m detnas.report FOLDER [FOLDER ...] --figure top --out FILE    another picture (paper, Fig. 2)
    python -m detnas.report FOLDER [FOLDER ...] --html report.html   all pictures and tables in one page
    python -m detnas.report --archs NAME_OR_ARCH ... --out FILE      blocks of published networks, archs, yaml files
"""

import argparse

from tabulate import tabulate

from detnas.errors import UserError, user_errors
from detnas.search.log import read_log

from .archs import named_arch, plot_archs
from .curves import FIGURES
from .page import write_page
from .searches import search_labels
from .style import picture_format


def main(argv=None):
    """Run the command line; ``argv`` as in argparse. Wrong arguments end it with one sentence."""
    args = parser().parse_args(argv)
    with user_errors():
        _check(args)
        if args.archs:
            plot_archs(list(map(named_arch, args.archs)), args.out)
            return
        logs = {label: read_log(folder) for folder, label in search_labels(args.folders).items()}
        if args.out:
            FIGURES[args.figure or "best"](logs, args.out)
        if args.html:
            write_page(logs, args.html)
    rows = [[label, len(log.history()), log.best()[0].score if log.best() else None] for label, log in logs.items()]
    print(tabulate(rows, ["search", "candidates", "best"], floatfmt=".2f"))


def _check(args):
    if bool(args.folders) == bool(args.archs):
        raise UserError("give one of these: folders with a search.jsonl, --archs")
    if args.figure and not (args.folders and args.out):
        raise UserError("--figure goes with folders and --out FILE; --html has every picture")
    if args.archs and (args.html or not args.out):
        raise UserError("--archs needs --out FILE, and has no --html")
    if not (args.out or args.html):
        raise UserError("give --out FILE for a picture, --html FILE for a page, or both")
    if args.out:
        picture_format(args.out)


def parser():
    parser = argparse.ArgumentParser(
        prog="python -m detnas.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="with a search.jsonl; finished or not")
    parser.add_argument("--out", metavar="FILE", help="picture to write: .png, .svg or .pdf")
    parser.add_argument("--figure", choices=FIGURES, help="which picture of the searches; best without it")
    parser.add_argument("--html", metavar="FILE", help="report page to write; its pictures go beside it")
    parser.add_argument("--archs", nargs="+", metavar="NAME_OR_ARCH", help="draw these instead of searches")
    return parser
