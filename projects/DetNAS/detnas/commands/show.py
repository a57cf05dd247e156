"""``search_net.py --list`` and the like: show a log, finished or not, without weights or data."""

import ast
import os

from detnas.config.load import output_folder
from detnas.errors import UserError
from detnas.search.log import read_log
from detnas.search.tables import candidate_table, first_cost, pareto_front, to_beat, write_csv


def is_asked_for(args):
    """Whether the arguments only ask to show a log."""
    return args.report or args.list or args.best is not None or args.front or args.csv


def show(args):
    if args.best is not None and args.best < 1:
        raise UserError(f"--best {args.best}: at least 1 candidate can be shown")
    folder = output_folder(args.config_file, args.opts)  # the log says what was searched
    log = read_log(folder)
    chosen = log.history()
    if args.report:
        from detnas.report.page import write_page  # its pictures are slow to import

        file = os.path.join(folder, "report.html")
        write_page({os.path.basename(os.path.normpath(folder)): log}, file)
        print(f"Report of {len(log)} candidates: {file}")
        if not (args.list or args.best or args.front or args.csv):
            return log
    if args.best:
        chosen = log.best(args.best)
    elif args.front:
        chosen = _show_front(folder, log, dict(zip(args.opts[::2], args.opts[1::2])).get("SEARCH.OBJECTIVES"))
    print(candidate_table(log, chosen))
    if args.best and to_beat(log):
        print(f"\nTo beat: {to_beat(log)}")
    if args.csv:
        write_csv(log, chosen, args.csv)
    return log


def _show_front(folder, log, objectives):
    try:
        given = ast.literal_eval(objectives) if objectives else log.header.get("objectives") or ()
        costs = [str(cost) for cost in given] or first_cost(log)
    except (ValueError, SyntaxError, TypeError):
        raise UserError(f"SEARCH.OBJECTIVES {objectives} is no list of costs") from None
    chosen, file = pareto_front(log, costs), os.path.join(folder, "front.csv")
    write_csv(log, chosen, file)
    metric = log.header.get("metric", "score")
    print(f"Pareto front of {metric} and {', '.join(costs)}, also in {file}")
    return chosen
