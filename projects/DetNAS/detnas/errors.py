"""Ends a script with one line after a user's mistake; nothing here is slow to import."""

import contextlib
import sys
import traceback

#: modules whose ValueError, KeyError or FileNotFoundError is a check of user input
_OWN_MODULES = ("detnas", "spnas", "__main__", "train_net", "search_net", "export_model", "find_detector",
                "keep_matches", "predict")


class UnreadableImage(ValueError):
    """An image file that is damaged, or is not what its annotation says; the message is one sentence."""

    def __str__(self):
        # torch hands on what a data worker raised with the worker's traceback in front of it.
        return super().__str__().rpartition(f"{type(self).__name__}: ")[2].strip()


@contextlib.contextmanager
def user_errors():
    """Turn what a user got wrong, and our own checks found, into one line and exit code 2."""
    try:
        yield
    except (ValueError, KeyError, FileNotFoundError) as e:
        *_, (frame, _) = traceback.walk_tb(e.__traceback__)
        unreadable = isinstance(e, UnreadableImage)
        # What a library raises is not a checked mistake of the user but a bug here: that needs its traceback. But torch
        # raises what a data worker has raised.
        if frame.f_globals["__name__"].split(".")[0] not in _OWN_MODULES and not unreadable:
            raise
        # A config is wrong for all processes, an image for the one that reads it.
        if unreadable or _is_main_process():
            print(f"error: {e.args[0] if isinstance(e, KeyError) else e}", file=sys.stderr)
        sys.exit(2)


def _is_main_process():
    # Who has not imported it has started no others.
    comm = sys.modules.get("detectron2.utils.comm")
    return comm is None or comm.is_main_process()
