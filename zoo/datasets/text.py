"""Text: predict each next token, in windows of any folder of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt
from pydantic import Field, model_validator

from zoo.datasets.base import Dataset, DatasetFamily, DatasetOptions, Items, Kind, Sizes
from zoo.datasets.corpora import Corpus, find_corpus, read_text
from zoo.datasets.tokens import TOKENS, Tokenizer, TokenizerName, open_tokenizer
from zoo.errors import FormatError
from zoo.spec import DataShape

_CUTS = (0, 90, 95, 100)
"""Percent of the text where train, val and test begin and end."""
_JUDGED = 256
"""Windows of val, and of test, at most."""
_LARGEST = 2**27
"""Tokens of all training windows together, at most: 2 GiB of inputs and targets."""


class TextOptions(DatasetOptions):
    """Options of `text`.

    Attributes:
        corpus: `kjv`, a folder below `text` in the folder of the data, or a path to a folder or a file.
        tokenizer: `bytes`, `characters` or `gpt2`.
        context: Tokens of a window.
        windows: Training windows.
    """

    corpus: str = Field(default="kjv", min_length=1, max_length=4096)
    tokenizer: TokenizerName = "bytes"
    context: int = Field(default=64, ge=1, le=2**16)
    windows: int = Field(default=8192, ge=1, le=2**24)

    @model_validator(mode="after")
    def _windows_fit_into_memory(self) -> TextOptions:
        if self.context * self.windows > _LARGEST:
            raise ValueError(
                f"{self.windows} windows of {self.context} tokens are more than {_LARGEST:,} tokens; take "
                "fewer or shorter windows"
            )
        return self


class _Segment(NamedTuple):
    """The tokens of a file that lie in one part of the text: no window leaves them."""

    file: int
    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass
class _Files:
    """Tokens file by file; those of the last file stay, so that one file is read once."""

    paths: Sequence[Path]
    tokenizer: Tokenizer
    _held: dict[int, UInt[np.ndarray, " tokens"]] = field(default_factory=dict)

    def tokens(self, file: int) -> UInt[np.ndarray, " tokens"]:
        if file not in self._held:
            self._held = {file: self._read(self.paths[file])}
        return self._held[file]

    def _read(self, path: Path) -> UInt[np.ndarray, " tokens"]:
        try:
            return self.tokenizer(read_text(path))
        except UnicodeDecodeError as error:
            raise FormatError(
                f"the file {path} is no UTF-8: {error.reason} at byte {error.start}; convert it, or take "
                "tokenizer: bytes"
            ) from error


def _parts(lengths: Sequence[int]) -> list[list[_Segment]]:
    """Cut the text by position; a file over a cut has tokens on both sides of it."""
    ends = np.cumsum(lengths).tolist()
    cuts = [ends[-1] * percent // 100 for percent in _CUTS]
    parts = []
    for low, high in pairwise(cuts):
        inside = []
        for file, (length, end) in enumerate(zip(lengths, ends, strict=True)):
            begin = end - length
            inside.append(_Segment(file, max(low, begin) - begin, min(high, end) - begin))
        parts.append(inside)
    return parts


def _long_enough(
    part: list[_Segment], corpus: Corpus, lengths: Sequence[int], context: int
) -> list[_Segment]:
    kept = [segment for segment in part if segment.length > context]
    if not kept:
        raise FormatError(
            f"the text {corpus.name!r} is too short: it has {sum(lengths):,} tokens in {len(lengths)} files; "
            f"each of its parts of 90, 5 and 5 % needs {context + 1} tokens of one file for a window, so the "
            f"whole about {20 * (context + 1):,}; give more text, or a lower context"
        )
    return kept


class _Windows(NamedTuple):
    """Where windows begin: in which file, and at which of its tokens."""

    files: Int[np.ndarray, " windows"]
    starts: Int[np.ndarray, " windows"]


def _numbered(
    segments: list[_Segment], room: list[int], picked: Int[np.ndarray, " windows"], stride: int
) -> _Windows:
    """Find the windows of some numbers, where each segment has `room` of them, `stride` tokens apart."""
    ends = np.cumsum(room)
    where = np.searchsorted(ends, picked, side="right")
    within = picked - (ends - room)[where]
    begin = np.array([segment.start for segment in segments])
    return _Windows(np.array([segment.file for segment in segments])[where], begin[where] + stride * within)


def _drawn(segments: list[_Segment], options: TextOptions) -> _Windows:
    """Draw windows at any token, with replacement: a lower number of windows is the start of a higher one."""
    room = [segment.length - options.context for segment in segments]
    generator = torch.Generator().manual_seed(0)
    picked = torch.randint(sum(room), (options.windows,), generator=generator)
    return _numbered(segments, room, picked.numpy(), stride=1)


def _spread(segments: list[_Segment], options: TextOptions) -> _Windows:
    """Choose windows that do not overlap, evenly: each token is predicted once at most."""
    room = [(segment.length - 1) // options.context for segment in segments]
    count = min(_JUDGED, sum(room))
    return _numbered(segments, room, np.arange(count) * sum(room) // count, stride=options.context)


def _items(files: _Files, windows: _Windows, context: int) -> Items:
    whole = np.empty((len(windows.starts), context + 1), np.int64)
    for file in np.unique(windows.files).tolist():
        here = windows.files == file
        whole[here] = files.tokens(file)[windows.starts[here, None] + np.arange(context + 1)]
    tokens = torch.from_numpy(whole)
    return Items(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


class Text(DatasetFamily):
    """Windows of a text; the target at each place is the next token.

    The text is all files of the corpus, one after the other: the first 90 % of its tokens are for training,
    the next 5 % for val, the last 5 % for test. A window lies in one file and in one part. Training windows
    begin anywhere, drawn once by a fixed seed; those of val and test do not overlap, are spread evenly, and
    are 256 each at most. One file at a time is in memory.

    Licence: that of the text, which nobody knows here (`unknown`) but for the King James Version, which is
    in the public domain outside of the United Kingdom; its source is Debian's package bible-kjv.
    """

    name = "text"
    options = TextOptions
    kind: ClassVar[Kind] = "sequence"

    def shape(self, options: DatasetOptions, /) -> DataShape:
        """Give the shape of inputs and outputs.

        Args:
            options: Its `TextOptions`.

        Returns:
            As many tokens as the context has; as many classes as there are tokens.

        Example:
            >>> Text().shape(TextOptions(tokenizer="characters"))
            DataShape(inputs=(64,), classes=97, tokens=97)
        """
        own = _own(options)
        return DataShape((own.context,), TOKENS[own.tokenizer], TOKENS[own.tokenizer])

    def sizes(self, options: DatasetOptions, /) -> Sizes:
        """Count the training windows.

        Args:
            options: Its `TextOptions`.

        Returns:
            The option `windows`.
        """
        return Sizes(_own(options).windows)

    def load(self, options: DatasetOptions, /) -> Dataset:
        """Read the text and cut the windows.

        Args:
            options: Its `TextOptions`.

        Returns:
            int64 tokens `(windows, context)`, and the next ones.

        Raises:
            DataMissingError: The text or the tokenizer's files are not here.
            FormatError: A file is empty or no text, or all of it is too short.
            IntegrityError: The text of `kjv` is not the expected one.
            SpecificationError: The package of the tokenizer is not here.
        """
        own = _own(options)
        corpus = find_corpus(own.corpus)
        files = _Files(corpus.files, open_tokenizer(own.tokenizer))
        lengths = [len(files.tokens(file)) for file in range(len(corpus.files))]
        train, val, test = (_long_enough(part, corpus, lengths, own.context) for part in _parts(lengths))
        shape = self.shape(own)
        return Dataset(
            name=self.name,
            train=_items(files, _drawn(train, own), own.context),
            val=_items(files, _spread(val, own), own.context),
            test=_items(files, _spread(test, own), own.context),
            classes=shape.classes,
            licence=corpus.licence,
            source=corpus.source,
            kind=self.kind,
            tokens=shape.tokens,
        )


def _own(options: DatasetOptions) -> TextOptions:
    return TextOptions.model_validate(options.model_dump())


TEXT = Text()
