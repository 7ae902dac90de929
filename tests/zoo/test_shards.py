import h5py
import numpy as np
import pytest

from zoo.errors import FormatError, IntegrityError, UnsafeFileError
from zoo.storage import open_shard, sha256_of, write_shard

NUMBERS = np.arange(6, dtype="<f4").reshape(2, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shard.h5"


def craft(path, make):
    """Write an HDF5 file as no zoo would."""
    with h5py.File(path, "w") as file:
        make(file)
    return path


def test_arrays_and_texts_come_back_and_numbers_are_mapped(path):
    names = np.array([b"a", b"bcd"])
    record = write_shard(path, {"x": NUMBERS, "names": names}, text={"note": "hello"}, rows=2)
    shard = open_shard(path, record)
    assert shard.text == {"note": "hello"}
    assert isinstance(shard.array("x"), np.memmap)
    np.testing.assert_array_equal(shard.array("x"), NUMBERS)
    assert shard.array("names").tolist() == [b"a", b"bcd"]
    assert record.rows == 2
    assert record.sha256 == sha256_of(path)


def test_mapped_numbers_cannot_be_changed(path):
    write_shard(path, {"x": NUMBERS}, text={}, rows=2)
    with pytest.raises(ValueError, match=r"read-only"):
        open_shard(path).array("x")[0, 0] = 1


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_shard(tmp_path / name, {"x": NUMBERS}, text={"note": "hello"}, rows=2)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_h5py_reads_what_was_written(path):
    write_shard(path, {"x": NUMBERS}, text={"note": "hello"}, rows=2)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["x"][()], NUMBERS)
        assert file.attrs["note"] == b"hello"
        assert file["x"].chunks is None


def test_a_dataset_without_rows_is_empty(path):
    write_shard(path, {"x": NUMBERS[:0]}, text={}, rows=0)
    assert open_shard(path).array("x").shape == (0, 3)


def test_a_text_beyond_the_limit_is_refused(path):
    with pytest.raises(FormatError, match=r"attribute note has 60001 characters, at most 60000 fit"):
        write_shard(path, {}, text={"note": "x" * 60_001}, rows=0)


def test_an_unknown_dataset_lists_the_known_ones(path):
    write_shard(path, {"x": NUMBERS}, text={}, rows=2)
    with pytest.raises(FormatError, match=r"has no dataset 'y', it has x"):
        open_shard(path).array("y")


def test_a_missing_file_is_named(path):
    with pytest.raises(
        IntegrityError, match=r"shard.h5 is missing; fetch the zoo again, or run the generate"
    ):
        open_shard(path)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_an_integrity_error(path, keep):
    record = write_shard(path, {"x": NUMBERS}, text={}, rows=2)
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    with pytest.raises(IntegrityError, match=r"is truncated or was replaced: the manifest promises"):
        open_shard(path, record)
    if keep >= 0:
        with pytest.raises(IntegrityError, match=r"cannot be read as HDF5 .*truncated or damaged"):
            open_shard(path)


def test_a_file_that_is_no_hdf5_is_an_integrity_error(path):
    path.write_bytes(b"hello" * 100)
    with pytest.raises(IntegrityError, match=r"cannot be read as HDF5"):
        open_shard(path)


# what a hostile file may try


def external_storage(file):
    file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual_dataset(file):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("x", layout)


def compact(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, plist)


def reference(file):
    file.create_dataset("x", (1,), h5py.ref_dtype)


HOSTILE = {
    "soft link": (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "'x' is a link to another place"),
    "external link": (lambda f: f.__setitem__("x", h5py.ExternalLink("/z", "/y")), "'x' is a link to"),
    "external storage": (external_storage, "/x keeps its data in other files"),
    "virtual dataset": (virtual_dataset, "/x keeps its data in other files"),
    "group": (lambda f: f.create_group("x"), "expected datasets alone, got a Group"),
    "named type": (lambda f: f.__setitem__("x", np.dtype("f4")), "expected datasets alone, got a Datatype"),
    "chunks": (lambda f: f.create_dataset("x", data=NUMBERS, chunks=(1, 3)), "/x is chunked or filtered"),
    "gzip": (lambda f: f.create_dataset("x", data=NUMBERS, compression="gzip"), "/x is chunked or filtered"),
    "text of any length": (
        lambda f: f.create_dataset("x", data=["a"], dtype=h5py.string_dtype()),
        "has the type object",
    ),
    "reference": (reference, "has the type object"),
    "compound": (lambda f: f.create_dataset("x", (2,), [("a", "f4")]), "has the type"),
    "never written": (
        lambda f: f.create_dataset("x", (2**40,), "f4"),
        "declares .* bytes that the file does",
    ),
    "compact": (compact, "declares 16 bytes that the file does not hold"),
    "attribute of any length": (
        lambda f: f.attrs.__setitem__("note", "hello"),
        "'note' is no fixed-length text",
    ),
    "number as attribute": (lambda f: f.attrs.__setitem__("note", 3), "'note' is no fixed-length text"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_before_anything_is_read(path, kind):
    make, message = HOSTILE[kind]
    with pytest.raises(UnsafeFileError, match=message):
        open_shard(craft(path, make))
