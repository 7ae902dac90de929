"""Arrays that took long to make, kept beside the files that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict

from zoo.datasets.files import replacing
from zoo.errors import StorageError
from zoo.storage import sha256_of, write_file

Pixels = UInt8[np.ndarray, "items channels height width"]


class _Record(BaseModel):
    """What is noted beside an array: what it was made from, and its own digest."""

    model_config = ConfigDict(extra="forbid")

    made_from: str
    sha256: str


def keep(path: Path, made_from: str, shape: tuple[int, ...], make: Callable[[], Pixels]) -> Pixels:
    """Read an array, or make it and keep it for the next time.

    Args:
        path: Where it is kept, as .npy; a record of the same name lies beside it.
        made_from: Digest of what it is made from. An array made from something else, or one that is damaged,
            is made again.
        shape: Its shape.
        make: Makes it.

    Returns:
        The array.
    """
    found = _read(path, made_from)
    if found is None or found.shape != shape:
        found = make()
        with suppress(StorageError):  # a folder that cannot be written costs time, not the data
            _write(path, made_from, found)
    return found


def _read(path: Path, made_from: str) -> Pixels | None:
    try:
        record = _Record.model_validate_json(path.with_suffix(".json").read_bytes())
        if record.made_from != made_from or record.sha256 != sha256_of(path):
            return None
        array: Pixels = np.load(path, allow_pickle=False)
    except (OSError, ValueError):  # pydantic's errors are ValueErrors too
        return None
    return array if array.dtype == np.uint8 else None


def _write(path: Path, made_from: str, array: Pixels) -> None:
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    # last, so that a record never stands beside an array that is not whole
    record = _Record(made_from=made_from, sha256=sha256_of(path))
    write_file(path.with_suffix(".json"), record.model_dump_json().encode())
