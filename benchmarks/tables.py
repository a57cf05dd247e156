"""Shared by the benchmarks: timing in turns, and tables."""

import argparse
import os
import platform
import re
import statistics
import time
from pathlib import Path

import torch
from tabulate import tabulate


def now():
    """Seconds of a clock, read when the GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(functions, rounds):
    """Name -> median seconds of a function without arguments; each warms up once, then they run in turns."""
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
    """A command line; each benchmark adds its options."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


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


def show(text):
    """Print figures and the machine."""
    print(f"\n{text}\n\n{machine()}")
