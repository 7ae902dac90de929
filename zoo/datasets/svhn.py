"""SVHN: 99,289 colour images of house numbers, cropped to one digit, 32 x 32 pixels; `extra` is left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from zoo.datasets.base import Dataset, Items
from zoo.datasets.files import OfficialFile, check, obtain
from zoo.datasets.images import ImageSet
from zoo.datasets.matlab import read_matlab
from zoo.errors import FormatError

_PAGE = "http://ufldl.stanford.edu/housenumbers/"
_URL = "https://ufldl.stanford.edu/housenumbers"


@dataclass(frozen=True)
class Svhn:
    """The dataset in its two MATLAB files.

    Attributes:
        images: What it consists of.
        train: File of the official training items.
        test: File of the test items.
    """

    images: ImageSet
    train: OfficialFile
    test: OfficialFile

    def load(self) -> Dataset:
        """Read the two files.

        Returns:
            Images `(n, 3, 32, 32)`, uint8.

        Raises:
            DataMissingError: The files are not here and cannot be downloaded.
            IntegrityError: A file is not the official one.
            FormatError: The files hold other arrays.
            StorageError: A download cannot be written.
        """
        return self.images.assemble(
            self._items(self.train, sum(self.images.counts)), self._items(self.test, self.images.test)
        )

    def _items(self, file: OfficialFile, count: int) -> Items:
        path = obtain(file)
        check(file, path)
        x, y = read_arrays(path, count)
        return Items(torch.from_numpy(x), torch.from_numpy(y))


def read_arrays(
    path: Path, count: int
) -> tuple[UInt8[np.ndarray, "{count} 3 32 32"], Int64[np.ndarray, " {count}"]]:
    """Read images and digits.

    Args:
        path: The file.
        count: Number of images that it has to hold.

    Returns:
        Images, and digits from 0 to 9 (the file writes 0 as 10).

    Raises:
        FormatError: It holds other arrays, or labels that are no digits.
    """
    arrays = read_matlab(path, {"X": (32, 32, 3, count), "y": (count, 1)})
    labels = arrays["y"][:, 0]
    if labels.min() < 1 or labels.max() > 10:
        raise FormatError(
            f"{path} has labels from {labels.min()} to {labels.max()}, expected 1 to 10; delete it and "
            "fetch it again"
        )
    return np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10


OFFICIAL = Svhn(
    images=ImageSet(
        name="svhn",
        inputs=(3, 32, 32),
        counts=(4_948, 13_861, 10_585, 8_497, 7_458, 6_882, 5_727, 5_595, 5_045, 4_659),
        val=7_257,
        test=26_032,
        licence="for non-commercial use only",
        source="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading Digits in Natural "
        f"Images with Unsupervised Feature Learning, NIPS Workshop, 2011; {_PAGE}",
    ),
    train=OfficialFile(
        dataset="svhn",
        name="train_32x32.mat",
        url=f"{_URL}/train_32x32.mat",
        page=_PAGE,
        size=182_040_794,
        sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ),
    test=OfficialFile(
        dataset="svhn",
        name="test_32x32.mat",
        url=f"{_URL}/test_32x32.mat",
        page=_PAGE,
        size=64_275_384,
        sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    ),
)
SVHN = OFFICIAL.images.family(OFFICIAL.load)
