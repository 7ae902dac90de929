"""The maker's journal: one fsynced line for each committed file; tables and manifest derive from it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from zoo.errors import FormatError, StorageError
from zoo.spec import FileRecord, Protocol, check_path, describe
from zoo.storage.atomic import append_line

JOURNAL = "journal.jsonl"
LOCK = ".writer.lock"


class Entry(BaseModel):
    """One committed file.

    Attributes:
        kind: What the file holds.
        path: Its path in the zoo.
        shard: The weight shard that it belongs to; its own path where it belongs to none.
        of: Digest of that shard when the file was made; missing for a weight shard.
        record: Size, digest and rows.
        protocol: Protocol of a measurement.
        protocol_id: Its id; of arrays that go with a measurement too.
        seconds: Wall time that its content took to make.
        retry: Whether the next run shall make the file again, since training raised an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["weights", "predictions", "measurement", "series", "labels", "refinement", "rule"]
    path: Annotated[str, AfterValidator(check_path)]
    shard: Annotated[str, AfterValidator(check_path)]
    record: FileRecord
    of: str | None = None
    protocol: Protocol | None = None
    protocol_id: str | None = None
    seconds: float = 0.0
    retry: bool = False


@dataclass(frozen=True)
class Journal:
    """What a journal says.

    Attributes:
        entries: The last entry of each path, in the order of these.
        size: Bytes of whole lines; a torn last line does not count.
    """

    entries: dict[str, Entry]
    size: int

    def of_kind(self, kind: str) -> list[Entry]:
        """List the entries of one kind.

        Args:
            kind: `weights`, `predictions`, `measurement`, `series`, `labels`, `refinement` or `rule`.

        Returns:
            The entries, by path.
        """
        return sorted((e for e in self.entries.values() if e.kind == kind), key=lambda e: e.path)


def read_journal(root: Path) -> Journal | None:
    """Read the journal of a zoo.

    Args:
        root: The zoo.

    Returns:
        The journal, or nothing where the zoo has none because it was published.

    Raises:
        FormatError: A line that is not the torn last one is broken.
    """
    path = root / JOURNAL
    if not path.exists():
        return None
    entries: dict[str, Entry] = {}
    size = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            raise FormatError(
                f"{path}, line {number} is no journal entry:\n{describe(error)}\n"
                "delete this line, then run the same generate command again: its file is made anew"
            ) from None
        enter(entries, entry)
        size += len(line)
    return Journal(entries, size)


def enter(entries: dict[str, Entry], entry: Entry) -> None:
    """Take an entry in, in place of what it replaces: the one of its path, or an earlier part of its metric.

    What is measured in parts is never written over: each time there is a new file with all of it, so that
    whoever is killed in between leaves the last one whole.

    Args:
        entries: Entry by path; changed.
        entry: A later entry.
    """
    entries.pop(entry.path, None)
    if entry.kind in {"measurement", "series"} and entry.protocol_id is not None:
        same = (entry.kind, entry.shard, entry.protocol_id)
        for path in [e.path for e in entries.values() if (e.kind, e.shard, e.protocol_id) == same]:
            del entries[path]
    entries[entry.path] = entry


def commit(root: Path, entry: Entry) -> None:
    """Write down that a file is whole and in place.

    Args:
        root: The zoo.
        entry: The file; a later entry of the same path replaces it.
    """
    append_line(root / JOURNAL, entry.model_dump_json(exclude_defaults=True).encode())


@contextmanager
def writer_lock(root: Path) -> Iterator[None]:
    """Keep a second writer out of a zoo; the lock goes with its process, however that ends.

    Args:
        root: The zoo.

    Yields:
        Nothing; the lock is held inside.

    Raises:
        StorageError: Another process is writing to this zoo, or the folder refuses the write.
    """
    try:
        lock = (root / LOCK).open("w")
    except OSError as error:
        raise StorageError(
            f"cannot write to {root}: {error.strerror}; expected the folder of a zoo, check its permissions"
        ) from None
    with lock as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another process is writing to {root}; wait until it ends, or choose another folder"
            ) from None
        yield
