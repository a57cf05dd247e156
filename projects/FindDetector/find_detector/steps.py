"""Runs command lines, each only once, for whoever goes on where he was stopped: a demo, a study, a run."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from typing import IO

from detnas.errors import UserError
from detnas.files import lock_folder, read_json, write_text


class StepFailed(Exception):
    """A command line ended with an error."""


@contextlib.contextmanager
def goes_on_later():
    """End a script with one sentence where a step of it fails or Ctrl-C stops it."""
    try:
        yield
    except StepFailed as e:
        sys.exit(f"\n{e}. Start again to go on from here.")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Start again to go on.")


def run_step(arguments, log, say, threads=1, pass_fds=(), cpu=False) -> float:
    """
    Run ``python ARGUMENTS``, and return its seconds.

    Args:
        arguments: list of words.
        log: file to which the command and all its output are appended.
        say: called with the part of each line that tells how far a training or a search is.
        threads: of torch, unless OMP_NUM_THREADS says otherwise.
        pass_fds: open files that the process inherits.
        cpu: whether to count the seconds of a core, which other work on the machine changes less, and not those of the
            clock: of the process and of those that it waited for. Not on Windows.

    Raises:
        StepFailed: if it ends with an error; names the log.
    """
    start = time.perf_counter()
    with open(log, "a") as file:
        file.write(f"\n$ python {' '.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"OMP_NUM_THREADS": str(threads), **os.environ}, pass_fds=pass_fds,
        )
        output: IO[str] = process.stdout  # type: ignore[assignment]
        try:
            for line in output:
                file.write(line)
                file.flush()
                if progress := re.search(r"iteration \d+/\d+ .*|generation \d+/\d+  candidate .*", line):
                    say(progress[0])
        except (Exception, SystemExit):
            # This process is told to end; a training saves a checkpoint first.
            process.terminate()
            file.writelines(output)
            process.wait()
            raise
    if cpu:
        # Of this process alone: other steps may run beside it.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.wait():
        raise StepFailed(f"failed; its output is in {log}")
    return usage.ru_utime + usage.ru_stime if cpu else time.perf_counter() - start


class Steps:
    """
    Command lines that are run once; which of them were is kept in a folder, and their output in its ``log/``.

    Args:
        folder: only one process can use it at a time.
        threads: of torch for each step.
        run: a function like :func:`run_step`.
        root: folder of the scripts and configs; where it lies does not make another command line.
        what, otherwise: "study" or "demo", and what to do where the folder holds another one, for messages.
    """

    def __init__(self, folder, threads, run=run_step, root="", what="study", otherwise="give another --output"):
        self.folder, self.threads, self.run_one, self.root = folder, threads, run, os.path.join(root, "")
        self.what, self.otherwise = what, otherwise
        os.makedirs(os.path.join(folder, "log"), exist_ok=True)
        try:
            # The steps inherit it: one that outlives a killed study keeps the next study out.
            self.lock = lock_folder(folder, what)
        except UserError:
            raise UserError(f"{folder} is in use by a {what}, or by a step of one that was killed") from None
        self.file = os.path.join(folder, "steps.json")
        #: name -> {"command", "seconds"} of the steps that are done
        self.done = read_json(self.file, {})
        self.mutex, self.ended = threading.Lock(), None

    def __call__(self, name: str, *arguments: str) -> None:
        """
        Run ``python ARGUMENTS``, unless it was done before; tell what it says of its progress. StepFailed if it ends
        with an error, or no more steps are to be run because another one did.
        """
        command = " ".join(arguments).replace(self.root, "")
        if before := self.done.get(name):
            if before["command"] != command:
                raise UserError(f"{self.folder} holds another {self.what}; remove it or {self.otherwise}: "
                                f"{name} was `python {before['command']}` there and is `python {command}` now")
            print(f"\n{name}: done before, in {before['seconds']:.0f} s")
            return
        if self.ended:
            raise StepFailed(self.ended)
        print(f"\n{name}\n  $ python {command}", flush=True)
        on_terminal, shown = sys.stdout.isatty(), 0.0

        def say(progress):
            nonlocal shown
            # A terminal gets one line that changes, a file a line every ten seconds.
            if on_terminal or time.perf_counter() - shown > 10:
                shown = time.perf_counter()
                line = f"  {name}: {progress}"
                print(f"\r{line}\033[K" if on_terminal else f"{line}\n", end="", flush=True)

        log = os.path.join(self.folder, "log", f"{name.replace(' ', '_')}.txt")
        inherited = (self.lock.fileno(),) if self.lock else ()
        try:
            seconds = self.run_one(list(arguments), log, say, self.threads, inherited)
        except StepFailed as e:
            self.end(f"{name} {e}")
            raise StepFailed(self.ended) from None
        with self.mutex:
            self.done[name] = {"command": command, "seconds": seconds}
            write_text(self.file, json.dumps(self.done, indent=1))
            print(f"{chr(13) if on_terminal else ''}  {name}: done in {seconds:.0f} s", flush=True)

    def end(self, reason):
        """No step is begun from now on."""
        self.ended = self.ended or reason

    def close(self):
        """Let another one have the folder."""
        if self.lock:
            self.lock.close()
