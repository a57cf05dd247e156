"""The log of a search, ``search.jsonl``: a header, then a line per finished candidate or event; append-only."""

import bisect
import dataclasses
import json
import logging
import os

from iopath.common.file_io import g_pathmgr

from detnas.config.constraint import Constraint, format_cost
from detnas.errors import UserError
from detnas.files import NUMBER, fits, lock_folder

from .candidate import Candidate, by_score
from .method import read_space

#: key of the header that may differ when a search continues
VERSIONS = "versions"
#: forms of the lines
_MAYBE = (*NUMBER, type(None))
_HEADER = {"metric?": str, "objectives?": [str], "constraints?": [str], "population?": int, "initial?": {"": str},
           "versions?": dict}
_EVENT = {"event": str, "generation": int, "network?": str, "metrics?": {"": _MAYBE}}
_CANDIDATE = {"network": str, "generation?": int, "score?": _MAYBE, "metrics?": {"": _MAYBE},
              "costs?": {"": NUMBER}, "seconds?": NUMBER, "worker?": str, "tries?": int, "error?": (str, type(None)),
              "parents?": [str], "looks?": [{"images": int, "score": NUMBER}]}


class SearchLog:
    """
    Reads and writes ``search.jsonl`` in ``folder``. ``header`` holds the settings of the search; without it the log is
    only read, also while another process writes. A writer locks the folder until :meth:`close` or the process ends.

    Raises:
        UserError: if the log has other settings (the message names them), is damaged, or is missing and there is no
            header; or if another search, or a training, runs in the folder.
    """

    def __init__(self, folder, space, header=None):
        self.path, self.space = os.path.join(folder, "search.jsonl"), space
        self._candidates, self.events = {}, []
        self._ranked = []  # with a score, best first
        self._lock = lock_folder(folder, "search") if header is not None else None
        try:
            self._open(header)
        except BaseException:
            self.close()
            raise

    def _open(self, header):
        lines = self._read_lines(mend=header is not None)
        if header is not None and len(lines) == 1:
            self._truncate(0)  # no candidate depends on these settings
            lines = []
        if not lines:
            if header is None:
                raise UserError(f"{self.path} does not exist or is empty; search_net.py writes it")
            self.header = header
            self._append(header)
            return
        self.header = lines[0]
        if not fits(self.header, _HEADER):
            raise UserError(f"{self.path} is damaged: its first line is no header")
        if self.header.get("space") != self.space.name:
            raise UserError(
                f'{self.path} is a search of space "{self.header.get("space")}"; this one is of "{self.space.name}"'
            )
        if header is not None:
            self._check_header(json.loads(json.dumps(header)))
        for number, line in enumerate(lines[1:], 2):
            try:
                if not fits(line, _EVENT if "event" in line else _CANDIDATE):
                    raise ValueError("a value is of another kind")
                if "event" in line:
                    self.events.append(line)
                else:
                    self._add(self._read_candidate(line))
            except (TypeError, KeyError, ValueError) as e:
                raise UserError(f"{self.path} is damaged: line {number} is no candidate: {e}") from None

    def _add(self, candidate):
        before = self._candidates.get(candidate.network)
        if before is not None and before.score is not None:
            self._ranked.remove(before)
        self._candidates[candidate.network] = candidate
        if candidate.score is not None:
            bisect.insort(self._ranked, candidate, key=by_score)

    def _read_candidate(self, line):
        parents = tuple(self.space.parse(arch) for arch in line.get("parents", ()))
        known = {"network": self.space.parse(line["network"]), "looks": tuple(line.get("looks", ()))}
        return Candidate(**{**line, **known, "parents": parents})

    def _read_lines(self, mend):
        if not g_pathmgr.isfile(self.path):
            return []
        with g_pathmgr.open(self.path, "rb") as f:
            data = f.read()
        whole = data[: data.rfind(b"\n") + 1]  # a killed process may leave a line without an end
        if mend and len(whole) < len(data):
            self._truncate(len(whole))
        lines = []
        try:
            lines.extend(map(json.loads, whole.splitlines()))
        except (ValueError, RecursionError) as e:
            raise UserError(f"{self.path} is damaged: line {len(lines) + 1}: {getattr(e, 'msg', e)}") from None
        return lines

    def _truncate(self, size):
        with g_pathmgr.open(self.path, "rb+") as f:
            f.truncate(size)

    def _check_header(self, header):
        keys = sorted(header.keys() | self.header.keys())
        differences = {
            key: f"{key} was {self.header.get(key)!r} and is {header.get(key)!r}"
            for key in keys
            if self.header.get(key) != header.get(key)
        }
        if differences.pop(VERSIONS, None):
            logging.getLogger(__name__).warning(
                f"{self.path} was begun with {self.header.get(VERSIONS)}; this is {header.get(VERSIONS)}: scores may "
                "differ in the last digits."
            )
        if differences:
            raise UserError(
                f"{self.path} belongs to a search with other settings: {'; '.join(differences.values())}; "
                "give another OUTPUT_DIR, or remove the file"
            )

    def _append(self, record):
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with g_pathmgr.open(self.path, "ab", buffering=0) as f:
            end = f.seek(0, os.SEEK_END)
            try:
                while line:  # a full disk may take only a part
                    line = line[f.write(line) :]
                os.fsync(f.fileno())
            except OSError as e:
                f.truncate(end)
                raise UserError(
                    f"{self.path} cannot be written: {e.strerror}; the search stops, and goes on when it is started "
                    "again with room on the disk"
                ) from None

    def append(self, candidate):
        """Write a finished candidate to the disk before this returns; UserError if the disk does not take it."""
        arch = self.space.format
        archs = {"network": arch(candidate.network), "parents": [arch(parent) for parent in candidate.parents]}
        record = {**dataclasses.asdict(candidate), **archs}
        if not candidate.looks:
            del record["looks"]
        self._append(record)
        self._add(candidate)

    def append_event(self, event):
        """Write a dict for JSON as :meth:`append` does: "event" is its kind, "generation" the one that follows."""
        self._append(event)
        self.events.append(event)

    def close(self):
        """Unlock the folder, so that another search can write there."""
        if self._lock:
            self._lock.close()

    def __contains__(self, path):
        return path in self._candidates

    def __len__(self):
        return len(self._candidates)

    def get(self, path):
        return self._candidates[path]

    def history(self):
        return list(self._candidates.values())

    def pick(self, limit):
        """The best candidate within a constraint, or of all for "best"; UserError, with the nearest, if none is."""
        if limit == "best":
            if not self._ranked:
                raise UserError(f"{self.path} holds no finished candidate yet")
            return self._ranked[0]
        constraint = Constraint.parse(limit)
        known = [c for c in self._ranked if constraint.metric in c.costs]
        if not known:
            raise UserError(f"{self.path} holds no candidate with a score and a {constraint.metric}")
        nearest = min(known, key=lambda c: constraint.excess(c.costs[constraint.metric]))
        cost = nearest.costs[constraint.metric]
        if not constraint.allows(cost):
            raise UserError(f"{self.path} holds no candidate with {constraint}; the nearest, "
                            f"{self.space.format(nearest.network)}, has {format_cost(constraint.metric, cost)}")
        return nearest

    def best(self, count=1):
        """The best candidates, best first; None returns all with a score."""
        return self._ranked[:count]

    @property
    def known(self):
        """{path: name} of the paths that the first generation was given."""
        return {self.space.parse(arch): name for name, arch in self.header.get("initial", {}).items()}

    @property
    def failures(self):
        return [c for c in self._candidates.values() if c.score is None and not c.stopped]


def read_log(folder):
    """The log of a search, also while it runs; UserError if it is missing or damaged."""
    path = os.path.join(folder, "search.jsonl")
    if not g_pathmgr.isfile(path):
        raise UserError(f"{path} does not exist; search_net.py writes it")
    with g_pathmgr.open(path, "rb") as f:
        line = f.readline()
    try:
        space = read_space(json.loads(line))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise e if isinstance(e, UserError) else UserError(f"{path} is damaged: its first line is no header") from None
    return SearchLog(folder, space)
