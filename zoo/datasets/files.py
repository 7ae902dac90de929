"""Official files of datasets: found on this machine, else downloaded, and never used unchecked.

A file is looked for in its dataset's folder of `data_folder()`, then where a package of the system puts it.
What is not there is downloaded from its publisher over https, unless `PHASEZOO_OFFLINE=1` forbids that.

The digests are SHA-256. Publishers give MD5 or nothing: those of Fashion-MNIST were computed from Debian's
package, the others are those that several independent public libraries pin.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.error import URLError

from rich.console import Console
from rich.progress import Progress

from zoo.datasets.folders import data_folder
from zoo.errors import DataMissingError, IntegrityError, StorageError
from zoo.storage import TEMPORARY_PREFIX, sha256_of

_BLOCK = 1 << 20
_TIMEOUT = 30.0
"""Seconds that a server may stay silent."""
_SLACK = 1 << 16
"""Bytes by which a compressed file may be larger than what it holds; deflate needs far less."""


@dataclass(frozen=True)
class OfficialFile:
    """A file as its publisher offers it.

    Attributes:
        dataset: The dataset, and the folder of `data_folder()` that the file lies in.
        name: Name of the file.
        url: Where it is downloaded from.
        page: The page on which its publisher offers it.
        size: Its bytes.
        sha256: Digest of the file; where `unpacked` is given, of what it holds, since distributions compress
            it anew.
        unpacked: Bytes that a gzip file holds.
        elsewhere: Another folder where it may lie.
        way_out: Another way to get it, as the end of a sentence.
    """

    dataset: str
    name: str
    url: str
    page: str
    size: int
    sha256: str
    unpacked: int | None = None
    elsewhere: Path | None = None
    way_out: str = ""


def find(file: OfficialFile) -> Path | None:
    """Look for a file on this machine.

    Args:
        file: The file.

    Returns:
        Where it lies, not yet checked; nothing where it is missing.
    """
    folders = (data_folder() / file.dataset, file.elsewhere)
    places = (folder / file.name for folder in folders if folder is not None)
    return next((place for place in places if place.is_file()), None)


def obtain(file: OfficialFile) -> Path:
    """Find a file, or download it.

    Args:
        file: The file.

    Returns:
        Where it lies; what was found is not yet checked.

    Raises:
        DataMissingError: It is not here, and downloading is forbidden or did not work.
        IntegrityError: What came is not the official file.
        StorageError: It cannot be written.
    """
    place = find(file)
    if place is None:
        place = data_folder() / file.dataset / file.name
        download(file, place)
    return place


def check(file: OfficialFile, path: Path) -> None:
    """Refuse a file that is not byte for byte the official one.

    Args:
        file: The official file.
        path: The file at hand.

    Raises:
        IntegrityError: Its digest, or that of what it holds, is another one.
    """
    if file.unpacked is not None:
        unpacked(file, path)
    elif sha256_of(path) != file.sha256:
        raise _not_official(file, path)


def unpacked(file: OfficialFile, path: Path) -> bytes:
    """Read what a gzip file holds; memory stays within what the official file needs, whatever it claims.

    Args:
        file: The official file; its `unpacked` bounds what is read.
        path: The file at hand.

    Returns:
        Its content, checked.

    Raises:
        IntegrityError: The file is truncated, damaged, too long, or not the official one.
    """
    limit = file.unpacked or 0
    with path.open("rb") as handle:
        packed = handle.read(limit + _SLACK)
    unpacker = zlib.decompressobj(wbits=31)  # 31: a gzip header and checksum, nothing else
    try:
        content = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise IntegrityError(f"{path} is no whole gzip file ({error}); {_AGAIN}") from error
    if len(content) > limit:
        raise IntegrityError(f"{path} holds more than the {limit:,} bytes of the official file; {_AGAIN}")
    if not unpacker.eof:
        raise IntegrityError(f"{path} is truncated: {len(content):,} of {limit:,} bytes; {_AGAIN}")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _not_official(file, path)
    return content


_AGAIN = "delete it and fetch it again"


def _not_official(file: OfficialFile, path: Path) -> IntegrityError:
    return IntegrityError(f"{path} is not the official file: its SHA-256 is not {file.sha256}; {_AGAIN}")


def missing(file: OfficialFile, reason: str) -> DataMissingError:
    """Build the error for a file that cannot be had.

    Args:
        file: The file.
        reason: Why it was not downloaded.

    Returns:
        The error to raise; it says where to get the file and where to put it.
    """
    return DataMissingError(
        f"the dataset {file.dataset!r} needs {file.name} ({file.size:,} bytes), which is not on this machine "
        f"({reason}); get it from {file.page} and put it into {data_folder() / file.dataset}{file.way_out}"
    )


def download(file: OfficialFile, target: Path, *, schemes: frozenset[str] = frozenset({"https"})) -> None:
    """Download a file; it appears whole and checked, or not at all.

    Args:
        file: The file.
        target: Where it shall stand.
        schemes: Kinds of address that are followed, also where the server sends elsewhere.

    Raises:
        DataMissingError: `PHASEZOO_OFFLINE` forbids it, or the network or the server does not give it.
        IntegrityError: What came is too short, too long, or not the official file.
        StorageError: It cannot be written.
    """
    if os.environ.get("PHASEZOO_OFFLINE", "") not in {"", "0"}:
        raise missing(file, "PHASEZOO_OFFLINE forbids downloads")
    with replacing(target) as temporary:
        _receive(file, temporary, schemes)
        check(file, temporary)


def _receive(file: OfficialFile, path: Path, schemes: frozenset[str]) -> None:
    received = 0
    with path.open("wb") as handle, progress(f"download {file.name}", file.size) as bar:
        for block in _blocks(file, schemes):
            received += len(block)
            if received > file.size:
                raise IntegrityError(
                    f"{file.url} sends more than the {file.size:,} bytes of the official file; get it from "
                    f"{file.page}"
                )
            handle.write(block)
            bar.update(bar.task_ids[0], completed=received)
    if received < file.size:
        raise IntegrityError(
            f"the download of {file.url} was cut off after {received:,} of {file.size:,} bytes; run it again"
        )


def _blocks(file: OfficialFile, schemes: frozenset[str]) -> Iterator[bytes]:
    try:
        _follow(file.url, schemes)
        opener = urllib.request.build_opener(_Redirects(schemes))
        with opener.open(file.url, timeout=_TIMEOUT) as answer:
            while block := answer.read(_BLOCK):
                yield block
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise missing(file, f"downloading {file.url} failed: {error}") from error


def _follow(url: str, schemes: frozenset[str]) -> None:
    if url.partition(":")[0].lower() not in schemes:
        raise URLError(f"{url} is not {' or '.join(sorted(schemes))}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere, but never to a kind of address that is not allowed."""

    def __init__(self, schemes: frozenset[str]) -> None:
        self.schemes = schemes

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _follow(newurl, self.schemes)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own at the end, or vanishes.

    Args:
        target: Where the file shall stand; its folder is made where missing.

    Yields:
        The temporary name in the same folder.

    Raises:
        StorageError: The folder refuses it, or the disk is full.
    """
    temporary = target.parent / f"{TEMPORARY_PREFIX}{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}; free some space, or set PHASEZOO_DATA to a "
            "folder that can be written"
        ) from error
    finally:
        with suppress(OSError):  # gone by its new name, or never made: the first error is the one to tell
            temporary.unlink()


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """Show on a terminal how far long work is; elsewhere nothing.

    Args:
        what: What is being done.
        total: Its steps.

    Yields:
        The bar, with one task.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task(what, total=total)
        yield bar
