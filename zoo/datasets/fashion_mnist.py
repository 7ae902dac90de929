"""Fashion-MNIST: 70,000 grey images of clothes, 28 x 28 pixels, ten classes of equal size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.datasets.base import Dataset, Items
from zoo.datasets.files import OfficialFile, obtain, unpacked
from zoo.datasets.idx import parse_idx
from zoo.datasets.images import ImageSet

_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _file(name: str, size: int, *, unpacked: int, sha256: str) -> OfficialFile:
    return OfficialFile(
        dataset="fashion-mnist",
        name=name,
        url=f"{_URL}/{name}",
        page=_PAGE,
        size=size,
        sha256=sha256,
        unpacked=unpacked,
        elsewhere=_DEBIAN,
        way_out=", or on Debian and Ubuntu run: sudo apt-get install dataset-fashion-mnist",
    )


@dataclass(frozen=True)
class FashionMnist:
    """The dataset in its four IDX files.

    Attributes:
        images: What it consists of.
        train: Files of the official training images and their labels.
        test: Files of the official test images and their labels.
    """

    images: ImageSet
    train: tuple[OfficialFile, OfficialFile]
    test: tuple[OfficialFile, OfficialFile]

    def load(self) -> Dataset:
        """Read the four files.

        Returns:
            Images `(n, 1, 28, 28)`, uint8.

        Raises:
            DataMissingError: The files are not here and cannot be downloaded.
            IntegrityError: A file is not the official one.
            FormatError: The files are not of this format.
            StorageError: A download cannot be written.
        """
        return self.images.assemble(
            self._items(self.train, sum(self.images.counts)), self._items(self.test, self.images.test)
        )

    def _items(self, files: tuple[OfficialFile, OfficialFile], count: int) -> Items:
        _, height, width = self.images.inputs
        paths = [obtain(file) for file in files]
        contents = [unpacked(file, path) for file, path in zip(files, paths, strict=True)]
        x = parse_idx(contents[0], (count, height, width), paths[0])
        y = parse_idx(contents[1], (count,), paths[1])
        return Items(torch.tensor(x).unsqueeze(1), torch.tensor(y, dtype=torch.int64))


OFFICIAL = FashionMnist(
    images=ImageSet(
        name="fashion-mnist",
        inputs=(1, 28, 28),
        counts=(6_000,) * 10,
        val=6_000,
        test=10_000,
        licence="MIT",
        source="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking "
        f"Machine Learning Algorithms, arXiv:1708.07747, 2017; {_PAGE}",
    ),
    train=(
        _file(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            unpacked=47_040_016,
            sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        _file(
            "train-labels-idx1-ubyte.gz",
            29_515,
            unpacked=60_008,
            sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
    ),
    test=(
        _file(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            unpacked=7_840_016,
            sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        _file(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            unpacked=10_008,
            sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
)
FASHION_MNIST = OFFICIAL.images.family(OFFICIAL.load)
