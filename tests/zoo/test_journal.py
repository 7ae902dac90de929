import subprocess
import sys

import pytest

from zoo.errors import FormatError, StorageError
from zoo.spec import FileRecord
from zoo.storage import JOURNAL, LOCK, Entry, commit, read_journal, writer_lock

HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "w")
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def entry(name, *, seconds=0.0, kind="weights"):
    path = f"weights/{name}.h5"
    record = FileRecord(sha256="0" * 64, bytes=1)
    return Entry(kind=kind, path=path, shard=path, record=record, seconds=seconds)


def test_a_zoo_without_a_journal_was_published(tmp_path):
    assert read_journal(tmp_path) is None


def test_entries_come_back_by_path_and_the_last_one_counts(tmp_path):
    for written in (entry("b"), entry("a"), entry("b", seconds=2.0)):
        commit(tmp_path, written)
    journal = read_journal(tmp_path)
    assert journal.entries == {"weights/b.h5": entry("b", seconds=2.0), "weights/a.h5": entry("a")}
    assert [e.path for e in journal.of_kind("weights")] == ["weights/a.h5", "weights/b.h5"]
    assert journal.of_kind("measurement") == []
    assert journal.size == (tmp_path / JOURNAL).stat().st_size


def test_a_torn_last_line_does_not_count(tmp_path):
    commit(tmp_path, entry("a"))
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + whole[:-1])
    journal = read_journal(tmp_path)
    assert list(journal.entries) == ["weights/a.h5"]
    assert journal.size == len(whole)


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b"", b'{"kind": "weights", "path": "a", "shard": "a"}'])
def test_a_broken_line_in_the_middle_is_an_error_with_a_way_out(tmp_path, line):
    commit(tmp_path, entry("a"))
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(FormatError, match=r"line 2 is no journal entry:(.|\n)*delete this line, then run"):
        read_journal(tmp_path)


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(StorageError, match=r"another process is writing to .*; wait until it ends"),
            writer_lock(tmp_path),
        ):
            pass
        holder.communicate()
    with writer_lock(tmp_path), pytest.raises(StorageError, match=r"another process"), writer_lock(tmp_path):
        pass


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path):
    with (
        pytest.raises(
            StorageError, match=r"cannot write to .*no: No such file .* expected the folder of a zoo"
        ),
        writer_lock(tmp_path / "no"),
    ):
        pass
