import h5py
import numpy as np
import pandas as pd
import pytest

from zoo.errors import FormatError, IntegrityError
from zoo.storage import read_series, write_series

KEYS = pd.DataFrame({"checkpoint_id": ["a@0", "a@1", "b@0"]})
SERIES = {
    "nodes": [np.array([1.0, 2.0]), np.empty(0), np.array([3.0])],
    "weights": [np.ones(2), np.empty(0), np.ones(1)],
}


def test_arrays_come_back_by_key_and_name(tmp_path):
    record = write_series(tmp_path / "s.h5", KEYS, SERIES, protocol_id="p/v1")
    found = read_series(tmp_path / "s.h5", record)
    assert record.rows == 3
    assert list(found) == [("a@0",), ("a@1",), ("b@0",)]
    assert found["a@0",]["nodes"].tolist() == [1, 2]
    assert found["a@1",]["weights"].size == 0
    assert found["b@0",]["nodes"].tolist() == [3]


def test_a_file_without_rows_comes_back_empty(tmp_path):
    record = write_series(tmp_path / "s.h5", KEYS.iloc[:0], {"nodes": []}, protocol_id="p/v1")
    assert read_series(tmp_path / "s.h5", record) == {}


def test_equal_content_gives_equal_bytes(tmp_path):
    first, second = (write_series(tmp_path / name, KEYS, SERIES, protocol_id="p") for name in ("a", "b"))
    assert first == second


def test_arrays_of_other_lengths_are_refused(tmp_path):
    broken = {**SERIES, "weights": [np.ones(2), np.ones(1), np.ones(1)]}
    with pytest.raises(
        FormatError, match="equally long in each row, got other lengths of 'weights' than of 'nodes'"
    ):
        write_series(tmp_path / "s.h5", KEYS, broken, protocol_id="p")


def write_raw(path, **changed):
    arrays = {
        "key_checkpoint_id": np.array([b"a@0", b"b@0"]),
        "offsets": np.array([0, 2, 3]),
        "nodes": np.arange(3.0),
        **changed,
    }
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array)
    return path


def test_a_file_of_anyone_is_read(tmp_path):
    found = read_series(write_raw(tmp_path / "s.h5"))
    assert found["b@0",]["nodes"].tolist() == [2]


@pytest.mark.parametrize(
    "changed",
    [
        {"offsets": np.array([0, 3, 2])},
        {"offsets": np.array([1, 2, 3])},
        {"offsets": np.array([0, 3])},
        {"key_checkpoint_id": None},
        {"nodes": None},
    ],
)
def test_lying_offsets_are_refused(tmp_path, changed):
    with pytest.raises(
        FormatError, match="expected arrays, and ascending offsets from 0, one more than keys"
    ):
        read_series(write_raw(tmp_path / "s.h5", **changed))


@pytest.mark.parametrize("nodes", [np.arange(4.0), np.arange(3), np.zeros((3, 1))])
def test_arrays_that_do_not_fit_their_offsets_are_refused(tmp_path, nodes):
    with pytest.raises(FormatError, match="expected 3 float64 in 'nodes' as the offsets say"):
        read_series(write_raw(tmp_path / "s.h5", nodes=nodes))


def test_a_truncated_file_is_refused(tmp_path):
    record = write_series(tmp_path / "s.h5", KEYS, SERIES, protocol_id="p/v1")
    (tmp_path / "s.h5").write_bytes((tmp_path / "s.h5").read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="is truncated or was replaced"):
        read_series(tmp_path / "s.h5", record)


@pytest.mark.parametrize("offsets", [np.array([0.0, 2, 3]), np.zeros((3, 1), int), np.array(3)])
def test_offsets_that_are_no_row_of_whole_numbers_are_refused(tmp_path, offsets):
    with pytest.raises(FormatError, match="expected whole numbers in a row as offsets"):
        read_series(write_raw(tmp_path / "s.h5", offsets=offsets))


@pytest.mark.parametrize("keys", [np.array([1, 2]), np.array([[b"a"], [b"b"]]), np.array(b"a")])
def test_keys_that_are_no_text_are_refused(tmp_path, keys):
    with pytest.raises(FormatError, match="expected bytes in 'key_checkpoint_id'"):
        read_series(write_raw(tmp_path / "s.h5", key_checkpoint_id=keys))
