"""TinyImageNet: 110,000 colour images of 64 x 64 pixels, 200 classes of equal size.

The official test side has no labels, so the official val side is the test side here. Images are JPEG: decoded
once, and kept as arrays in the folder `decoded` beside them.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from zoo.datasets.base import Dataset, Items
from zoo.datasets.decoded import Pixels, keep
from zoo.datasets.files import OfficialFile, check, find, obtain, progress
from zoo.datasets.folders import data_folder
from zoo.datasets.images import ImageSet
from zoo.errors import FormatError, IntegrityError

_PAGE = "http://cs231n.stanford.edu/"
_LARGEST = 1 << 20
"""Bytes of an image or list that are read at most; they need far fewer."""
_STEP = 500
"""Images between two steps of the progress bar."""

Read = Callable[[str], bytes]
"""Reads a file by its name in the official folder."""
Listing = list[tuple[str, int]]
"""Name and class of each image of a side."""


@dataclass(frozen=True)
class TinyImageNet:
    """The dataset in its archive.

    Attributes:
        images: What it consists of.
        archive: The official archive.
        folder: The folder in the archive.
    """

    images: ImageSet
    archive: OfficialFile
    folder: str

    def load(self) -> Dataset:
        """Read the archive, or the folder that it was extracted to.

        Classes are numbered in the order of their sorted WordNet ids. The archive is checked by its digest;
        of a folder, lists and sizes of images are checked. Who changes images in a folder has to delete
        `decoded`.

        Returns:
            Images `(n, 3, 64, 64)`, uint8; grey ones have three equal channels.

        Raises:
            DataMissingError: Neither is here, and the archive cannot be downloaded.
            IntegrityError: The archive is not the official one, or files are missing.
            FormatError: A list names unknown classes or lacks images, or an image is no JPEG of this size.
            StorageError: A download cannot be written.
        """
        home = data_folder() / self.archive.dataset
        extracted = home / self.folder
        if find(self.archive) is None and extracted.is_dir():
            return self._load(lambda name: _file(extracted / name), home)
        path = obtain(self.archive)
        check(self.archive, path)
        with _members(path, self.folder) as read:
            return self._load(read, home)

    def _load(self, read: Read, home: Path) -> Dataset:
        classes = self._classes(read("wnids.txt"))
        train, test = self._training(classes), self._test(classes, read("val/val_annotations.txt"))
        return self.images.assemble(
            self._items(read, train, home / "decoded" / "train.npy"),
            self._items(read, test, home / "decoded" / "test.npy"),
        )

    def _items(self, read: Read, listing: Listing, kept: Path) -> Items:
        made_from = hashlib.sha256(repr(listing).encode()).hexdigest()
        shape = (len(listing), *self.images.inputs)
        pixels = keep(kept, made_from, shape, lambda: self._decode(read, listing))
        return Items(torch.from_numpy(pixels), torch.tensor([label for _, label in listing]))

    def _classes(self, wnids: bytes) -> list[str]:
        found = sorted(set(wnids.decode("ascii", errors="replace").split()))
        expected = len(self.images.counts)
        strange = [wnid for wnid in found if not re.fullmatch(r"n\d{8}", wnid)]
        if strange or len(found) != expected:
            raise FormatError(
                f"wnids.txt of {self.images.name} has {len(found)} ids, not {expected}, or strange ones: "
                f"{strange[:1]}; {_AGAIN}"
            )
        return found

    def _training(self, classes: list[str]) -> Listing:
        return [
            (f"train/{wnid}/images/{wnid}_{number}.JPEG", label)
            for label, wnid in enumerate(classes)
            for number in range(self.images.counts[label])
        ]

    def _test(self, classes: list[str], annotations: bytes) -> Listing:
        lines = annotations.decode("ascii", errors="replace").splitlines()
        wnids = dict(line.split("\t")[:2] for line in lines if "\t" in line)
        labels = {wnid: label for label, wnid in enumerate(classes)}
        listing: Listing = []
        for name in (f"val_{number}.JPEG" for number in range(self.images.test)):
            if name not in wnids:
                raise FormatError(f"val_annotations.txt has no line for {name}; {_AGAIN}")
            if wnids[name] not in labels:
                raise FormatError(
                    f"val_annotations.txt gives {name} the class {wnids[name]!r}, which is not in wnids.txt; "
                    f"{_AGAIN}"
                )
            listing.append((f"val/images/{name}", labels[wnids[name]]))
        return listing

    def _decode(self, read: Read, listing: Listing) -> Pixels:
        inputs = self.images.inputs
        pixels = np.empty((len(listing), *inputs), dtype=np.uint8)
        with progress(f"decode {self.images.name}", len(listing)) as bar:
            for number, (name, _) in enumerate(listing):
                pixels[number] = decode(read(name), inputs, name)
                if number % _STEP == 0:
                    bar.update(bar.task_ids[0], completed=number)
        return pixels


_AGAIN = "its files are not the official ones: delete them and fetch them again"


def decode(content: bytes, inputs: tuple[int, int, int], name: str) -> UInt8[np.ndarray, "3 height width"]:
    """Decode a JPEG.

    Args:
        content: The file.
        inputs: Shape that the image has to have: 3, height, width.
        name: Where it comes from, for messages.

    Returns:
        Red, green and blue.

    Raises:
        FormatError: It is no whole JPEG, or it has another size.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if (image.height, image.width) != inputs[1:]:
                raise FormatError(
                    f"{name} has {image.height} x {image.width} pixels, expected {inputs[1]} x {inputs[2]}; "
                    f"{_AGAIN}"
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{name} is no whole JPEG ({error}); {_AGAIN}") from error


def _file(path: Path) -> bytes:
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; {_AGAIN}")
    with path.open("rb") as handle:
        return handle.read(_LARGEST)


@contextmanager
def _members(path: Path, folder: str) -> Iterator[Read]:
    """Read files out of the archive, by their exact names; nothing is extracted to the disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = frozenset(archive.namelist())

            def read(name: str) -> bytes:
                if f"{folder}/{name}" not in names:
                    raise IntegrityError(f"{path} lacks {folder}/{name}; {_AGAIN}")
                with archive.open(f"{folder}/{name}") as member:
                    return member.read(_LARGEST)

            yield read
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise IntegrityError(f"{path} is no whole archive ({error}); {_AGAIN}") from error


OFFICIAL = TinyImageNet(
    images=ImageSet(
        name="tiny-imagenet",
        inputs=(3, 64, 64),
        counts=(500,) * 200,
        val=10_000,
        test=10_000,
        licence="terms of ImageNet: for non-commercial research and education only",
        source="Y. Le and X. Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS 231N, 2015, from "
        f"ImageNet (O. Russakovsky et al., IJCV 115, 2015); {_PAGE}",
    ),
    archive=OfficialFile(
        dataset="tiny-imagenet",
        name="tiny-imagenet-200.zip",
        url="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        page="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        size=248_100_043,
        sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
    ),
    folder="tiny-imagenet-200",
)
TINY_IMAGENET = OFFICIAL.images.family(OFFICIAL.load)
