import struct
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets.idx import parse_idx
from zoo.errors import FormatError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def idx(array, *, magic=None, shape=None):
    magic = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return magic + struct.pack(f">{array.ndim}I", *(shape or array.shape)) + array.tobytes()


def test_an_array_comes_back():
    assert np.array_equal(parse_idx(idx(ARRAY), ARRAY.shape, Path("images")), ARRAY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(ARRAY, magic=b"\0\0\x0d\x03"), "images begins with 00000d03, .* with 00000803"),  # floats
        (idx(ARRAY, magic=b"\0\0\x08\x01"), "begins with 00000801"),  # labels in place of images
        (b"", "begins with , an IDX file"),
        (idx(ARRAY, shape=(2**31, 3, 4)), r"has the dimensions 800000.*, expected \(2, 3, 4\)"),
        (idx(ARRAY, shape=(3, 2, 4)), "has the dimensions"),
        (idx(ARRAY)[:9], "has the dimensions"),
        (idx(ARRAY)[:-1], "holds 39 bytes, its header promises 40"),
        (idx(ARRAY) + b"!", "holds 41 bytes, its header promises 40"),
    ],
)
def test_a_header_that_lies_is_refused(content, message):
    with pytest.raises(FormatError, match=message):
        parse_idx(content, ARRAY.shape, Path("images"))
