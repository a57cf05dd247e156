"""Runs command lines, for the demo; and each only once, for studies, which go on where they were stopped."""

import json
import os
import re
import subprocess
import sys
import threading
import time

from detnas.files import lock_folder, write_text


class StepFailed(Exception):
    """A command line ended with an error."""


def run_step(arguments, log, say, threads=1, pass_fds=()):
    """
    Run ``python ARGUMENTS``.

    Args:
        arguments: list of words.
        log: file to which the command and all its output are appended.
        say: called with the part of each line that tells how far a training or a search is.
        threads: of torch, unless OMP_NUM_THREADS says otherwise.
        pass_fds: open files that the process inherits.

    Returns:
        its seconds.

    Raises:
        StepFailed: if it ends with an error; names the log.
    """
    start = time.perf_counter()
    with open(log, "a") as file:
        file.write(f"\n$ python {' '.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            pass_fds=pass_fds,
        )
        for line in process.stdout:
            file.write(line)
            file.flush()
            progress = re.search(r"(iteration \d+/\d+ .*|generation \d+/\d+  candidate .*)", line)
            if progress:
                say(progress[1])
    if process.wait():
        raise StepFailed(f"failed; its output is in {log}")
    return time.perf_counter() - start


class Steps:
    """
    ``steps(name, *arguments)`` runs ``python ARGUMENTS``, unless the folder says that it is done.

    Args:
        folder: only one study can use it at a time.
        threads: of torch for each step.
        run: a function like :func:`run_step`.
        root: folder of the scripts and configs; where it lies does not make another command line.

    Raises:
        ValueError: if the folder is in use.
    """

    def __init__(self, folder, threads, run=run_step, root=""):
        self.folder, self.threads, self.run_one = folder, threads, run
        self.root = os.path.join(root, "")
        os.makedirs(os.path.join(folder, "log"), exist_ok=True)
        # The steps inherit it: one that outlives a killed study keeps the next study out.
        try:
            self.lock = lock_folder(folder, "study")
        except ValueError:
            raise ValueError(f"{folder} is in use by a study, or by a step of one that was killed") from None
        self.file = os.path.join(folder, "steps.json")
        self.done = read_json(self.file) if os.path.isfile(self.file) else {}
        self.mutex, self.ended = threading.Lock(), None

    def __call__(self, name, *arguments):
        """
        Run ``python ARGUMENTS``, unless it was done before.

        Raises:
            ValueError: if a step of this name was done with other arguments.
            StepFailed: if it ends with an error, or no more steps are to be run because another one did.
        """
        command = " ".join(arguments).replace(self.root, "")
        if name in self.done:
            before = self.done[name]["command"]
            if before != command:
                raise ValueError(f"{self.folder} holds another study; remove it or give another --output: "
                                 f"{name} was `python {before}` there and is `python {command}` now")
            return
        if self.ended:
            raise StepFailed(self.ended)
        print(f"{name} ...", flush=True)
        log = os.path.join(self.folder, "log", f"{name.replace(' ', '_')}.txt")
        last = time.perf_counter()

        def say(progress):
            nonlocal last
            if time.perf_counter() - last > 60:
                last = time.perf_counter()
                print(f"    {name}: {progress}", flush=True)

        try:
            seconds = self.run_one(list(arguments), log, say, self.threads, (self.lock.fileno(),))
        except StepFailed as e:
            self.end(f"{name} {e}")
            raise StepFailed(self.ended) from None
        with self.mutex:
            self.done[name] = {"command": command, "seconds": seconds}
            write_text(self.file, json.dumps(self.done, indent=1))
            print(f"{name}: done in {seconds:.0f} s ({len(self.done)} steps done)", flush=True)

    def end(self, reason):
        """Let no further step begin."""
        self.ended = self.ended or reason

    def close(self):
        """Let another study have the folder."""
        self.lock.close()


def read_json(file):
    with open(file) as f:
        return json.load(f)
