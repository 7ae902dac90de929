import itertools
import json
import re
import string
import sys

import numpy as np
import pytest

from zoo.datasets.tokens import TOKENS, open_tokenizer, pieces_of
from zoo.errors import DataMissingError, FormatError, SpecificationError

TEXT = "In the beginning, the heaven's light\n\n  was there: 1611, the then-new\tthing. the\n"


def byte_letters():
    """The letter that GPT-2 writes for each byte: itself where it can be seen, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


MERGES = ["t h", "Ġ th", "h e", "Ġth e", "th e", "i n", "in g", "Ġ t", "Ċ Ċ", "e n", "1 6"]


def make_files(folder, merges=MERGES, **changes):
    """A vocabulary of the format of GPT-2: the bytes, then the merged pairs."""
    pytest.importorskip("tokenizers", reason="the extra `text` is not installed")
    names = [*byte_letters().values(), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, **changes}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    return vocabulary


@pytest.fixture
def gpt2(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path))
    return tmp_path / "gpt2"


def plain_pairs(word, merges):
    """As Sennrich et al. 2016 say it: merge the pair of the lowest rank until there is none."""
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    symbols = [byte_letters()[byte] for byte in word.encode()]
    while len(symbols) > 1:
        pairs = list(itertools.pairwise(symbols))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged, at = [], 0
        while at < len(symbols):
            whole = tuple(symbols[at : at + 2]) == best
            merged.append("".join(best) if whole else symbols[at])
            at += 2 if whole else 1
        symbols = merged
    return symbols


def plain_gpt2(text, vocabulary, merges=MERGES):
    """For text of ASCII, where letters and digits need no Unicode."""
    words = re.findall(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", text)
    assert "".join(words) == text
    return [vocabulary[symbol] for word in words for symbol in plain_pairs(word, merges)]


# bytes and characters


def test_bytes_are_their_own_tokens():
    data = bytes(range(256)) + "é".encode()
    tokens = open_tokenizer("bytes")(data)
    assert tokens.tolist() == list(data)
    assert tokens.max() < TOKENS["bytes"] == 256


def test_characters_are_printable_or_newline_or_unknown():
    encode = open_tokenizer("characters")
    printable = [character for character in string.printable if character not in "\t\n\r\x0b\x0c"]
    known = sorted(printable)  # from space to ~, in the order of ASCII
    assert len(known) == 95
    assert encode("".join(known).encode()).tolist() == list(range(95))
    assert encode(b"\n").tolist() == [95]
    assert encode("\t\r\x7fé—𝄞\x1f".encode()).tolist() == [96] * 7
    assert TOKENS["characters"] == 97


def test_characters_want_utf8():
    with pytest.raises(UnicodeDecodeError, match="0xff in position 1"):
        open_tokenizer("characters")(b"a\xff")


# GPT-2


def test_gpt2_is_byte_pair_encoding(gpt2):
    vocabulary = make_files(gpt2)
    tokens = open_tokenizer("gpt2")(TEXT.encode())
    assert tokens.tolist() == plain_gpt2(TEXT, vocabulary)
    assert len(tokens) < 0.8 * len(TEXT)


def test_gpt2_knows_every_byte(gpt2):
    vocabulary = make_files(gpt2, merges=[])
    letters = byte_letters()
    text = "aé—𝄞\x7f"
    assert open_tokenizer("gpt2")(text.encode()).tolist() == [vocabulary[letters[b]] for b in text.encode()]


def test_cutting_a_text_into_pieces_does_not_change_its_tokens(gpt2, monkeypatch):
    make_files(gpt2)
    text = (TEXT + "it's  the   thing the 16 th\n the") * 20
    whole = open_tokenizer("gpt2")(text.encode())
    monkeypatch.setattr("zoo.datasets.tokens._PIECE", 3)
    assert len(list(pieces_of(text, 3))) > 50
    assert np.array_equal(open_tokenizer("gpt2")(text.encode()), whole)


def test_pieces_are_the_text():
    text = "ab cd ef  gh, ij 1 k l"
    assert list(pieces_of(text, 1)) == ["ab", " cd", " ef  gh, ij 1 k", " l"]
    assert list(pieces_of("", 5)) == []


def test_gpt2_without_its_package_is_refused(gpt2, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecificationError, match=r"pip install 'phasezoo\[text\]', or take tokenizer: bytes"):
        open_tokenizer("gpt2")


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_gpt2_without_a_file_is_refused(gpt2, missing):
    make_files(gpt2)
    (gpt2 / missing).unlink()
    with pytest.raises(
        DataMissingError, match=rf"gpt2/{missing} cannot be read \(No such file.*put both files"
    ):
        open_tokenizer("gpt2")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", b"{", "it is no JSON"),
        ("vocab.json", b"\xff", "the byte 0 is not UTF-8"),
        ("vocab.json", b"[]", "expected an object from tokens to numbers"),
        ("vocab.json", b'{"a": 1.5}', "expected an object from tokens to numbers"),
        ("vocab.json", b'{"a": true}', "expected an object from tokens to numbers"),
        ("vocab.json", b'{"a": 50257}', "expected distinct numbers from 0 to 50256"),
        ("vocab.json", b'{"a": -1}', "expected distinct numbers from 0 to 50256"),
        ("vocab.json", b'{"a": 1, "b": 1}', "expected distinct numbers from 0 to 50256"),
        ("vocab.json", b'{"a": 1}', "it lacks 255 of the 256 bytes, such as '!'"),
        ("merges.txt", b"#version: 0.2\na b c", "line 2 is 'a b c', expected two tokens whose union"),
        ("merges.txt", b"t h\nx y", "line 2 is 'x y', expected two tokens whose union is a token"),
    ],
)
def test_gpt2_with_a_malformed_file_is_refused(gpt2, name, content, message):
    make_files(gpt2)
    (gpt2 / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name} is not what GPT-2 was published with: {message}.*put the"):
        open_tokenizer("gpt2")
