"""Files that appear whole or not at all, and errors that say what to do about a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path

from zoo.errors import StorageError
from zoo.spec import FileRecord

TEMPORARY_PREFIX = ".tmp-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_file(path: Path, data: bytes, *, rows: int | None = None) -> FileRecord:
    """Write a file so that a crash at any moment leaves the old file or the new one.

    Temporary name in the same folder, write, fsync, reopen and compare, rename, fsync the folder.
    The comparison is there because a write can report success and still be wrong (a full disk below HDF5).

    Args:
        path: Where the file shall stand; its folder is made where missing.
        data: Its bytes.
        rows: Rows that it holds, for the record.

    Returns:
        Size and digest, for the manifest.

    Raises:
        StorageError: The disk is full, or the folder refuses the write; no temporary file is left.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_through(temporary, data)
        if temporary.read_bytes() != data:
            raise OSError(errno.EIO, "the bytes read back differ from those written")
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _explain(error, path, len(data)) from error
    finally:
        with suppress(OSError):  # gone by its new name, or never made: the first error is the one to tell
            temporary.unlink()
    return FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), rows=rows)


def append_line(path: Path, line: bytes) -> None:
    """Append one line and wait until it is on the disk; a torn last line is cut off first.

    Args:
        path: The file, made where missing.
        line: The line without its newline.

    Raises:
        StorageError: The disk is full, or the folder refuses the write.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            whole = _whole_lines(handle)
            os.ftruncate(handle, whole)
            os.lseek(handle, whole, os.SEEK_SET)
            _write_all(handle, line + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        _sync_folder(path.parent)
    except OSError as error:
        raise _explain(error, path, len(line)) from error


def _whole_lines(handle: int) -> int:
    """Find where the last complete line ends; what follows was cut by a crash."""
    end = os.lseek(handle, 0, os.SEEK_END)
    block = 1 << 16
    while end > 0:
        start = max(0, end - block)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write_through(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: OSError, path: Path, size: int) -> StorageError:
    if error.errno in _FULL:
        way_out = "free some space and run the same command again: everything committed so far is kept"
        return StorageError(f"no room to write {path} ({size:,} bytes): {error.strerror}; {way_out}")
    return StorageError(
        f"cannot write {path}: {error.strerror or error}; check the folder and its permissions"
    )


def sha256_of(path: Path) -> str:
    """Digest a file without holding it in memory.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
