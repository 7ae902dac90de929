"""HDF5 shards: contiguous, unfiltered, written as one image of bytes, checked before they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from zoo.errors import FormatError, IntegrityError, UnsafeFileError
from zoo.spec import FORMAT_VERSION, FileRecord
from zoo.storage.atomic import write_file

ATTRIBUTES = {"format": "phasezoo", "format_version": str(FORMAT_VERSION)}
"""What every shard says of itself."""
MAX_TEXT = 60_000
"""Longest text attribute: HDF5 keeps attributes up to 64 KiB beside the object, as every reader expects."""


def write_shard(
    path: Path, arrays: Mapping[str, NDArray[np.generic]], *, text: Mapping[str, str], rows: int
) -> FileRecord:
    """Write a shard; equal content gives equal bytes.

    Args:
        path: The file.
        arrays: Dataset by name; numbers, or fixed-length bytes (`S`).
        text: Attribute of the file by name, ASCII.
        rows: Rows, for the record.

    Returns:
        Size and digest.

    Raises:
        FormatError: A text is longer than an attribute may be.
        StorageError: The disk is full, or the folder refuses the write.
    """
    for name, value in text.items():
        if len(value) > MAX_TEXT:
            raise FormatError(f"{path}: attribute {name} has {len(value)} characters, at most {MAX_TEXT} fit")
    # The image is made in memory: h5py reports success on writes that failed, os.write does not.
    with h5py.File("image", "w", driver="core", backing_store=False, libver=("earliest", "v110")) as file:
        for name, value in text.items():
            file.attrs.create(name, np.bytes_(value.encode("ascii")))
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        file.flush()
        image = file.id.get_file_image()
    return write_file(path, image, rows=rows)


@dataclass(frozen=True)
class Shard:
    """A shard that has passed the preflight.

    Attributes:
        path: The file.
        text: Its attributes.
        datasets: `(shape, dtype, offset in the file)` by name; the offset is missing where there is no row.
    """

    path: Path
    text: dict[str, str]
    datasets: dict[str, tuple[tuple[int, ...], np.dtype[np.generic], int | None]]

    def array(self, name: str) -> NDArray[np.generic]:
        """Map one dataset into memory, read-only.

        Args:
            name: Name of the dataset.

        Returns:
            The array; its pages are read when touched.

        Raises:
            FormatError: The shard has no such dataset.
        """
        if name not in self.datasets:
            raise FormatError(f"{self.path} has no dataset {name!r}, it has {', '.join(self.datasets)}")
        shape, dtype, offset = self.datasets[name]
        if offset is None:
            return np.empty(shape, dtype)
        return np.memmap(self.path, dtype=dtype, mode="r", offset=offset, shape=shape)


def open_shard(path: Path, record: FileRecord | None = None) -> Shard:
    """Look at a shard that anyone may have written, without reading its data.

    Args:
        path: The file.
        record: What the manifest says of it, if known.

    Returns:
        Its attributes, and where its datasets lie.

    Raises:
        IntegrityError: The file is missing, truncated or not HDF5.
        UnsafeFileError: It links to other places, declares more than it holds, or needs a filter.
    """
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; fetch the zoo again, or run the generate command again")
    size = path.stat().st_size
    if record is not None and size != record.bytes:
        raise IntegrityError(
            f"{path} is truncated or was replaced: the manifest promises {record.bytes:,} bytes, "
            f"it has {size:,}. Fetch the zoo again, or delete the file and run the generate command again"
        )
    try:
        with h5py.File(path, "r") as file:
            text = {name: _text(path, name, value) for name, value in file.attrs.items()}
            names = _hard_links(path, file)
            return Shard(path, text, {name: _preflight(path, file[name], size) for name in names})
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path} cannot be read as HDF5 ({error}); it is truncated or damaged. "
            "Fetch the zoo again, or delete the file and run the generate command again"
        ) from None


def _text(path: Path, name: str, value: object) -> str:
    if isinstance(value, np.bytes_):
        return value.decode("ascii", errors="replace")
    raise UnsafeFileError(f"{path}: attribute {name!r} is no fixed-length text; this is no shard of a zoo")


def _hard_links(path: Path, file: h5py.File) -> list[str]:
    names = list(file)
    for name in names:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise UnsafeFileError(f"{path}: {name!r} is a link to another place; this is no shard of a zoo")
    return names


def _preflight(
    path: Path, dataset: object, size: int
) -> tuple[tuple[int, ...], np.dtype[np.generic], int | None]:
    """Refuse whatever could make a reader open other files, allocate without bound, or run code."""
    if not isinstance(dataset, h5py.Dataset):
        raise UnsafeFileError(f"{path}: expected datasets alone, got a {type(dataset).__name__}")
    if dataset.external or dataset.is_virtual:
        raise UnsafeFileError(
            f"{path}: {dataset.name} keeps its data in other files; this is no shard of a zoo"
        )
    if dataset.dtype.kind not in "fiuS":
        raise UnsafeFileError(
            f"{path}: {dataset.name} has the type {dataset.dtype}, expected numbers or bytes"
        )
    if dataset.chunks is not None or dataset.id.get_create_plist().get_nfilters():
        raise UnsafeFileError(
            f"{path}: {dataset.name} is chunked or filtered, expected contiguous plain data"
        )
    offset = dataset.id.get_offset()
    if dataset.nbytes and (offset is None or offset + dataset.nbytes > size):
        raise UnsafeFileError(
            f"{path}: {dataset.name} declares {dataset.nbytes:,} bytes that the file does not hold"
        )
    return dataset.shape, dataset.dtype, offset if dataset.nbytes else None
