import errno
import hashlib
import os

import pytest

from zoo.errors import StorageError
from zoo.storage import TEMPORARY_PREFIX, sha256_of, write_file
from zoo.storage.atomic import append_line


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)]


def fail_after(monkeypatch, n_bytes, code=errno.ENOSPC):
    """A disk with so much room: writes are cut short, then refused."""
    room = n_bytes
    real = os.write

    def write(handle, data):
        nonlocal room
        if room == 0:
            raise OSError(code, os.strerror(code))
        done = real(handle, bytes(data)[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", write)


def test_a_file_is_written_with_its_folder_and_record(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    record = write_file(path, b"content", rows=3)
    assert path.read_bytes() == b"content"
    assert (record.sha256, record.bytes, record.rows) == (hashlib.sha256(b"content").hexdigest(), 7, 3)
    assert sha256_of(path) == record.sha256
    assert leftovers(tmp_path) == []


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:3]))
    assert write_file(tmp_path / "file", b"0123456789").bytes == 10
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch, code):
    path = tmp_path / "file"
    write_file(path, b"old")
    fail_after(monkeypatch, 4, code)
    with pytest.raises(StorageError, match=r"no room to write .*file \(8 bytes\).*free some space and run"):
        write_file(path, b"new bits")
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_refused_rename_keeps_the_old_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*file: .*check the folder and its permissions"):
        write_file(tmp_path / "file", b"new")
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write .*file/below: File exists"):
        write_file(tmp_path / "file" / "below", b"x")


def test_a_write_that_reports_success_but_lies_is_found_out(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, b"\0" * len(data)))
    with pytest.raises(StorageError, match=r"cannot write .*file: the bytes read back differ"):
        write_file(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


# lines


def test_lines_are_appended(tmp_path):
    path = tmp_path / "lines"
    append_line(path, b"one")
    append_line(path, b"two")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("torn", [b"tor", b"x" * 70_000])
def test_a_torn_tail_is_cut_off_before_the_next_line(tmp_path, torn):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + torn)
    append_line(path, b"two")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_that_is_one_torn_line_starts_anew(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 70_000)
    append_line(path, b"one")
    assert path.read_bytes() == b"one\n"


def test_a_line_that_found_no_room_is_repaired_by_the_next(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    append_line(path, b"one")
    with monkeypatch.context() as patch:
        fail_after(patch, 3)
        with pytest.raises(StorageError, match=r"no room to write .*lines"):
            append_line(path, b"twenty")
    append_line(path, b"two")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_line_for_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*No such file"):
        append_line(tmp_path / "no" / "lines", b"one")
