import itertools
import shutil

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.datasets.text import TEXT, TextOptions
from zoo.errors import DataMissingError, FormatError, SpecificationError
from zoo.spec import DatasetSpecification

NUMBERED = "".join(f"{number:04d}," for number in range(8000)).encode()
"""40,000 bytes; where six of them or more lie can be read off them."""


def place_of(window):
    """Say at which byte of `NUMBERED` a window begins."""
    data = bytes(window.tolist())
    at = NUMBERED.find(data)
    assert at >= 0
    assert NUMBERED.find(data, at + 1) == -1
    return at


def load(path, **changes):
    return TEXT.load(TextOptions(corpus=str(path), **changes))


@pytest.fixture
def one(tmp_path):
    path = tmp_path / "one.txt"
    path.write_bytes(NUMBERED)
    return path


def sides(data):
    return data.train, data.val, data.test


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_shape_and_sizes_are_known_without_the_text(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("to be, or not to be\n" * 100)
    given = {"corpus": str(tmp_path), "context": 9, "windows": 33, "tokenizer": tokenizer}
    spec = DatasetSpecification(name="text", **given)
    data = datasets.load(spec)
    assert data.shape == datasets.shape(spec)
    assert data.kind == datasets.family("text").kind == "sequence"
    assert datasets.sizes(spec) == (len(data.train), None) == (33, None)
    assert all(side.x.dtype == side.y.dtype == torch.int64 for side in sides(data))
    assert all(side.x.max() < data.tokens == data.classes for side in sides(data))
    nowhere = DatasetSpecification(name="text", corpus="nowhere", tokenizer="gpt2")
    assert datasets.shape(nowhere).tokens == 50257


def test_targets_are_the_next_tokens(one):
    data = load(one, context=12, windows=200)
    for side in sides(data):
        assert side.x.shape == side.y.shape == (len(side), 12)
        assert torch.equal(side.x[:, 1:], side.y[:, :-1])
        for x, y in zip(side.x[:50], side.y[:50], strict=True):
            at = place_of(x)
            assert NUMBERED[at + 1 : at + 13] == bytes(y.tolist())


def test_each_side_has_its_part_of_the_text(one):
    data = load(one, context=12, windows=2000)
    starts = [[place_of(window) for window in side.x] for side in sides(data)]
    for found, (low, high) in zip(starts, [(0, 36_000), (36_000, 38_000), (38_000, 40_000)], strict=True):
        assert min(found) >= low
        assert max(found) + 13 <= high  # with the target of the last place
    assert min(starts[0]) < 500
    assert max(starts[0]) > 35_000


def test_training_windows_are_drawn_evenly_and_fewer_are_a_part_of_more(one):
    many = load(one, context=12, windows=4000).train
    starts = np.array([place_of(window) for window in many.x])
    counts = np.histogram(starts, 10, (0, 36_000 - 12))[0]
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400 * 0.9)
    assert len(set(starts % 5)) == 5
    assert torch.equal(load(one, context=12, windows=100).train.x, many.x[:100])


def test_windows_that_judge_do_not_overlap_and_are_spread_over_their_part(one):
    data = load(one, context=5, windows=1)
    assert len(data.val) == len(data.test) == 256  # of (2000 - 1) // 5 = 399
    starts = [place_of(torch.cat([x, y[-1:]])) for x, y in zip(data.val.x, data.val.y, strict=True)]
    gaps = {after - before for before, after in itertools.pairwise(starts)}
    assert gaps <= {5, 10}
    assert starts[0] == 36_000
    assert starts[-1] >= 38_000 - 15
    assert len(load(one, context=12, windows=1).val) == 1999 // 12
    assert len(load(one, context=8, windows=1).val) == 249  # not 250: the last place needs a target too


def test_windows_lie_in_one_file(tmp_path):
    parts = np.split(np.frombuffer(NUMBERED, np.uint8), [7_777, 7_790, 20_001, 37_000, 39_000])
    for name, part in zip("abcdef", parts, strict=True):
        (tmp_path / f"{name}.txt").write_bytes(part.tobytes())
    data = load(tmp_path, context=12, windows=3000)
    ends = [0, 7_777, 7_790, 20_001, 36_000, 37_000, 38_000, 39_000, 40_000]
    for side in sides(data):
        for x in side.x:
            at = place_of(x)
            segment = np.searchsorted(ends, at, side="right")
            assert at + 13 <= ends[segment]
    # the file of 13 tokens has room for one window, of all 35,948: it is drawn at times
    assert {place_of(x) for x in data.val.x} >= {36_000, 37_000}


def test_the_files_are_read_one_at_a_time(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("to be, or not to be\n" * 100)
    from zoo.datasets import text

    read, plain = [], text.read_text
    monkeypatch.setattr(text, "read_text", lambda path: read.append(path.name) or plain(path))
    load(tmp_path, context=8, windows=10)
    assert read[:3] == ["a.txt", "b.txt", "c.txt"]
    assert len(read) <= 3 + 3
    read.clear()
    load(tmp_path / "a.txt", context=8, windows=10)
    assert read == ["a.txt"]


def test_a_text_that_is_too_short_says_how_long_it_should_be(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 160)
    with pytest.raises(
        FormatError, match=r"too short: it has 160 tokens in 1 files.*9 tokens of one file.*about 180; give"
    ):
        load(tmp_path, context=8)
    (tmp_path / "a.txt").write_text("x" * 180)
    data = load(tmp_path, context=8, windows=3)
    assert [len(side) for side in sides(data)] == [3, 1, 1]


def test_text_that_is_no_utf8_is_for_bytes_alone(tmp_path):
    (tmp_path / "a.txt").write_bytes("é".encode("latin-1") * 2000)
    with pytest.raises(
        FormatError, match=r"a\.txt is no UTF-8: .* at byte 0; convert it, or take tokenizer: b"
    ):
        load(tmp_path, tokenizer="characters")
    assert (load(tmp_path, windows=2).train.x == 0xE9).all()


def test_an_unknown_corpus_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path))
    with pytest.raises(DataMissingError, match="there is no text at"):
        load("nowhere")


@pytest.mark.parametrize(
    "changes", [{"context": 0}, {"windows": 0}, {"tokenizer": "words"}, {"corpus": ""}, {"stride": 1}]
)
def test_options_out_of_range_are_refused(changes):
    with pytest.raises(SpecificationError, match=next(iter(changes))):
        datasets.resolve(DatasetSpecification(name="text", **changes))


def test_more_windows_than_memory_are_refused():
    with pytest.raises(
        SpecificationError, match="more than 134,217,728 tokens; take fewer or shorter windows"
    ):
        datasets.shape(DatasetSpecification(name="text", context=65536, windows=8192))


def test_tokens_may_be_more_than_a_byte_holds(tmp_path, monkeypatch):
    high = lambda data: np.frombuffer(data, np.uint8) + np.uint32(50_000)  # noqa: E731
    monkeypatch.setattr("zoo.datasets.text.open_tokenizer", lambda name: high)
    (tmp_path / "a.txt").write_bytes(NUMBERED)
    data = load(tmp_path, tokenizer="gpt2", context=12, windows=10)
    assert data.tokens == data.classes == 50257
    assert all(place_of(x - 50_000) < 36_000 for x in data.train.x)


@pytest.mark.skipif(shutil.which("bible") is None, reason="Debian's bible-kjv is not installed")
def test_the_default_never_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path))
    data = TEXT.load(TextOptions())
    assert data.sha256 == "e40dafce7cf3340587a45592672ec293b7d9c3f4680be4e7f7cba50259b08275"
    assert data.input_shape == (64,)
