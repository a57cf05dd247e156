"""What the benchmarks share: medians of turns, tables, and where these stand in docs/benchmarks.md."""

import argparse
import os
import platform
import re
import statistics
import time
from pathlib import Path

import torch
from tabulate import tabulate

DOC = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def now():
    """Seconds, when a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(functions, rounds):
    """
    Time functions side by side: each once to warm up, then all of them in turns.

    Args:
        functions: name -> function without arguments.

    Returns:
        dict: name -> median seconds.
    """
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def parser(description):
    """A command line with ``--write``; the benchmark adds what else it takes."""
    raw = argparse.RawDescriptionHelpFormatter
    return with_write(argparse.ArgumentParser(description=description, formatter_class=raw))


def with_write(parser):
    """``--write`` for a command line that has settings already, such as a config's."""
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    return parser


def table(rows, headers):
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def machine():
    """One line: processor, cores, threads, versions."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        name = found.group(1).strip() if found else name
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}; {versions}"


def publish(name, text, write, doc=DOC):
    """
    Print, and on demand put the text between the two comments of that name in docs/benchmarks.md.

    Raises:
        ValueError: if the page has no such place.
    """
    print(f"\n{text}\n{machine()}")
    if not write:
        return
    page = doc.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if begin not in page or end not in page:
        raise ValueError(f"{doc} has no place for {name}: it needs the lines {begin.strip()} and {end}")
    head, rest = page.split(begin, 1)
    tail = rest.split(end, 1)[1]
    doc.write_text(f"{head}{begin}\n{text}\n\n{machine()}\n\n{end}{tail}")
