"""From text to tokens: bytes, printable characters, or the merged bytes of GPT-2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import UInt

from zoo.datasets.folders import data_folder
from zoo.errors import DataMissingError, FormatError, SpecificationError

TokenizerName = Literal["bytes", "characters", "gpt2"]
TOKENS: dict[TokenizerName, int] = {"bytes": 256, "characters": 97, "gpt2": 50257}
"""Number of different tokens."""
Tokenizer: TypeAlias = Callable[[bytes], UInt[np.ndarray, " tokens"]]
"""From the bytes of a file to its tokens; raises UnicodeDecodeError where they are no UTF-8 but should be."""

_NEWLINE, _UNKNOWN = 95, 96
_CUT = re.compile("(?<=[A-Za-z]) (?=[A-Za-z])")
_PIECE = 1 << 20
"""Characters that the library takes at a time: it needs about a hundred bytes for each."""


def open_tokenizer(name: TokenizerName) -> Tokenizer:
    r"""Open a tokenizer.

    Args:
        name: `bytes`: each byte is a token. `characters`: the printable ones of ASCII from space to `~` are 0
            to 94, the newline is 95, all else is 96. `gpt2`: byte pair encoding (Sennrich et al. 2016) as in
            GPT-2 (Radford et al. 2019), by its files `vocab.json` and `merges.txt`.

    Returns:
        The function from bytes to tokens.

    Raises:
        SpecificationError: `gpt2` without the package `tokenizers`.
        DataMissingError: `gpt2` without its files.
        FormatError: These files are not what they should be.

    Example:
        >>> open_tokenizer("characters")("To be\n—".encode()).tolist()
        [52, 79, 0, 66, 69, 95, 96]
    """
    if name == "gpt2":
        return _gpt2(data_folder() / "gpt2")
    return _bytes if name == "bytes" else _characters


def _bytes(data: bytes) -> UInt[np.ndarray, " tokens"]:
    return np.frombuffer(data, np.uint8)


def _characters(data: bytes) -> UInt[np.ndarray, " tokens"]:
    codes = np.frombuffer(data.decode("utf-8").encode("utf-32-le"), np.uint32)
    tokens = np.full(len(codes), _UNKNOWN, np.uint8)
    printable = (codes >= ord(" ")) & (codes <= ord("~"))
    tokens[printable] = codes[printable] - ord(" ")
    tokens[codes == ord("\n")] = _NEWLINE
    return tokens


def _gpt2(folder: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers
    except ImportError as error:
        raise SpecificationError(
            "tokenizer: gpt2 needs the package tokenizers, which is not here; run "
            "pip install 'phasezoo[text]', or take tokenizer: bytes"
        ) from error
    vocabulary = _vocabulary(folder, pre_tokenizers.ByteLevel.alphabet())
    model = Library(models.BPE(vocab=vocabulary, merges=_merges(folder, vocabulary)))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(data: bytes) -> UInt[np.ndarray, " tokens"]:
        pieces = [
            np.array(model.encode(piece).ids, np.uint32) for piece in pieces_of(data.decode("utf-8"), _PIECE)
        ]
        return np.concatenate([np.empty(0, np.uint32), *pieces])

    return encode


def pieces_of(text: str, length: int) -> Iterator[str]:
    """Cut a text where GPT-2 cuts words anyway: before a single space between two letters.

    Args:
        text: The text.
        length: Characters that a piece has at least, but the last.

    Yields:
        The pieces, in order; their tokens are those of the text.

    Example:
        >>> list(pieces_of("to be, or not to be", 5))
        ['to be, or', ' not to', ' be']
    """
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + length)
        stop = cut.start() if cut else len(text)
        yield text[start:stop]
        start = stop


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataMissingError(
            f"tokenizer: gpt2 needs GPT-2's vocab.json and merges.txt, but {path} cannot be read "
            f"({error.strerror}); put both files into {path.parent}, or take tokenizer: bytes"
        ) from error
    except UnicodeDecodeError as error:
        raise _malformed(path, f"the byte {error.start} is not UTF-8") from error


def _malformed(path: Path, what: str) -> FormatError:
    return FormatError(f"{path} is not what GPT-2 was published with: {what}; put the published file there")


def _vocabulary(folder: Path, alphabet: list[str]) -> dict[str, int]:
    path = folder / "vocab.json"
    try:
        found = json.loads(_content(path))
    except ValueError as error:
        raise _malformed(path, f"it is no JSON ({error})") from error
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise _malformed(path, "expected an object from tokens to numbers")
    most = TOKENS["gpt2"]
    if not all(0 <= number < most for number in found.values()) or len(set(found.values())) < len(found):
        raise _malformed(path, f"expected distinct numbers from 0 to {most - 1}")
    missing = sorted(set(alphabet) - set(found))
    if missing:
        raise _malformed(path, f"it lacks {len(missing)} of the 256 bytes, such as {missing[0]!r}")
    return found


def _merges(folder: Path, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    path = folder / "merges.txt"
    lines = _content(path).split("\n")  # not splitlines: a token may be a character that it takes for an end
    merges = []
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
            raise _malformed(path, f"line {number} is {line!r}, expected two tokens whose union is a token")
        merges.append((pair[0], pair[1]))
    return merges
