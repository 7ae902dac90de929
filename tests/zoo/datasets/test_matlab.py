import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from zoo.datasets.matlab import read_matlab
from zoo.errors import FormatError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (4, 3, 2, 5), dtype=np.uint8)
SHAPES = {"X": (4, 3, 2, 5), "y": (5, 1)}


def arrays(**changes):
    return {"X": X, "y": np.arange(1, 6, dtype=np.uint8)[:, None], **changes}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["y", "labels_of_digits"])  # short names stand inside their tag
@pytest.mark.parametrize("count", [3, 5])  # so do numbers, up to four
def test_arrays_are_those_that_scipy_reads(tmp_path, compressed, name, count):
    path = tmp_path / "a.mat"
    savemat(path, {name: np.arange(count, dtype=np.uint8)[:, None], "X": X}, do_compression=compressed)
    found, expected = read_matlab(path, {"X": X.shape, name: (count, 1)}), loadmat(path)
    assert sorted(found) == sorted(["X", name])
    for one in found:
        assert np.array_equal(found[one], expected[one])
        assert found[one].dtype == expected[one].dtype


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": X[:3]}, r"its array 'X' has the shape \(3, 3, 2, 5\)"),
        ({"Z": X}, r"its array 'Z' has the shape"),
        ({"X": X.astype(np.int16)}, "elements of the kinds .6, 5, 1, 3."),
        ({"X": X.astype(np.float64)}, "elements of the kinds|holds|bytes stand"),
        ({"X": X.view(np.int8)}, "elements of the kinds .6, 5, 1, 1."),
        ({"X": "text of a file"}, "elements of the kinds .6, 5, 1, 16."),
        ({"X": np.array([X, X[0]], dtype=object)}, "kinds|bytes stand"),
        ({"X": {"field": X}}, "kinds|bytes stand"),
        ({"X": X > 9}, "has the flags 0x209, which are not those of real uint8"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_other_names_shapes_and_types_are_refused(tmp_path, changes, message, compressed):
    path = tmp_path / "a.mat"
    savemat(path, {**changes, **arrays(**changes)}, do_compression=compressed)
    expected = rf"a.mat is no whole MATLAB 5 file with the uint8 arrays X .*({message}).*; delete it"
    with pytest.raises(FormatError, match=expected):
        read_matlab(path, SHAPES)


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def matrix(*, flags=9, shape=(2, 1), name=b"y", numbers=b"\1\2", kinds=(6, 5, 1, 2)):
    parts = (struct.pack("<II", flags, 0), struct.pack(f"<{len(shape)}i", *shape), name, numbers)
    return element(14, b"".join(element(kind, part) for kind, part in zip(kinds, parts, strict=True)))


def mat_file(path, *elements, header=b"\x00\x01IM"):
    path.write_bytes(bytes(124) + header + b"".join(elements))
    return path


def test_the_shortest_file_is_read(tmp_path):
    found = read_matlab(mat_file(tmp_path / "a.mat", matrix()), {"y": (2, 1)})
    assert found["y"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([], "it lacks 'y'"),
        ([matrix(flags=9 | 0x0800)], "has the flags 0x809, which are not those of real uint8"),
        ([matrix(flags=6)], "has the flags 0x6"),
        ([matrix(shape=(3, 1))], r"an array of shape \(3, 1\) holds 2 numbers"),
        ([matrix(shape=(-2, -1))], r"an array of shape \(-2, -1\) holds 2 numbers"),
        ([matrix(shape=())], r"an array of shape \(\) holds"),
        ([matrix(name=b"\xff")], "'ascii' codec"),
        ([element(1, b"text")], "it has an element of kind 1 where an array is expected"),
        ([matrix()[:-1]], "bytes stand where .* are promised"),
        ([matrix()[:6]], "unpack_from requires a buffer"),
        ([struct.pack("<HHI", 14, 5, 0)], "5 bytes are promised where four have room"),
        ([struct.pack("<II", 14, 2**32 - 1)], "0 bytes stand where 4,294,967,295 are promised"),
        ([element(15, zlib.compress(matrix())[:-9])], "bytes stand|requires a buffer"),
        ([element(15, b"no deflate")], "decompressing"),
        ([element(15, zlib.compress(matrix(numbers=bytes(10_000_000))))], "bytes stand where"),  # a bomb
    ],
)
def test_damaged_files_are_refused(tmp_path, elements, message):
    with pytest.raises(FormatError, match=message):
        read_matlab(mat_file(tmp_path / "a.mat", *elements), {"y": (2, 1)})


@pytest.mark.parametrize("header", [b"\x01\x00MI", b"\x00\x02IM", b"\x00\x01"])
def test_other_headers_are_refused(tmp_path, header):
    with pytest.raises(FormatError, match="it has no header of this format"):
        read_matlab(mat_file(tmp_path / "a.mat", header=header), {"y": (2, 1)})


@pytest.mark.parametrize("compressed", [True, False])
def test_random_damage_never_does_worse_than_a_refusal(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, arrays(), do_compression=compressed)
    whole, refused = path.read_bytes(), 0
    for number in range(300):
        content = bytearray(whole)
        for place in GENERATOR.integers(124, len(whole), 1 + number % 3):
            content[place] = GENERATOR.integers(256)
        path.write_bytes(content[: len(whole) if number % 4 else int(GENERATOR.integers(len(whole)))])
        try:
            read_matlab(path, SHAPES)
        except FormatError:
            refused += 1
    assert refused > 60
