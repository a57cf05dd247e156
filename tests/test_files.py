import errno
import fcntl
import io
import multiprocessing
import os
import time

import pytest
import torch
from iopath.common.file_io import PathHandler, PathManager, g_pathmgr

from detnas.errors import UserError
from detnas.files import check_other_file, lock_folder, read_text, write_atomically


def test_a_file_is_written_with_its_content_alone_in_its_folder(tmp_path):
    for content in (b"first", b"second"):
        write_atomically(PathManager(), str(tmp_path / "a.pth"), lambda f: f.write(content))
        assert (tmp_path / "a.pth").read_bytes() == content and os.listdir(tmp_path) == ["a.pth"]


def test_what_stood_there_stays_until_the_new_file_is_whole_and_on_the_disk(tmp_path, monkeypatch):
    file, order = tmp_path / "a.pth", []
    file.write_bytes(b"before")
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: order.append(("fsync", file.read_bytes())) or fsync(number))
    monkeypatch.setattr(os, "replace", lambda a, b: order.append(("replace", file.read_bytes())) or replace(a, b))
    path = str(file)
    write_atomically(PathManager(), path, lambda f: order.append(("write", file.read_bytes())) or f.write(b"after"))
    assert order == [("write", b"before"), ("fsync", b"before"), ("replace", b"before")]
    assert file.read_bytes() == b"after"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt("disk full")], ids=repr)
def test_a_writer_that_fails_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a.pth").write_bytes(b"before")

    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 500:
                raise error
            return super().write(data)

    def fail(f):
        f.write(b"half")
        torch.save({"weights": torch.zeros(1000)}, Full())  # ends with an error of its own

    with pytest.raises(type(error), match="disk full"):
        write_atomically(PathManager(), str(tmp_path / "a.pth"), fail)
    assert os.listdir(tmp_path) == ["a.pth"] and (tmp_path / "a.pth").read_bytes() == b"before"


def test_a_path_that_cannot_be_renamed_is_written_as_it_is(tmp_path):
    class Store(PathHandler):
        def _get_supported_prefixes(self):
            return ["store://"]

        def _open(self, path, mode="r", buffering=-1, **kwargs):
            opened.append(path)
            return open(tmp_path / "stored", mode)

    opened, manager = [], PathManager()
    manager.register_handler(Store())
    write_atomically(manager, "store://folder/a.pth", lambda f: f.write(b"content"))
    assert opened == ["store://folder/a.pth"] and (tmp_path / "stored").read_bytes() == b"content"


@pytest.mark.parametrize("first, second, words", [
    ("training", "training", "another training is running in"),
    ("search", "search", "another search is running in"),
    ("training", "search", "a training is running in"),
    ("search", "training", "a search is running in"),
])
def test_who_comes_second_is_told_who_is_there(tmp_path, first, second, words):
    lock = lock_folder(str(tmp_path), first)
    with pytest.raises(ValueError, match=f"^{words} {tmp_path}: give another OUTPUT_DIR, or wait for it$"):
        lock_folder(str(tmp_path), second)
    lock.close()
    lock_folder(str(tmp_path), second).close()


def test_a_killed_process_leaves_no_lock(tmp_path):
    def hold():
        lock = lock_folder(str(tmp_path), "training")
        ready.set()
        time.sleep(60)
        lock.close()

    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    process = fork.Process(target=hold)
    process.start()
    assert ready.wait(30)
    with pytest.raises(ValueError, match="another training is running"):
        lock_folder(str(tmp_path), "training")
    process.kill()
    process.join()
    lock_folder(str(tmp_path), "training").close()


def test_a_folder_that_is_no_place_on_a_disk_or_whose_disk_has_no_locks_is_not_locked(tmp_path, monkeypatch):
    assert lock_folder("store://folder", "training") is None

    def cannot(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", cannot)
    assert lock_folder(str(tmp_path), "training") is None


def test_a_text_is_read_in_utf8_whatever_the_locale_and_another_encoding_is_told(tmp_path):
    file = str(tmp_path / "names.txt")
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "names.txt").write_text("細胞", encoding=encoding)
        assert read_text(file, g_pathmgr) == "細胞"
    (tmp_path / "names.txt").write_text("Löwe", encoding="latin-1")
    with pytest.raises(UserError, match="names.txt is no text in UTF-8: "):
        read_text(file, g_pathmgr)


def test_a_file_that_is_read_is_not_written_over_under_whatever_name(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a.pth")
    check_other_file(str(tmp_path / "b.pth"), str(tmp_path / "a.pth"))
    for name in ("a.pth", "link", "../" + tmp_path.name + "/a.pth"):
        with pytest.raises(UserError, match="is the file that is read, which would be written over"):
            check_other_file(str(tmp_path / name), str(tmp_path / "a.pth"))
