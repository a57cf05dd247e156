"""The history of a search: ``search.jsonl``, append-only, a header and one line per finished candidate."""

import dataclasses
import json
import os
from typing import Optional, Tuple

from iopath.common.file_io import g_pathmgr


@dataclasses.dataclass(frozen=True)
class Candidate:
    """
    A path with its results.

    Args:
        path: op indices.
        generation: in which it was proposed, from 0.
        score: the fitness, higher is better, AP in 0..100; None if the evaluation failed.
        metrics: all results by name, None for those that could not be computed.
        costs: "backbone_flops" (multiply-adds) and "backbone_params".
        seconds: what its evaluation took.
        error: what went wrong, or None.
    """

    path: Tuple[int, ...]
    generation: int = 0
    score: Optional[float] = None
    metrics: dict = dataclasses.field(default_factory=dict)
    costs: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    error: Optional[str] = None


def by_score(candidate):
    """Sort key, best first; paths break ties, so that the order in which workers finish does not matter."""
    return (-candidate.score, candidate.path)


class SearchLog:
    """
    Reads and writes the log of one search.

    Args:
        folder: where ``search.jsonl`` lies or will lie.
        space: the :class:`detnas.space.SearchSpace`.
        header: the settings of the search; None to read a log as it is.

    Raises:
        ValueError: if the log there was written with other settings; they are named.
        FileNotFoundError: if there is no log and no header.
    """

    def __init__(self, folder, space, header=None):
        self.path = os.path.join(folder, "search.jsonl")
        self.space = space
        self._candidates = {}
        lines = self._read_lines()
        if not lines:
            if header is None:
                raise FileNotFoundError(f"{self.path} does not exist or is empty; search_net.py writes it")
            self.header = header
            self._append(header)
            return
        self.header = lines[0]
        if self.header.get("space") != space.name:
            raise ValueError(
                f'{self.path} is a search of space "{self.header.get("space")}"; this one is of "{space.name}"'
            )
        if header is not None:
            self._check_header(json.loads(json.dumps(header)))
        for number, line in enumerate(lines[1:], 2):
            try:
                candidate = Candidate(**{**line, "path": space.parse(line["path"])})
            except (TypeError, KeyError, ValueError, AttributeError) as e:
                raise ValueError(f"{self.path} is damaged: line {number} is no candidate: {e}") from None
            self._candidates[candidate.path] = candidate

    def _read_lines(self):
        if not g_pathmgr.isfile(self.path):
            return []
        with g_pathmgr.open(self.path, "rb") as f:
            data = f.read()
        # A process that was killed while writing leaves a line without an end.
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with g_pathmgr.open(self.path, "rb+") as f:
                f.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except json.JSONDecodeError as e:
            raise ValueError(f"{self.path} is damaged: {e}") from None

    def _check_header(self, header):
        keys = sorted(header.keys() | self.header.keys())
        differences = [
            f"{key} was {self.header.get(key)!r} and is {header.get(key)!r}"
            for key in keys
            if self.header.get(key) != header.get(key)
        ]
        if differences:
            raise ValueError(
                f"{self.path} belongs to a search with other settings: {'; '.join(differences)}; "
                "give another OUTPUT_DIR, or remove the file"
            )

    def _append(self, record):
        with g_pathmgr.open(self.path, "a") as f:
            f.write(json.dumps(record, allow_nan=False) + "\n")
            f.flush()
            os.fsync(f.fileno())

    def append(self, candidate):
        """Write a finished candidate to the disk; it counts once this returns."""
        self._append({**dataclasses.asdict(candidate), "path": self.space.format(candidate.path)})
        self._candidates[candidate.path] = candidate

    def __contains__(self, path):
        return path in self._candidates

    def history(self):
        """All finished candidates, in the order in which they were written."""
        return list(self._candidates.values())

    def best(self, count=1):
        """The best candidates, best first."""
        return sorted((c for c in self.history() if c.score is not None), key=by_score)[:count]
