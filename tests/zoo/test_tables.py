import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoo.errors import FormatError, IntegrityError, ZooError
from zoo.spec import Column
from zoo.storage import parquet_bytes, read_parquet

COLUMNS = [
    Column(name="name", dtype="string", description="a name"),
    Column(name="count", dtype="int32", description="a count"),
    Column(name="test_loss", dtype="float64", description="a loss"),
]
FRAME = pd.DataFrame({"name": ["a", None, "c"], "count": [1, 2, 3], "test_loss": [0.5, float("nan"), 1e300]})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "table.parquet"
    file.write_bytes(parquet_bytes(FRAME, COLUMNS))
    return file


def test_a_table_comes_back_with_its_missing_values(path):
    back = read_parquet(path, COLUMNS, rows=3)
    assert back["name"].isna().tolist() == [False, True, False]
    assert back["count"].tolist() == [1, 2, 3]
    assert back["test_loss"].tolist()[::2] == [0.5, 1e300]
    assert pq.read_table(path)["test_loss"].null_count == 1


def test_equal_content_gives_equal_bytes_without_a_trace_of_pandas(path):
    assert parquet_bytes(FRAME.copy(), COLUMNS) == path.read_bytes()
    assert b"pandas" not in path.read_bytes()


def test_columns_stand_in_the_declared_order_and_others_are_left_out():
    data = parquet_bytes(FRAME.assign(other=1)[["other", "test_loss", "count", "name"]], COLUMNS)
    assert pq.read_table(io.BytesIO(data)).column_names == ["name", "count", "test_loss"]


def test_an_empty_table_keeps_its_types(tmp_path):
    path = tmp_path / "empty.parquet"
    path.write_bytes(parquet_bytes(pd.DataFrame(columns=["name", "count", "test_loss"]), COLUMNS))
    assert len(read_parquet(path, COLUMNS, rows=0)) == 0


def test_more_columns_than_expected_are_kept(path):
    assert list(read_parquet(path, COLUMNS[:1]).columns) == ["name", "count", "test_loss"]


def test_a_missing_column_is_named_with_those_there(path):
    more = [*COLUMNS, Column(name="width", dtype="int64", description="units")]
    with pytest.raises(FormatError, match=r"lacks the columns width; it has name, count, test_loss"):
        read_parquet(path, more)


def test_an_optional_column_of_an_older_table_comes_back_missing(path):
    new = [
        Column(name="commit", dtype="string", description="a commit"),
        Column(name="steps", dtype="int64", description="steps"),
        Column(name="seconds", dtype="float64", description="seconds"),
    ]
    back = read_parquet(path, [*COLUMNS, *new], rows=3, optional=new)
    assert list(back.columns) == ["name", "count", "test_loss", "commit", "steps", "seconds"]
    assert back[["commit", "steps", "seconds"]].isna().all(axis=None)
    again = read_parquet_of(back, [*COLUMNS, *new], path)
    pd.testing.assert_frame_equal(again, back)


def read_parquet_of(frame, columns, path):
    path.write_bytes(parquet_bytes(frame, columns))
    return read_parquet(path, columns)


def test_an_optional_column_that_is_there_has_its_type(path):
    wrong = Column(name="count", dtype="int64", description="a count")
    with pytest.raises(FormatError, match=r"column count: expected int64, got int32"):
        read_parquet(path, [*COLUMNS[:1], wrong], optional=[wrong])


def test_a_column_of_another_type_is_refused(path):
    pq.write_table(pa.table({"name": ["a"], "count": pa.array([1], pa.int64()), "test_loss": [0.5]}), path)
    with pytest.raises(FormatError, match=r"column count: expected int32, got int64"):
        read_parquet(path, COLUMNS)


def test_another_number_of_rows_is_refused(path):
    with pytest.raises(FormatError, match=r"the manifest promises 4 rows, the file has 3"):
        read_parquet(path, COLUMNS, rows=4)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(IntegrityError, match=r"no.parquet is missing; run `phasezoo verify`"):
        read_parquet(tmp_path / "no.parquet", COLUMNS)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_an_integrity_error(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match=r"cannot be read as Parquet .*truncated or damaged"):
        read_parquet(path, COLUMNS)


def test_a_flipped_byte_of_the_data_is_found_by_its_checksum(path):
    column = pq.read_metadata(path).row_group(0).column(2)
    data = bytearray(path.read_bytes())
    data[column.dictionary_page_offset + column.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"cannot be read as Parquet .*(CRC|crc|checksum)"):
        read_parquet(path, COLUMNS)


def test_no_flipped_byte_escapes_as_another_error(path):
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x90]) + whole[place + 1 :])
        try:
            read_parquet(path, COLUMNS, rows=3)
        except ZooError:
            refused += 1
    assert refused > len(whole) / 3
