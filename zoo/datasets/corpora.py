"""Where a text lies: a folder of files, one file, or the King James Version that Debian packages."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from zoo.datasets.folders import data_folder
from zoo.errors import DataMissingError, FormatError, IntegrityError
from zoo.storage.atomic import write_file

KJV_SHA256 = "b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d"
"""Digest of the text that Debian's bible-kjv 4.38 has, one verse a line, without its references."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_REFERENCE = re.compile(rb"^\w+:\d+ ", re.MULTILINE)
_SECONDS = 60


class Corpus(NamedTuple):
    """A text.

    Attributes:
        name: As the recipe names it.
        files: Its files, in the order in which they are the text.
        licence: Licence of the text.
        source: Where it comes from.
    """

    name: str
    files: tuple[Path, ...]
    licence: str
    source: str


def find_corpus(name: str) -> Corpus:
    """Find a text.

    Args:
        name: `kjv`; a folder or a file below `text` in the folder of the data; or, with a `/` in it or where
            it is no plain name, a path.

    Returns:
        All files `*.txt` that lie in the folder itself, sorted by name; of `kjv` the one file, which is made
        where it is missing.

    Raises:
        DataMissingError: Nothing is there, or the folder has no text.
        IntegrityError: The text of `kjv` is not the expected one.
        StorageError: The text of `kjv` cannot be written.
    """
    if name == "kjv":
        return Corpus(
            name,
            (_kjv(),),
            licence="public domain, but for printing in the United Kingdom",
            source="King James Version, 1611, from Debian's package bible-kjv",
        )
    try:
        path = data_folder() / "text" / name if _NAME.fullmatch(name) else Path(name).expanduser()
        files = _files(path)
    except (OSError, RuntimeError) as error:  # too long a name, a forbidden folder; no such user after the ~
        raise DataMissingError(f"cannot look for a text at {name!r}: {error}; give corpus: a path") from error
    return Corpus(name, files, licence="unknown", source=f"the text files of {name}")


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise DataMissingError(
            f"there is no text at {path}; put files *.txt into this folder, or give corpus: a path, "
            "such as ./name"
        )
    files = sorted(found for found in path.glob("*.txt") if not found.is_dir())
    if not files:
        raise DataMissingError(f"the folder {path} has no file *.txt; put the text there, in UTF-8")
    return tuple(files)


def read_text(path: Path) -> bytes:
    """Read a file of a text.

    Args:
        path: The file.

    Returns:
        Its bytes, at least one.

    Raises:
        DataMissingError: It cannot be read.
        FormatError: It is empty, or it is no text.
    """
    if not path.is_file():  # a link to nowhere, or a pipe, which would wait for ever
        raise DataMissingError(f"{path} is listed but is no file; remove it, or put the text there")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataMissingError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    if not data:
        raise FormatError(f"the file {path} is empty; remove it, or put the text there")
    if b"\0" in data:
        raise FormatError(
            f"the file {path} is no text in UTF-8: byte {data.index(0)} is zero; convert it, or remove it"
        )
    return data


def _kjv() -> Path:
    path = data_folder() / "text" / "kjv" / "kjv.txt"
    made = None if path.exists() else _printed(path)
    found = hashlib.sha256(read_text(path) if made is None else made).hexdigest()
    if found != KJV_SHA256:
        origin = f"{path} has" if made is None else "the command bible prints"
        raise IntegrityError(
            f"{origin} another text than Debian's bible-kjv 4.38: its sha256 should be {KJV_SHA256}, it is "
            f"{found}; remove the file and install that package, or use the text under another name"
        )
    if made is not None:
        write_file(path, made)
    return path


def _printed(path: Path) -> bytes:
    """Have Debian's command print the whole text; its references, such as `Ge1:1`, are taken off."""
    way_out = f"run apt-get install bible-kjv, or put the text, one verse a line, at {path}"
    program = shutil.which("bible")
    if program is None:
        raise DataMissingError(f"corpus: kjv needs Debian's command bible, which is not here; {way_out}")
    command = [program, "-f", "gen1:1-rev22:21"]
    try:
        # from the root, since the command looks for its data in the current folder first
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_SECONDS, cwd="/"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataMissingError(f"{' '.join(command)} failed: {error}; {way_out}") from error
    return _REFERENCE.sub(b"", done.stdout)
