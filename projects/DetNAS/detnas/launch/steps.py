"""Command lines that run once each; a folder records which are done, so that a stopped study can go on."""

import fcntl
import json
import os
import threading
import time

from detnas.files import write_text

from .step_runner import StepFailed, run_step


class Steps:
    """
    ``steps(name, *arguments)`` runs ``python ARGUMENTS``, unless the folder says that it is done.

    Args:
        folder: only one study can use it at a time.
        threads: of torch for each step.
        run: a function like :func:`detnas.launch.step_runner.run_step`.
        root: folder of the scripts and configs; where it lies does not make another command line.

    Raises:
        ValueError: if the folder is in use.
    """

    def __init__(self, folder, threads, run=run_step, root=""):
        self.folder, self.threads, self.run_one = folder, threads, run
        self.root = os.path.join(root, "")
        os.makedirs(os.path.join(folder, "log"), exist_ok=True)
        # The steps inherit it: one that outlives a killed study keeps the next study out.
        self.lock = open(os.path.join(folder, "lock"), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
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
        """No step is begun from now on."""
        self.ended = self.ended or reason

    def close(self):
        """Let another study have the folder."""
        self.lock.close()


def read_json(file):
    with open(file) as f:
        return json.load(f)
