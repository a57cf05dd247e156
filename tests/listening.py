"""Addresses on which the programs of a test listen, by Linux's /proc."""

import contextlib
import os
from pathlib import Path

#: ends of loopback addresses in /proc/net/tcp and tcp6
LOOPBACK = "0100007F", "0" * 24 + "01000000"


def listens_on():
    """Addresses on which this process and its descendants listen, as in /proc/net/tcp."""
    parents, ours, sockets = {}, [os.getpid()], set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    for process in ours:
        ours += [child for child, parent in parents.items() if parent == process]
        # A process may end meanwhile, or close a file.
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(file))
    lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()]
    return [line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
