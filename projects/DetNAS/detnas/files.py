"""Files that are written whole or not at all, and locks on output folders."""

import json
import os
import weakref

from iopath.common.file_io import g_pathmgr

from detnas.errors import UserError

#: what JSON has for a number, and of one that is taken
NUMBER, LARGEST = (int, float), 1e300
#: open lock files of this process
_locks = weakref.WeakSet()


def write_atomically(path_manager, file, write):
    """
    Write a file so that it is never there in part, even if the disk is full or the process is killed.

    Args:
        path_manager: opens the file. A file that is not on a disk, such as ``s3://...``, is written directly.
        write: function of the open binary file.
    """
    if "://" in file:
        with path_manager.open(file, "wb") as f:
            write(f)
        return
    partial = f"{file}.partial"
    try:
        with path_manager.open(partial, "wb") as f:
            write(f)
            f.flush()
            # Else the machine could stop with the new name and without the content.
            os.fsync(f.fileno())
        os.replace(partial, file)
    except OSError as e:
        # A full disk does not say where it is.
        if e.errno and e.filename is None:
            e.filename = file
        raise
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def absolute(file):
    """A file of this machine by its whole path, for a process with another working directory; others as they are."""
    return os.path.abspath(file) if file and "://" not in file else file


def check_other_file(output, read):
    """UserError if what is written would be what is read."""
    if os.path.realpath(output) == os.path.realpath(read):
        raise UserError(f"{output} is the file that is read, which would be written over: give another output")


def read_text(file, path_manager):
    """The content of a user's text file, whatever the locale; UserError if it is not in UTF-8."""
    with path_manager.open(file, "rb") as f:
        try:
            return f.read().decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise UserError(f"{file} is no text in UTF-8: {e}") from None


def write_text(file, text, path_manager=g_pathmgr):
    """Write a text file, on this machine without a path manager, by :func:`write_atomically`."""
    write_atomically(path_manager, file, lambda f: f.write(text.encode()))


def shipped_configs():
    """The folder of the configs: of a wheel within the package, of a checkout beside the packages."""
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "configs")
    return installed if os.path.isdir(installed) else os.path.abspath(os.path.join(package, "../../../configs"))


def read_json(file, otherwise=None, form=object, path_manager=g_pathmgr):
    """
    The content of a file that this project writes; ``otherwise`` stands for one that is not there. UserError if it is
    damaged, or has not that form, see :func:`fits`.
    """
    if otherwise is not None and not path_manager.isfile(file):
        return otherwise
    try:
        with path_manager.open(file, "rb") as f:
            there = json.load(f)
        why = "" if there == otherwise or fits(there, form) else "or of another version of this program"
    except (ValueError, RecursionError) as e:
        why = f"no json: {e}"
    if why:
        raise UserError(f"{file} is damaged, {why}: remove it, or give another output folder")
    return there


def fits(value, form):
    """
    Whether a value out of JSON has a form.

    Args:
        form: a type, or several, where numbers are below LARGEST; [form] for a list; {key: form} for an object. Where a
            key ends with "?" it may be missing; other keys of the object have the form of the key "", if it is there.
    """
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, dict):
        known = {key.rstrip("?"): item for key, item in form.items()}
        return isinstance(value, dict) and all(key in value or not key or key.endswith("?") for key in form) and all(
            fits(item, known.get(key, known.get("", object))) for key, item in value.items()
        )
    return isinstance(value, form) and (not isinstance(value, (int, float)) or -LARGEST < value < LARGEST)


def lock_folder(folder, what):
    """
    Lock an output folder for ``what``, such as "training", until the returned file is closed or the process ends,
    however it ends. None where there are no locks; UserError if another process, or another file of this one, has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    if "://" in folder:
        return None
    os.makedirs(folder, exist_ok=True)
    file = open(os.path.join(folder, "run.lock"), "a+")
    _locks.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read() or what
        file.close()
        other = "another" if holder == what else "a"
        raise UserError(f"{other} {holder} is running in {folder}: give another OUTPUT_DIR, or wait for it") from None
    file.truncate(0)
    file.write(what)
    file.flush()
    return file


def _close_locks():
    for file in list(_locks):
        file.close()


# A data loader's worker that outlives a killed process would keep its lock.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks)
