"""Runs command lines, each only once, so that a demo, a study or a run goes on where it was stopped."""

import contextlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from typing import IO

from detnas.errors import UserError, user_errors
from detnas.files import NUMBER, lock_folder, read_json, write_text

#: begins a line that :class:`Steps` shows; ends the lines of a program among several
TOLD, ENDED = "* ", "has ended"
#: lines that are shown: perhaps a program's name, and its progress or a line that stays
_PROGRESS = re.compile(r"^(\w+: )?(?:.*?((?:iteration \d+/\d+|generation \d+/\d+  candidate) .*)|\* (.*)|has ended)$")
_ERROR = re.compile(r"[Ee]rror: ")
#: left out of the progress of several programs
_LESS = re.compile(r" \(.*?\)|  path \S+|  [\d.]+ img/s|  lr \S+|  \d+% of it[^|]*data")


class StepFailed(Exception):
    """A command line ended with an error."""


@contextlib.contextmanager
def goes_on_later():
    """End a script with one sentence if a step fails or Ctrl-C stops it."""
    try:
        yield
    except StepFailed as e:
        sys.exit(f"\n{e}. Start again to go on from here.")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Start again to go on.")


def run_step(arguments, log, say, threads=1, pass_fds=(), cpu=False) -> float:
    """
    Run ``python ARGUMENTS``, and return its seconds; StepFailed, which names the log, if it ends with an error.

    Args:
        log: file to which the command and its output are appended.
        say: called with a match of ``_PROGRESS`` for each line that is shown.
        threads: of torch, unless OMP_NUM_THREADS is set.
        pass_fds: open files that the process inherits.
        cpu: return CPU seconds, which other work changes less, of the process and those it waited for; not on Windows.
    """
    start, last, failed = time.perf_counter(), "no output", False
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"\n$ python {' '.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={"OMP_NUM_THREADS": str(threads), **os.environ}, pass_fds=pass_fds,
        )
        output: IO[str] = process.stdout  # type: ignore[assignment]
        try:
            for line in output:
                file.write(line)
                file.flush()
                if line.strip() and (not failed or _ERROR.search(line)):
                    last, failed = line.strip(), bool(_ERROR.search(line))
                if told := _PROGRESS.match(line.rstrip("\n")):
                    say(told)
        except (Exception, SystemExit):
            # A training saves a checkpoint when it is terminated.
            process.terminate()
            file.writelines(output)
            process.wait()
            raise
    if cpu:
        # Of this process alone: other steps may run beside it.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.wait():
        last = f"ended by signal {-process.returncode}" if process.returncode < 0 else last
        raise StepFailed(f"failed: {last.rstrip('.')}. Its output is in {log}")
    return usage.ru_utime + usage.ru_stime if cpu else time.perf_counter() - start


def call(function, words=None) -> None:
    """Call a function with words NAME=VALUE, several for a list; a UserError ends the program with one line."""
    values, parameters = {}, inspect.signature(function).parameters
    for name, _, value in (word.partition("=") for word in (sys.argv[1:] if words is None else words)):
        kind = parameters[name].annotation
        values[name] = [*values.get(name, []), value] if kind is list else kind(value)
    with user_errors():
        function(**values)


class _Display:
    """Shows the progress of a step: on a terminal in one line that changes, else in a line every ten seconds."""

    def __init__(self, name):
        self.name, self.on_terminal, self.shown, self.latest = name, sys.stdout.isatty(), 0.0, {}

    def __call__(self, told):
        program, progress, stays = told.groups(default="")
        if stays:
            self.keep(f"  {stays}")
        elif not progress:
            self.latest.pop(program, None)
        else:
            self.latest[program] = f"{program}{progress}"
            line = "  |  ".join(self.latest.values())
            line = f"  {self.name}: {_LESS.sub('', line) if program else line}"
            if self.on_terminal:
                print(f"\r{line[:shutil.get_terminal_size().columns - 1]}\033[K", end="", flush=True)
            elif time.perf_counter() - self.shown > 10:
                self.shown = time.perf_counter()
                print(line, flush=True)

    def keep(self, line):
        """Print a line that stays."""
        print(f"\r{line}\033[K" if self.on_terminal else line, flush=True)


class Steps:
    """
    Runs command lines once; a folder, of one process at a time, keeps which are done, and output in ``log/``.

    Args:
        threads: of torch for each step.
        run: a function like :func:`run_step`.
        root: folder of scripts and configs, which is cut out when command lines are compared.
        what, otherwise: for messages: "study" or "demo", and the advice if the folder holds another one.
    """

    def __init__(self, folder, threads, run=run_step, root="", what="study", otherwise="give another --output"):
        self.folder, self.threads, self.run_one, self.root = folder, threads, run, os.path.join(root, "")
        self.what, self.otherwise = what, otherwise
        os.makedirs(os.path.join(folder, "log"), exist_ok=True)
        try:
            # Steps inherit the lock: one that outlives a killed study keeps the next study out.
            self.lock = lock_folder(folder, what)
        except UserError:
            raise UserError(f"{folder} is in use by a {what}, or by a step of one that was killed") from None
        self.file = os.path.join(folder, "steps.json")
        try:
            #: name -> {"command", "seconds"} of the steps that are done
            self.done = read_json(self.file, {}, {"": {"command": str, "seconds": NUMBER}})
        except UserError:
            self.close()
            raise
        self.mutex, self.ended = threading.Lock(), None

    def __call__(self, name: str, *arguments: str) -> None:
        """
        Run ``python ARGUMENTS`` once. StepFailed if it or another step fails, UserError if it was another command.
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
        say = _Display(name)
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
            say.keep(f"  {name}: done in {seconds:.0f} s")

    def end(self, reason):
        """Begin no more steps."""
        self.ended = self.ended or reason

    def close(self):
        """Let another process use the folder."""
        if self.lock:
            self.lock.close()
