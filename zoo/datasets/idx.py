"""IDX, the format of MNIST and its kin: a magic number, the dimensions, then the bytes (Y. LeCun, 1998)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from zoo.errors import FormatError

_UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, shape: tuple[int, ...], path: Path) -> UInt8[np.ndarray, "*shape"]:
    """Read an array of bytes; what the header says is believed only where it is what is expected.

    Args:
        content: The whole file.
        shape: The shape that it has to have.
        path: Where it comes from, for messages.

    Returns:
        The array; it shares the memory of `content`, and cannot be written.

    Raises:
        FormatError: The header says something else, or the bytes are not as many as it says.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]), (2,), Path("labels"))
        array([5, 7], dtype=uint8)
    """
    start = 4 + 4 * len(shape)
    magic = bytes([0, 0, _UNSIGNED_BYTE, len(shape)])
    if content[:4] != magic:
        raise FormatError(
            f"{path} begins with {content[:4].hex()}, an IDX file of these data with {magic.hex()}"
        )
    if content[4:start] != struct.pack(f">{len(shape)}I", *shape):
        raise FormatError(
            f"the header of {path} has the dimensions {content[4:start].hex()}, expected {shape}"
        )
    expected = start + int(np.prod(shape))
    if len(content) != expected:
        raise FormatError(f"{path} holds {len(content):,} bytes, its header promises {expected:,}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
