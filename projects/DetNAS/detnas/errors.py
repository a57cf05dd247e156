"""Errors of users, and how scripts end after them. Imports fast."""

import contextlib
import errno
import sys


class UserError(ValueError):
    """A user's mistake, in one sentence: what was given, what is allowed, where it came from."""


class UnreadableImage(UserError):
    """An image file that is damaged or differs from its annotation. The message is one sentence."""

    def __str__(self):  # torch puts a data worker's traceback before the message
        return super().__str__().rpartition(f"{type(self).__name__}: ")[2].strip()


def escape_unknown(stream):
    """Make a text stream write characters that its encoding lacks as escapes."""
    if hasattr(stream, "reconfigure") and not stream.closed:
        stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def user_errors():
    """End a script with one line and exit code 2 after a UserError, a refused file or a full disk; bugs are raised."""
    escape_unknown(sys.stdout), escape_unknown(sys.stderr)
    try:
        yield
    except UserError as e:
        _end(str(e), everywhere=isinstance(e, UnreadableImage))  # only one process reads it
    except OSError as e:
        if e.filename is None and e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(f"{e.filename}: {e.strerror}" if e.filename is not None else e.strerror)
    except ValueError as e:
        if "null byte" not in str(e):
            raise
        _end("a path has a character 0, which none can have")


def _end(message, everywhere=False):
    comm = sys.modules.get("detectron2.utils.comm")  # without it there are no other processes
    if everywhere or comm is None or comm.is_main_process():
        print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
