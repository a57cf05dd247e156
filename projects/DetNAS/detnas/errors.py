"""What a user got wrong, and how a script ends after it; nothing here is slow to import."""

import contextlib
import errno
import sys


class UserError(ValueError):
    """What a user got wrong, in one sentence: what was given, what is allowed, where it came from."""


class UnreadableImage(UserError):
    """An image file that is damaged, or is not what its annotation says; the message is one sentence."""

    def __str__(self):
        # torch hands on what a data worker raised with the worker's traceback in front of it.
        return super().__str__().rpartition(f"{type(self).__name__}: ")[2].strip()


def escape_unknown(stream):
    """Let a text stream write names in other scripts than those of the locale: as escapes."""
    if hasattr(stream, "reconfigure") and not stream.closed:
        stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def user_errors():
    """
    End a script with one line and exit code 2 after a :class:`UserError`, and where the system refuses a file that the
    user named or has no room for it. Everything else is a bug, and keeps its traceback.
    """
    escape_unknown(sys.stdout), escape_unknown(sys.stderr)
    try:
        yield
    except UserError as e:
        # A config is wrong for all processes, an image for the one that reads it.
        _end(str(e), everywhere=isinstance(e, UnreadableImage))
    except OSError as e:
        if e.filename is None and e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(f"{e.filename}: {e.strerror}" if e.filename is not None else e.strerror)
    except ValueError as e:
        if "null byte" not in str(e):
            raise
        _end("a path has a character 0, which none can have")


def _end(message, everywhere=False):
    # Who has not imported it has started no other processes.
    comm = sys.modules.get("detectron2.utils.comm")
    if everywhere or comm is None or comm.is_main_process():
        print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
