"""Files that are written whole or not at all, checked JSON, and locks on output folders."""

import json
import os
import weakref

from iopath.common.file_io import g_pathmgr

from detnas.errors import UserError

#: types of a number in JSON, and a bound: :func:`fits` refuses numbers of this size and above
NUMBER, LARGEST = (int, float), 1e300
#: open lock files of this process
_locks = weakref.WeakSet()


def write_atomically(path_manager, file, write):
    """
    Write a file whole or not at all, even if the disk is full or the process is killed. ``write`` gets the open binary
    file. Remote files, such as ``s3://...``, are written directly.
    """
    if "://" in file:
        with path_manager.open(file, "wb") as f:
            write(f)
        return
    partial = f"{file}.partial"
    try:
        with path_manager.open(partial, "wb") as f:
            try:
                write(f)
            except RuntimeError as e:  # torch.save ends with one where a full disk or Ctrl-C has stopped it
                raise (e.__context__ or e) from None
            f.flush()
            os.fsync(f.fileno())  # else a crash of the machine can leave the new name without the content
        os.replace(partial, file)
    except OSError as e:
        if e.errno and e.filename is None:  # a full disk
            e.filename = file
        raise
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def absolute(file):
    """Absolute path of a local file, for a process with another working directory. Other names stay unchanged."""
    return os.path.abspath(file) if file and "://" not in file else file


def check_other_file(output, read):
    """Raise UserError if a script would write over the file that it reads."""
    if os.path.realpath(output) == os.path.realpath(read):
        raise UserError(f"{output} is the file that is read, which would be written over: give another output")


def read_text(file, path_manager):
    """Read a user's text file. Raises UserError if it is not UTF-8."""
    with path_manager.open(file, "rb") as f:
        try:
            return f.read().decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise UserError(f"{file} is no text in UTF-8: {e}") from None


def write_text(file, text, path_manager=g_pathmgr):
    """Write a text file by :func:`write_atomically`."""
    write_atomically(path_manager, file, lambda f: f.write(text.encode()))


def shipped_configs():
    """Folder of the project's configs: inside the installed package, or at the root of a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "configs")
    return installed if os.path.isdir(installed) else os.path.abspath(os.path.join(package, "../../../configs"))


def read_json(file, otherwise=None, form=object, path_manager=g_pathmgr):
    """Read our JSON, or ``otherwise`` without a file. Raises UserError if it is damaged or does not :func:`fits`."""
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
    Whether a JSON value has a form: a type or a tuple of types, [form] for a list, {key: form} for an object. A key
    that ends with "?" is optional. The key "" gives the form of all further keys. Numbers are below LARGEST.
    """
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, dict):
        known = {key.rstrip("?"): item for key, item in form.items()}
        return isinstance(value, dict) and all(key in value or not key or key.endswith("?") for key in form) and all(
            fits(item, known.get(key, known.get("", object))) for key, item in value.items()
        )
    if isinstance(value, bool):
        return form in (bool, object)  # no number, as Python has it
    return isinstance(value, form) and (not isinstance(value, (int, float)) or -LARGEST < value < LARGEST)


def lock_folder(folder, what):
    """
    Lock an output folder for ``what``, such as "training", until the returned file closes or the process ends. Returns
    None on Windows, for remote folders and on disks without locks. Raises UserError if the folder is locked, also by
    this process.
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
    except BlockingIOError:
        file.seek(0)
        holder = file.read() or what
        file.close()
        other = "another" if holder == what else "a"
        raise UserError(f"{other} {holder} is running in {folder}: give another OUTPUT_DIR, or wait for it") from None
    except OSError:  # a disk without locks
        file.close()
        return None
    file.truncate(0)
    file.write(what)
    file.flush()
    return file


def _close_locks():
    for file in list(_locks):
        file.close()


if hasattr(os, "register_at_fork"):  # else a data worker that outlives its killed process keeps the lock
    os.register_at_fork(after_in_child=_close_locks)
