import hashlib
import os
import shutil

import pytest

from zoo.datasets import corpora
from zoo.datasets.corpora import find_corpus, read_text
from zoo.errors import DataMissingError, FormatError, IntegrityError

VERSES = b"In the beginning God created the heaven and the earth.\nAmen.\n"


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def fill(folder, **files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content, "utf-8")
    return folder


# folders and files


def test_a_name_is_a_folder_below_the_data(data):
    fill(data / "text" / "tales", b="2", a="1", c="3")
    (data / "text" / "tales" / "notes.md").write_text("no text")
    (data / "text" / "tales" / "old.txt").mkdir()
    found = find_corpus("tales")
    assert [path.name for path in found.files] == ["a.txt", "b.txt", "c.txt"]
    assert (found.licence, found.source) == ("unknown", "the text files of tales")


def test_a_path_is_a_folder_or_a_file(data, tmp_path, monkeypatch):
    folder = fill(tmp_path / "mine", a="1", b="2")
    assert find_corpus(str(folder)).files == (folder / "a.txt", folder / "b.txt")
    assert find_corpus(str(folder / "b.txt")).files == (folder / "b.txt",)
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find_corpus("./mine").files] == ["a.txt", "b.txt"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [path.name for path in find_corpus("~/mine").files] == ["a.txt", "b.txt"]


def test_an_unknown_corpus_says_where_it_should_be(data):
    with pytest.raises(DataMissingError, match=r"no text at .*/data/text/tales; put files \*\.txt into this"):
        find_corpus("tales")


def test_a_folder_without_text_is_refused(data):
    (fill(data / "text" / "tales") / "notes.md").write_text("no text")
    with pytest.raises(
        DataMissingError, match=r"the folder .*/tales has no file \*\.txt; put the text there"
    ):
        find_corpus("tales")


@pytest.mark.parametrize("name", ["./" + "x" * 300, "~nobody-of-this-name/text"])
def test_a_path_that_cannot_be_looked_at_is_refused(data, name):
    with pytest.raises(DataMissingError, match=r"cannot look for a text at '.*; give corpus: a path"):
        find_corpus(name)


# reading


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(FormatError, match=r"a\.txt is empty; remove it, or put the text there"):
        read_text(tmp_path / "a.txt")


def test_a_file_with_zeros_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes("Amen".encode("utf-16-le"))
    with pytest.raises(FormatError, match=r"a\.txt is no text in UTF-8: byte 1 is zero; convert it"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("kind", ["link to nowhere", "link to itself", "pipe"])
def test_what_is_no_file_is_refused(data, kind):
    path = fill(data / "text" / "tales") / "a.txt"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else data / "nowhere")
    assert find_corpus("tales").files == (path,)
    with pytest.raises(DataMissingError, match=r"a\.txt is listed but is no file; remove it"):
        read_text(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("Amen")
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DataMissingError, match=r"cannot read .*a\.txt: Permission denied; check its perm"):
        read_text(tmp_path / "a.txt")


# the King James Version


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Stand in for Debian's command; `write` says what it does."""
    path = tmp_path / "bin" / "bible"
    path.parent.mkdir()

    def write(script):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(corpora, "KJV_SHA256", hashlib.sha256(VERSES).hexdigest())
    return write


PRINTS = r"printf 'Ge1:1 In the beginning God created the heaven and the earth.\n1Jn22:21 Amen.\n'"


def test_kjv_is_printed_once_without_its_references(data, program):
    program(f'test "$*" = "-f gen1:1-rev22:21" && test "$PWD" = / && {PRINTS}')
    found = find_corpus("kjv")
    assert found.files == (data / "text" / "kjv" / "kjv.txt",)
    assert found.files[0].read_bytes() == VERSES
    assert found.licence.startswith("public domain")
    assert [path.name for path in found.files[0].parent.iterdir()] == ["kjv.txt"]
    program("exit 3")  # nobody asks it again
    assert find_corpus("kjv") == found


def test_kjv_without_the_command_says_how_to_get_it(data, program):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(data))
        with pytest.raises(DataMissingError, match=r"apt-get install bible-kjv, or put .*/text/kjv/kjv\.txt"):
            find_corpus("kjv")


def test_a_command_that_fails_says_how_to_get_the_text(data, program):
    program("exit 3")
    with pytest.raises(DataMissingError, match=r"failed: .*exit status 3.*; run apt-get install bible-kjv"):
        find_corpus("kjv")


def test_a_command_that_hangs_is_ended(data, program, monkeypatch):
    program("exec sleep 60")
    monkeypatch.setattr(corpora, "_SECONDS", 0.1)
    with pytest.raises(DataMissingError, match=r"failed: .*timed out after 0\.1 seconds; run apt-get"):
        find_corpus("kjv")


def test_another_text_is_not_kept(data, program):
    program("echo Ge1:1 In the beginning was the Word.")
    with pytest.raises(IntegrityError, match=r"the command bible prints another text .*sha256 should be"):
        find_corpus("kjv")
    assert not data.exists()


def test_a_changed_text_is_noticed(data, program):
    fill(data / "text" / "kjv", kjv="In the beginning was the Word.\n")
    with pytest.raises(IntegrityError, match=r"kjv\.txt has another text .*remove the file"):
        find_corpus("kjv")


@pytest.mark.skipif(shutil.which("bible") is None, reason="Debian's bible-kjv is not installed")
def test_debians_text_is_the_pinned_one(data):
    lines = find_corpus("kjv").files[0].read_text("ascii").splitlines()
    assert len(lines) == 31102  # verses
    assert lines[0] == "In the beginning God created the heaven and the earth."
    assert lines[-1] == "The grace of our Lord Jesus Christ be with you all. Amen."
    assert "Jesus wept." in lines
