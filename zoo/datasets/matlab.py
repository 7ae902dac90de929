"""Arrays of bytes in MATLAB 5 files, and nothing else of that format.

The format holds objects, functions and cells too, and general readers of it crash on damaged files. This one
knows the one case that the data need and refuses all others. Source: MathWorks, MAT-File Format, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from zoo.errors import FormatError

_HEADER = 128
_LITTLE_ENDIAN = b"\x00\x01IM"
_SLACK = 1024
"""Bytes that an array needs beside its numbers; fewer than 100 in truth."""
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15
_CLASS_UINT8, _COMPLEX, _LOGICAL = 9, 0x0800, 0x0200
Bytes = UInt8[np.ndarray, "..."]
"""An array of bytes of any shape."""


def read_matlab(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Bytes]:
    """Read arrays of unsigned bytes; memory stays within what they need, whatever the file claims.

    Args:
        path: The file.
        shapes: Name and shape of each array that it has to hold; it may hold no other.

    Returns:
        The arrays by name, in column-major order as the file has them; they cannot be written.

    Raises:
        FormatError: The file is truncated, damaged, or holds anything else.
    """
    limit = max(math.prod(shape) for shape in shapes.values()) + _SLACK
    with path.open("rb") as handle:
        content = memoryview(handle.read(len(shapes) * limit + _SLACK))
    try:
        if content[124:_HEADER] != _LITTLE_ENDIAN:
            raise FormatError("it has no header of this format")
        return _arrays(content, shapes, limit)
    except (FormatError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path} is no whole MATLAB 5 file with the uint8 arrays {_listed(shapes)}: {error}; "
            "delete it and fetch it again"
        ) from error


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return " and ".join(f"{name} {shape}" for name, shape in shapes.items())


def _arrays(content: memoryview, shapes: dict[str, tuple[int, ...]], limit: int) -> dict[str, Bytes]:
    found: dict[str, Bytes] = {}
    place = _HEADER
    while place < len(content) and len(found) < len(shapes):
        kind, body, place = _element(content, place, padded=False)
        if kind == _COMPRESSED:
            unpacked = memoryview(zlib.decompressobj().decompress(body, limit))
            kind, body, _ = _element(unpacked, 0, padded=False)
        if kind != _MATRIX:
            raise FormatError(f"it has an element of kind {kind} where an array is expected")
        name, array = _matrix(body)
        if array.shape != shapes.get(name):
            raise FormatError(f"its array {name!r} has the shape {array.shape}")
        found[name] = array
    if len(found) < len(shapes):
        raise FormatError(f"it lacks {min(shapes.keys() - found.keys())!r}")
    return found


def _element(content: memoryview, place: int, *, padded: bool = True) -> tuple[int, memoryview, int]:
    """Read kind and bytes of an element, and where the next one begins."""
    kind, size = struct.unpack_from("<II", content, place)
    start = place + 8
    if kind >> 16:  # the short form: up to four bytes stand in the second half of the tag
        kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
    body = content[start : start + size]
    if start == place + 4 and size > 4:
        raise FormatError(f"{size:,} bytes are promised where four have room")
    if len(body) < size:
        raise FormatError(f"{len(body):,} bytes stand where {size:,} are promised")
    end = start + size
    return kind, body, end + (-end % 8 if padded else 0)


def _matrix(body: memoryview) -> tuple[str, Bytes]:
    """Read flags, dimensions, name and numbers of an array, each an element of its own."""
    kinds, parts, place = [], [], 0
    for _ in range(4):
        kind, part, place = _element(body, place)
        kinds.append(kind)
        parts.append(part)
    flags, dimensions, name, numbers = parts
    if kinds != [_UINT32, _INT32, _INT8, _UINT8]:
        raise FormatError(f"an array is made of elements of the kinds {kinds}")
    flag = struct.unpack_from("<I", flags)[0]
    if flag & 0xFF != _CLASS_UINT8 or flag & (_COMPLEX | _LOGICAL):
        raise FormatError(f"an array has the flags {flag:#x}, which are not those of real uint8")
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    if min(shape, default=-1) < 0 or math.prod(shape) != len(numbers):
        raise FormatError(f"an array of shape {shape} holds {len(numbers):,} numbers")
    return bytes(name).decode("ascii"), np.frombuffer(numbers, dtype=np.uint8).reshape(shape, order="F")
